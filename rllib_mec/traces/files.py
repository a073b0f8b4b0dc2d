"""One file of a trace: written, read and checked."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from rllib_mec.errors import InputError
from rllib_mec.traces.schema import Column, Kind, check_schema, schema_of

Array = NDArray[Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Recording:
    """What a file holds.

    place: the file. values: (E, S, N) each, or (E, N) without steps: episodes, steps, UEs; if not
    ``has_episodes``, E is 1. origin: what the file says of where its values come from.
    """

    place: str
    kind: Kind
    values: Mapping[str, Array]
    has_episodes: bool
    origin: Any = None

    @property
    def num_episodes(self) -> int:
        return len(next(iter(self.values.values())))

    @property
    def num_ues(self) -> int:
        return next(iter(self.values.values())).shape[-1]

    @property
    def last_step(self) -> int | None:
        """Number of the last step: that many tasks can be carried out. None without steps."""
        if self.kind.first_step is None:
            return None
        return next(iter(self.values.values())).shape[1] - 1 + self.kind.first_step

    @property
    def summary(self) -> str:
        """What is in it, in a few words."""
        parts = [f"{self.num_episodes} episode{'s' * (self.num_episodes > 1)}"]
        parts += [f"{self.num_ues} UE{'s' * (self.num_ues > 1)}"]
        if self.last_step is not None:
            parts += [f"steps {self.kind.first_step} to {self.last_step}"]
        rows = next(iter(self.values.values())).size
        return f"{self.kind.name}, {', '.join(parts)}, {rows} rows of {', '.join(self.values)}"


def write_file(
    path: Path, kind: Kind, values: Mapping[str, Array], origin: Mapping[str, Any]
) -> None:
    """Writes a file of a trace; it gets its name when it is complete.

    Args:
        values: see :class:`Recording`. origin: free, but JSON.

    Raises:
        InputError: the file cannot be written.
    """
    shape = next(iter(values.values())).shape
    index = np.indices(shape).reshape(len(shape), -1)
    columns: dict[str, Array] = {"episode": index[0], "ue": index[-1]}
    if kind.first_step is not None:
        columns["step"] = index[1] + kind.first_step
    columns |= {name: each.reshape(-1) for name, each in values.items()}
    schema = schema_of(kind, set(columns), origin)
    table = pa.table({name: columns[name] for name in schema.names}, schema=schema)
    aside = path.with_name(f".{path.name}")
    try:
        # Without, a flipped bit may pass for another gain.
        parquet.write_table(table, aside, write_page_checksum=True)
        os.replace(aside, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise InputError(f"{path}: cannot write it: {error.strerror or error}") from None


def read_file(path: str | os.PathLike[str]) -> Recording:
    """Reads and checks a file of a trace.

    Raises:
        InputError: it is not there, no Parquet file or no trace; a value makes no sense; or a step
            or UE is missing or comes twice. Names the file, the column and row, and what was
            expected.
    """
    place = os.fspath(path)
    try:
        if os.path.getsize(place) == 0:
            raise InputError(f"{place}: the file is empty: expected a Parquet file")
        with parquet.ParquetFile(place, page_checksum_verification=True) as file:
            kind = check_schema(file.schema_arrow, place)
            table = file.read()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, FileNotFoundError):
            raise InputError(f"{place}: there is no such file") from None
        reason = " ".join(str(error).split())
        raise InputError(f"{place}: expected a Parquet file: {reason}") from None
    if not len(table):
        raise InputError(f"{place}: it has no rows: expected at least one")
    columns = {name: _values(table, name, place) for name in table.column_names}
    for column in kind.columns:
        if column.name in columns:
            _check_values(column, columns, place)
    order, shape = _grid(columns, kind, place)
    values = {
        column.name: _frozen(columns[column.name][order].reshape(shape))
        for column in kind.values
        if column.name in columns
    }
    recording = Recording(place, kind, values, "episode" in columns, _origin(table, place))
    if recording.last_step is not None and recording.last_step < 1:
        raise InputError(
            f"{place}: its last step is {recording.last_step}: expected at least 1, which is "
            "observed after the task of step 0"
        )
    return recording


def _origin(table: pa.Table, place: str) -> Any:
    try:
        return json.loads((table.schema.metadata or {}).get(b"origin", b"null"))
    except ValueError as error:
        raise InputError(f"{place}: origin (in the schema's metadata): not JSON: {error}") from None


def _frozen(values: Array) -> Array:
    """The same, read-only: all environments of a process share it."""
    values.flags.writeable = False
    return values


def _values(table: pa.Table, name: str, place: str) -> Array:
    column = table[name]
    if column.null_count:
        row = int(column.is_null().to_numpy().argmax())
        raise InputError(f"{place}: {name}, row {row} is empty: expected a value in each row")
    return column.to_numpy()


def _check_values(column: Column, columns: Mapping[str, Array], place: str) -> None:
    values = columns[column.name]
    if values.dtype == bool:
        return
    good = np.isfinite(values)
    if column.at_least is not None:
        good &= values >= column.at_least
    if column.above is not None:
        good &= values > column.above
    if column.at_most is not None:
        good &= values <= column.at_most
    if not good.all():
        row = int(good.argmin())
        raise InputError(
            f"{place}: {column.name}, row {row}{_where(columns, row, column.name)} = "
            f"{values[row]}: expected {column.expected}"
        )


def _where(columns: Mapping[str, Array], row: int, but: str = "") -> str:
    """Which UE, step and episode a row is about, in words."""
    names = [("UE", "ue"), ("step", "step"), ("episode", "episode")]
    named = [f"{word} {columns[key][row]}" for word, key in names if key in columns and key != but]
    return f" ({', '.join(named)})" if named else ""


def _grid(columns: Mapping[str, Array], kind: Kind, place: str) -> tuple[Array, tuple[int, ...]]:
    """Returns the order of rows by episode, step and UE, and the numbers of these.

    Raises:
        InputError: a row comes twice or is missing.
    """
    rows, first = len(columns["ue"]), kind.first_step or 0
    none = np.zeros(rows, np.int64)
    keys = (columns.get("episode", none), columns.get("step", none), columns["ue"])
    order = np.lexsort(keys[::-1])
    episode, step, ue = (key[order] for key in keys)
    again = (np.diff(episode) == 0) & (np.diff(step) == 0) & (np.diff(ue) == 0)
    if again.any():
        one, other = sorted(order[int(again.argmax()) :][:2])
        raise InputError(
            f"{place}: row {other}{_where(columns, other)} repeats row {one}: expected each once"
        )
    # Numbers far beyond the rows leave gaps; cut off here, they do not overflow either.
    episodes, steps, ues = (
        min(int(key.max()) - low + 1, rows + 1)
        for key, low in ((episode, 0), (step, first if "step" in columns else 0), (ue, 0))
    )
    low = first if "step" in columns else 0
    # One row more than there are: where all agree so far, the end is what is missing.
    at = np.arange(rows + 1)
    expected = (at // (steps * ues), at // ues % steps + low, at % ues)
    found = (episode, step, ue)
    differs = np.ones(rows + 1, bool)
    differs[:rows] = np.any([e[:rows] != f for e, f in zip(expected, found, strict=True)], axis=0)
    missing = int(differs.argmax())
    if missing < rows or rows != episodes * steps * ues:
        e, s, u = (int(each[missing]) for each in expected)
        gap = "step" in columns and u == 0 and (missing == rows or step[missing] != s)
        row = f"step {s}" if gap else f"UE {u}" + f" in step {s}" * ("step" in columns)
        last = f", steps {low} to {int(step.max())}" if "step" in columns else ""
        raise InputError(
            f"{place}: there is no row of {row} (episode {e}): expected UEs 0 to {int(ue.max())}"
            f"{last}, without gaps, in each episode"
        )
    return order, (episodes, steps, ues) if "step" in columns else (episodes, ues)
