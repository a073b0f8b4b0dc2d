"""What is measured of a round: a row of a results file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


def _column(meaning: str, unit: str = "-") -> Any:
    return dataclasses.field(metadata={"unit": unit, "meaning": meaning})


@dataclasses.dataclass(frozen=True)
class Row:
    """One round of a case with a seed; round 0 is what there was before the first."""

    case: str = _column("fedpeat, fl-peft or fl")
    seed: int = _column("of all that is drawn")
    round: int = _column("from 1; 0: before the first")
    perplexity: float = _column("of the whole model with the global weights, after the round")
    adapter_bytes_down: int = _column("adapters sent to clients", "B")
    adapter_bytes_up: int = _column("adapters sent by clients", "B")
    emulator_bytes_down: int = _column("emulators sent to clients", "B")
    model_bytes_down: int = _column("whole models, or their frozen rest, sent to clients", "B")
    model_bytes_up: int = _column("whole models sent by clients", "B")
    seconds: float = _column("by the clock: of the slowest client, or the server", "s")
    wall_seconds: float = _column("taken by the computation here", "s")
    selected: int = _column("clients selected", "clients")
    used: int = _column("clients whose update is in the average", "clients")
    dropped: int = _column("clients that did not answer at all", "clients")
    late: int = _column("clients over the deadline", "clients")
    refused: int = _column("clients whose update was refused", "clients")
    failed: int = _column("clients that failed or died", "clients")
    server_used: int = _column("1 if the server's own update is in the average, else 0")
    exchanges: int = _column("times that an emulator or the whole model was sent to a client")
    peak_memory_bytes: tuple[int, ...] = _column("most that tuning takes of each client", "B")
    events: tuple[str, ...] = _column("who did not take part to the end, and why")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Row:
        """Returns the row of values by column, with lists in the place of tuples."""
        fixed: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        return cls(**fixed)

    @property
    def bytes_down(self) -> int:
        """All that was sent to clients."""
        return self.adapter_bytes_down + self.emulator_bytes_down + self.model_bytes_down

    @property
    def bytes_up(self) -> int:
        """All that was sent by clients."""
        return self.adapter_bytes_up + self.model_bytes_up

    @property
    def total_bytes(self) -> int:
        """All that travelled."""
        return self.bytes_down + self.bytes_up
