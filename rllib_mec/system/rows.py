"""Records of arrays with common leading axes, some of which may be missing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from typing_extensions import Self


class Rows:
    """A dataclass whose fields are arrays, (B, …) each, None or such records again."""

    __slots__ = ()

    def take(self, rows: Any) -> Self:
        """Returns the same of some rows: what indexing the first axis takes."""
        return self.map(lambda values: values[rows])

    def map(self, function: Callable[[Any], Any]) -> Self:
        """Returns the same with a function of each array."""
        mapped = {}
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if value is not None:
                mapped[field.name] = (
                    value.map(function) if isinstance(value, Rows) else function(value)
                )
        return type(self)(**mapped)
