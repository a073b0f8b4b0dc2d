"""Forms: what a mapping of a user's may hold, and one line for what it may not."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import pydantic

from rllib_mec.errors import InputError, did_you_mean
from rllib_mec.source import Source


class Form(pydantic.BaseModel):
    """A mapping whose keys and types are checked; it has no others."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)


def _whole(value: Any) -> Any:
    """Returns 4e2 as 400, as settings of algorithms are taken."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, pydantic.BeforeValidator(_whole)]
"""A whole number, which may be written as 3e5."""

_EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "float_type": "a number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_type": "a mapping",
    "string_type": "a string",
}
"""By pydantic's type of error."""

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
    if error["loc"][-1] == "[key]":
        *above, key, _ = error["loc"]
        place = source.place((*above, str(key)))
        return InputError(f"{place}: the key is {error['input']!r}: expected a string, in quotes")
    return InputError(f"{place} = {error['input']!r}: {_expected(error)}")


def _expected(error: Any) -> str:
    """What pydantic expects, in the words of all other errors."""
    kind = error["type"]
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind]}"
    if kind in ("too_short", "too_long"):
        bound, word = ("min", "least") if kind == "too_short" else ("max", "most")
        length = error["ctx"][f"{bound}_length"]
        return f"expected at {word} {length} {'entry' if length == 1 else 'entries'}"
    message = error["msg"].replace("Input should be gr", "expected a number gr")
    message = message.replace("Input should be", "expected")
    return str(message.replace("a valid", "a"))


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
        if typing.get_origin(field.annotation) in (dict, list):  # type: ignore[union-attr,operator]
            taken += 1  # the key or position of the entry
        if taken < len(path):
            form = inner
    return form, path[:taken]


def _form_of(annotation: Any) -> type[Form] | None:
    """Returns the form that a field's type is, or holds as values of a dictionary or list."""
    candidates = [annotation, *typing.get_args(annotation)]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, Form)), None)
