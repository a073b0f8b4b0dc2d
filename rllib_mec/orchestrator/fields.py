"""What is said of each UE, in physical units: names, units, ranges, and whether a value is one."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_mec.errors import InputError, unknown_name

NUMBER, WHOLE, FLAG = "number", "whole", "flag"

ROUNDING = 1e-6
"""How far apart two numbers may be, of their size, and still be the same: devices keep float32."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Field:
    """One quantity of each UE.

    name, unit, meaning: as in a schema. low, high: its range. kind: a number, a whole number, or
    true or false. nothing: whether null and 0 stand for none. idle: what takes its place for a UE
    without a task, which need not have it; None: it is always needed.
    """

    name: str
    unit: str
    meaning: str
    low: float = -math.inf
    high: float = math.inf
    kind: str = NUMBER
    nothing: bool = False
    idle: float | None = None

    @property
    def expected(self) -> str:
        """What a value has to be, in words."""
        if self.kind == FLAG:
            return "true or false"
        what = "a whole number" if self.kind == WHOLE else "a number"
        none = ", or null for none" if self.nothing else ""
        unit = "" if self.unit == "-" else f" {self.unit}"
        if self.high == math.inf:
            return f"{what} >= {self.low:g}{unit}{none}"
        return f"{what} in [{self.low:g}, {self.high:g}]{unit}{none}"

    def read(self, value: Any, place: str) -> float:
        """Returns a value as a number, 1 for true.

        Args:
            place: names it in an error.

        Raises:
            InputError: says what was expected.
        """
        if self.kind == FLAG:
            if isinstance(value, (bool, np.bool_)):
                return float(value)
        elif self.nothing and value is None:
            return 0.0
        elif isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_)):
            try:
                number = float(value)
            except OverflowError:  # a whole number of hundreds of digits
                number = math.inf
            if self.nothing and number == 0:
                return 0.0
            if self._is_in_range(number):
                return min(max(number, self.low), self.high)
        raise InputError(f"{place} = {shortened(value)}: expected {self.expected}")

    def _is_in_range(self, number: float) -> bool:
        if not math.isfinite(number) or (self.kind == WHOLE and number != round(number)):
            return False
        # At the ends of the range a number may be off by what float32 leaves of it.
        slack = ROUNDING * max(abs(end) for end in (self.low, self.high) if math.isfinite(end))
        return self.low - slack <= number <= self.high + slack

    def schema(self) -> dict[str, Any]:
        """Returns the field as JSON schema."""
        unit = "" if self.unit == "-" else f", {self.unit}"
        about = {"description": f"{self.meaning}{unit}"}
        if self.kind == FLAG:
            return {"type": "boolean", **about}
        kind: dict[str, Any] = {"type": "integer" if self.kind == WHOLE else "number"}
        kind |= {"minimum": self.low} if math.isfinite(self.low) else {}
        kind |= {"maximum": self.high} if math.isfinite(self.high) else {}
        if not self.nothing:
            return kind | about
        return {"anyOf": [kind, {"const": 0}, {"type": "null"}], **about}


def read_ues(
    ues: Any, fields: Sequence[Field], active: str | None, count: int | None
) -> dict[str, NDArray[np.float64]]:
    """Returns the quantities of all UEs, (N,) each.

    Args:
        ues: of a state, a mapping for each UE.
        active: the field that says whether a UE has a task, None where every UE has.
        count: how many UEs there have to be; None: one at least.

    Raises:
        InputError: names the UE, the field, the value and what was expected.
    """
    if isinstance(ues, (str, bytes, Mapping)) or not isinstance(ues, Sequence):
        raise InputError(f"ues = {shortened(ues)}: expected a list with the quantities of each UE")
    if not ues or (count is not None and len(ues) != count):
        expected = "one UE at least" if count is None else f"{count} UEs, as the policy has"
        raise InputError(f"ues has {len(ues)}: expected {expected}")
    known = {field.name for field in fields}
    values = np.empty((len(fields), len(ues)))
    for ue, given in enumerate(ues):
        place = f"UE {ue}"
        if not isinstance(given, Mapping):
            names = ", ".join(field.name for field in fields)
            raise InputError(f"{place} = {shortened(given)}: expected a mapping of {names}")
        for name in given:
            if name not in known:
                raise InputError(f"{place}: {unknown_name('field', str(name)[:60], known)}")
        flag = None if active is None else given.get(active)
        idle = isinstance(flag, (bool, np.bool_)) and not flag
        for index, field in enumerate(fields):
            if idle and field.idle is not None and given.get(field.name) is None:
                values[index, ue] = field.idle
            elif field.name not in given:
                raise InputError(f"{place}.{field.name} is missing: expected {field.expected}")
            else:
                values[index, ue] = field.read(given[field.name], f"{place}.{field.name}")
    return {field.name: values[index] for index, field in enumerate(fields)}


def shortened(value: Any) -> str:
    """Returns a value for an error message, which must not be as long as what was given."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of thousands of digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."
