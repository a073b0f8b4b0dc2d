"""A dataclass field that carries its unit, meaning and source, and checks its own value."""

from __future__ import annotations

import dataclasses
import math
import numbers
from typing import Any

from rllib_mec.errors import InputError

PUBLISHED = "published"
INFERRED = "inferred"


def quantity(
    default: Any,
    *,
    unit: str = "-",
    meaning: str,
    source: str,
    at_least: float | None = None,
    above: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
    choices: tuple[str, ...] | None = None,
    any_length: bool = False,
) -> Any:
    """Declares a dataclass field for one constant of the system model.

    Args:
        default: the value; its type (``int``, ``float``, ``str`` or a tuple of floats) is the
            type that any other value must have.
        unit: SI unit, or "-" for a pure number.
        meaning: what the constant is, in one line.
        source: :data:`PUBLISHED` (printed in the paper) or :data:`INFERRED`.
        at_least, above, below, at_most: bounds for the number, or for each number of a tuple.
        choices: the allowed values of a ``str``.
        any_length: a tuple may have any number of entries but none.
    """
    return dataclasses.field(
        default=default,
        metadata={
            "unit": unit,
            "meaning": meaning,
            "source": source,
            "at_least": at_least,
            "above": above,
            "below": below,
            "at_most": at_most,
            "choices": choices,
            "any_length": any_length,
        },
    )


def like(
    owner: type,
    name: str,
    default: Any = None,
    *,
    meaning: str | None = None,
    source: str | None = None,
) -> Any:
    """Declares the constant that another dataclass has under this name, with what is given anew.

    With a default of its own its source is :data:`INFERRED`, unless given.
    """
    field = next(field for field in dataclasses.fields(owner) if field.name == name)
    metadata = dict(field.metadata)
    if meaning is not None:
        metadata["meaning"] = meaning
    if default is not None or source is not None:
        metadata["source"] = source or INFERRED
    return dataclasses.field(
        default=field.default if default is None else default, metadata=metadata
    )


def checked(owner: str, field: dataclasses.Field, value: Any) -> Any:
    """Returns ``value`` converted to the field's type.

    Raises:
        InputError: it has the wrong type, is not finite or lies out of bounds.
    """
    where = f"{owner}.{field.name}"
    default, meta = field.default, field.metadata
    if isinstance(default, str):
        if not isinstance(value, str) or (meta["choices"] and value not in meta["choices"]):
            expected = f"one of {', '.join(meta['choices'])}" if meta["choices"] else "a name"
            raise InputError(f"{where} = {value!r}: expected {expected}")
        return value
    if isinstance(default, tuple):
        length = "" if meta["any_length"] else f"{len(default)} "
        if (
            not isinstance(value, (list, tuple))
            or not value
            or (length and len(value) != len(default))
        ):
            raise InputError(f"{where} = {value!r}: expected a list of {length}numbers")
        return tuple(_checked_number(where, value, float, entry, meta) for entry in value)
    return _checked_number(where, value, type(default), value, meta)


def _checked_number(where: str, whole: Any, kind: type, number: Any, meta: Any) -> Any:
    expected = f"{'a whole number' if kind is int else 'a number'}{_bounds(meta)}"
    # Real takes NumPy's numbers too, and bool, but `num_ues: true` in a YAML is a slip.
    if isinstance(number, bool) or not isinstance(number, numbers.Real):
        raise InputError(f"{where} = {whole!r}: expected {expected}")
    if (
        not math.isfinite(number)
        or (kind is int and number % 1 != 0)
        or (meta["at_least"] is not None and number < meta["at_least"])
        or (meta["above"] is not None and number <= meta["above"])
        or (meta["below"] is not None and number >= meta["below"])
        or (meta["at_most"] is not None and number > meta["at_most"])
    ):
        raise InputError(f"{where} = {whole!r}: expected {expected}")
    return kind(number)


def _bounds(meta: Any) -> str:
    bounds = [
        f"{words} {meta[key]:g}"
        for key, words in (("at_least", ">="), ("above", ">"), ("below", "<"), ("at_most", "<="))
        if meta[key] is not None
    ]
    return f" {' and '.join(bounds)}" if bounds else ""
