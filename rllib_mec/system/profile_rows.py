"""The rows of a measured profile, and what they have to be, each and all together."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from rllib_mec.errors import InputError

CASES = ("local", "server", "full")
COMPRESSIONS = ("layer_drop", "pruning", "distillation")
NO_COMPRESSION = "none"
"""That of rows which are not local."""

METRICS = {"plug_in": "plug_in", "emulator_tuned": "tuned"}
"""What a UE may see, and the column of local rows that says so."""

FEWEST_RETENTIONS = 2
"""Of a task's emulators; with the server's there are three points of a curve then."""


def _column(meaning: str, unit: str = "-") -> Any:
    return dataclasses.field(metadata={"unit": unit, "meaning": meaning})


@dataclasses.dataclass(frozen=True)
class Row:
    """One training that was measured."""

    task: str = _column("what it was tuned to")
    compression: str = _column(f"{', '.join(COMPRESSIONS)}; {NO_COMPRESSION} if not local")
    seed: int = _column("of the training")
    case: str = _column("local: on an emulator; server: the whole model's adapter; full: all of it")
    retention: float = _column("share of the middle layers that are kept")
    kept_layers: int = _column("middle layers that are kept", "layers")
    zero_shot: float = _column("perplexity of what is tuned, before")
    tuned: float = _column("perplexity of what was tuned, after")
    plug_in: float = _column("perplexity of the whole model with the tuned adapter")
    emulator_bytes: int = _column("size of the emulator", "B")
    adapter_bytes: int = _column("size of the adapter", "B")
    emulator_parameters: int = _column("parameters of the emulator")
    adapter_parameters: int = _column("parameters of the adapter")
    flops_per_token: float = _column("of a training step", "FLOP")
    seconds_per_step: float = _column("time of a training step", "s")
    peak_memory_bytes: int = _column("most memory that training took", "B")


_PERPLEXITIES = ("zero_shot", "tuned", "plug_in")


def check_rows(rows: Sequence[Row], place: str) -> None:
    """Refuses rows that make no sense.

    Raises:
        InputError: names the file, the column and row, its value and what was expected.
    """
    seen: dict[tuple[Any, ...], int] = {}
    for index, row in enumerate(rows):
        for name, value, expected in _faults(row):
            raise InputError(
                f"{place}: {name}, row {index} (task {row.task}) = {value!r}: expected {expected}"
            )
        key = (row.task, row.compression, row.seed, row.case, row.retention)
        if key in seen:
            raise InputError(
                f"{place}: row {index} repeats row {seen[key]} ({_words(row)}, seed {row.seed}): "
                "expected each once"
            )
        seen[key] = index


def _faults(row: Row) -> list[tuple[str, Any, str]]:
    """What is wrong with a row: column, value and what was expected."""
    local = row.case == "local"
    options = COMPRESSIONS if local else (NO_COMPRESSION,)
    found: list[tuple[str, Any, str, bool]] = [("task", row.task, "a name", bool(row.task))]
    found.append(("case", row.case, f"one of {', '.join(CASES)}", row.case in CASES))
    expected = f"one of {', '.join(options)}" if local else f"{NO_COMPRESSION!r} if not local"
    found.append(("compression", row.compression, expected, row.compression in options))
    whole = local or row.retention == 1
    expected = "a number > 0 and <= 1" if local else f"1 with case {row.case}"
    found.append(("retention", row.retention, expected, 0 < row.retention <= 1 and whole))
    for column in dataclasses.fields(Row):
        value = getattr(row, column.name)
        if column.name in _PERPLEXITIES:
            fits = math.isfinite(value) and value > 0
            found.append((column.name, value, "a perplexity, finite and > 0", fits))
        elif column.name not in ("task", "case", "compression", "retention", "seed"):
            fits = math.isfinite(value) and value >= 0
            found.append((column.name, value, "a finite number >= 0", fits))
    return [fault[:3] for fault in found if not fault[3]]


def check_complete(rows: Sequence[Row], place: str) -> None:
    """Refuses rows that lack some which the curves need.

    Raises:
        InputError: a task lacks the server's row, two retentions, or a seed that it has elsewhere.
    """
    for task in dict.fromkeys(row.task for row in rows):
        of_task = [row for row in rows if row.task == task]
        server = [row for row in of_task if row.case == "server"]
        if not server:
            raise InputError(f"{place}: task {task} has no row of case server: expected one")
        local = [row for row in of_task if row.case == "local"]
        compressions = list(dict.fromkeys(row.compression for row in local))
        if not compressions:
            raise InputError(f"{place}: task {task} has no row of case local: expected some")
        for compression in compressions:
            part = [row for row in local if row.compression == compression]
            below = {row.retention for row in part if row.retention < 1}
            if len(below) < FEWEST_RETENTIONS:
                raise InputError(
                    f"{place}: task {task} ({compression}) has {len(below)} retentions below 1: "
                    f"expected at least {FEWEST_RETENTIONS}"
                )
            _check_seeds([*part, *server], place)


def _check_seeds(rows: Sequence[Row], place: str) -> None:
    seeds: dict[str, set[int]] = {}
    for row in rows:
        seeds.setdefault(f"task {row.task}: {_words(row)}", set()).add(row.seed)
    everywhere = set().union(*seeds.values())
    for words, found in seeds.items():
        missing = sorted(everywhere - found)
        if missing:
            raise InputError(
                f"{place}: {words} was not measured with seed {missing[0]}: expected the same "
                "seeds at each retention"
            )


def _words(row: Row) -> str:
    """Which training a row is of, but for its seed."""
    if row.case != "local":
        return row.case
    return f"{row.compression}, retention {row.retention:g}"
