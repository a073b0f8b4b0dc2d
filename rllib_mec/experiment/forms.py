"""Forms: what a mapping of a user's may hold, and one line for what it may not."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any, TypeVar

import pydantic

from rllib_mec.errors import InputError, did_you_mean
from rllib_mec.source import Source


class Form(pydantic.BaseModel):
    """A mapping whose keys and types are checked; it has no others."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)


Checked = TypeVar("Checked", bound=Form)
OldNames = Mapping[type[Form], Mapping[Any, str]]


def checked(
    form: type[Checked],
    values: Mapping[str, Any],
    source: Source,
    old_names: OldNames | None = None,
) -> Checked:
    """Returns ``values`` as a form.

    Args:
        source: where they come from.
        old_names: for a form, what to use instead of keys that it has no more.

    Raises:
        InputError: an unknown key or a value of the wrong kind, with its place.
    """
    try:
        return form.model_validate(dict(values))
    except pydantic.ValidationError as error:
        # A misspelt key first: it may be the one that is missing.
        errors = sorted(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
        raise _error(form, source, errors[0], old_names or {}) from None


def _error(form: type[Form], source: Source, error: Any, old_names: OldNames) -> InputError:
    """Words pydantic's finding."""
    inner, path = _innermost(form, tuple(error["loc"]))
    place = source.place(path)
    if error["type"] == "extra_forbidden":
        if new := old_names.get(inner, {}).get(path[-1]):
            return InputError(f"{place}: use {new} instead")
        hint = did_you_mean(str(path[-1]), inner.model_fields)
        return InputError(
            f"{place}: unknown key:{hint} (known: {', '.join(sorted(inner.model_fields))})"
        )
    if error["type"] == "missing":
        return InputError(f"{place} is missing")
    message = error["msg"].replace("Input should be gr", "expected a number gr")
    message = message.replace("Input should be", "expected")
    message = message.replace("a valid integer", "a whole number").replace("a valid", "a")
    message = message.replace("a dictionary", "a mapping")
    return InputError(f"{place} = {error['input']!r}: {message}")


def _innermost(form: type[Form], path: tuple[Any, ...]) -> tuple[type[Form], tuple[Any, ...]]:
    """Returns the form that holds the last key of ``path``, and the path up to that key.

    Behind a field that is no form, pydantic names positions, which stay, and members of unions.
    """
    taken = 0
    while taken < len(path):
        field = form.model_fields.get(str(path[taken]))
        taken += 1
        inner = None if field is None else _form_of(field.annotation)
        if inner is None:
            taken += len(path) > taken and isinstance(path[taken], int)
            break
        if typing.get_origin(field.annotation) is dict:  # type: ignore[union-attr]
            taken += 1  # the key of the entry
        if taken < len(path):
            form = inner
    return form, path[:taken]


def _form_of(annotation: Any) -> type[Form] | None:
    """Returns the form that a field's type is, or holds as a dictionary's values."""
    candidates = [annotation, *typing.get_args(annotation)]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, Form)), None)
