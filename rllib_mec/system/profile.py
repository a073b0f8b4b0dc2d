"""Measured profiles: what fine-tuning an adapter on an emulator gives and takes, as Parquet.

A row is one training that was measured. ``local``: the adapter is tuned on an emulator and then
plugged into the whole model. ``server``: it is tuned on the whole model. ``full``: all weights of
the whole model are. Rows of the last two hold for all compressions and are of none.

The schema's metadata say under ``rllib_mec_profile`` what was measured how, as a JSON object.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from rllib_mec.errors import InputError
from rllib_mec.system.profile_rows import METRICS, Row, check_complete, check_rows

KEY = "rllib_mec_profile"
"""What the schema's metadata hold the JSON object under."""

VERSION = 1
"""Of the format; ``format_version`` in that object."""

_TYPES = {"str": pa.string(), "int": pa.int64(), "float": pa.float64()}


@dataclasses.dataclass(frozen=True)
class Curve:
    """Means over seeds of what a task's adapters give, by retention.

    retentions: ascending; the last is 1.0, the server's. perplexities: of each. server: the last of
    these, the mean of the server's.
    """

    task: str
    retentions: tuple[float, ...]
    perplexities: tuple[float, ...]

    @property
    def server(self) -> float:
        return self.perplexities[-1]


@dataclasses.dataclass(frozen=True)
class Profile:
    """What a file holds.

    place: the file. about: the JSON object in its metadata.
    """

    place: str
    rows: tuple[Row, ...]
    about: dict[str, Any]

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks, in the order of the rows."""
        return tuple(dict.fromkeys(row.task for row in self.rows))

    @property
    def compressions(self) -> tuple[str, ...]:
        """The compressions that emulators were made by, in the order of the rows."""
        return tuple(dict.fromkeys(row.compression for row in self.rows if row.case == "local"))

    def curve(self, task: str, compression: str, metric: str) -> Curve:
        """Returns the means over the seeds of a task.

        A local row of retention 1.0 is not in it: there, training is the server's.

        Args:
            metric: one of :data:`~rllib_mec.system.profile_rows.METRICS`.

        Raises:
            InputError: nothing was measured of these.
        """
        if metric not in METRICS:
            raise InputError(f"metric = {metric!r}: expected one of {', '.join(METRICS)}")
        local: dict[float, list[float]] = {}
        server = []
        for row in self.rows:
            if row.task != task:
                continue
            if row.case == "server":
                server.append(row.tuned)
            elif row.case == "local" and row.compression == compression and row.retention < 1:
                local.setdefault(row.retention, []).append(getattr(row, METRICS[metric]))
        if not local or not server:
            known = sorted(
                {f"{row.task} ({row.compression})" for row in self.rows if row.case == "local"}
            )
            raise InputError(
                f"{self.place}: nothing was measured of task {task!r} with compression "
                f"{compression!r}: expected one of {', '.join(known)}"
            )
        points = [(retention, _mean(values)) for retention, values in sorted(local.items())]
        retentions, perplexities = zip(*points, (1.0, _mean(server)), strict=True)
        return Curve(task, retentions, perplexities)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def write_profile(path: Path, rows: Sequence[Row], about: Mapping[str, Any]) -> None:
    """Writes a profile; it gets its name when it is complete. Unfinished ones may be written.

    Args:
        about: free, but JSON: model, adapter, settings.

    Raises:
        InputError: a value makes no sense, or the file cannot be written.
    """
    path = Path(path)
    check_rows(rows, str(path))
    if about.get("format_version", VERSION) != VERSION:
        raise InputError(
            f"{path}: format_version = {about['format_version']!r}: expected {VERSION}"
        )
    text = json.dumps({"format_version": VERSION, **about})
    schema = pa.schema([_field(column) for column in dataclasses.fields(Row)], {KEY: text})
    table = pa.Table.from_pylist([dataclasses.asdict(row) for row in rows], schema=schema)
    aside = path.with_name(f".{path.name}")
    try:
        # Without checksums, a flipped bit may pass for another perplexity.
        parquet.write_table(table, aside, compression="zstd", write_page_checksum=True)
        os.replace(aside, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise InputError(f"{path}: cannot write it: {error.strerror or error}") from None


def read_profile(path: str | os.PathLike[str], finished: bool = True) -> Profile:
    """Reads and checks a profile.

    Args:
        finished: whether to refuse one that lacks measurements which its curves need.

    Raises:
        InputError: it is not there, no Parquet file, damaged or no profile; a column is missing or
            of another type; a value makes no sense; or measurements come twice or are missing.
            Names the file, the column and row, and what was expected.
    """
    place = os.fspath(path)
    try:
        if os.path.getsize(place) == 0:
            raise InputError(f"{place}: the file is empty: expected a Parquet file")
        with parquet.ParquetFile(place, page_checksum_verification=True) as file:
            about = _check_schema(file.schema_arrow, place)
            table = file.read([column.name for column in dataclasses.fields(Row)])
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, FileNotFoundError):
            raise InputError(f"{place}: there is no such file") from None
        reason = " ".join(str(error).split())
        raise InputError(f"{place}: expected a Parquet file: {reason}") from None
    for name in table.column_names:
        if table[name].null_count:
            row = int(table[name].is_null().to_numpy().argmax())
            raise InputError(f"{place}: {name}, row {row} is empty: expected a value in each row")
    rows = tuple(Row(**values) for values in table.to_pylist())
    if not rows:
        raise InputError(f"{place}: it has no rows: expected at least one")
    check_rows(rows, place)
    if finished:
        check_complete(rows, place)
    return Profile(place, rows, about)


def _field(column: dataclasses.Field) -> pa.Field:
    metadata = {name: column.metadata[name] for name in ("unit", "meaning")}
    return pa.field(column.name, _TYPES[str(column.type)], nullable=False, metadata=metadata)


def _check_schema(schema: pa.Schema, place: str) -> dict[str, Any]:
    """Returns what the metadata say."""
    text = (schema.metadata or {}).get(KEY.encode())
    if text is None:
        raise InputError(
            f"{place}: {KEY} (in the schema's metadata) is missing: expected a profile"
        )
    try:
        about = json.loads(text)
    except ValueError as error:
        raise InputError(f"{place}: {KEY} (in the schema's metadata): not JSON: {error}") from None
    if not isinstance(about, dict):
        raise InputError(f"{place}: {KEY} (in the schema's metadata): expected a JSON object")
    if about.get("format_version") != VERSION:
        found = about.get("format_version")
        raise InputError(f"{place}: format_version = {found!r}: expected {VERSION}")
    for column in dataclasses.fields(Row):
        expected = _field(column).type
        count = schema.names.count(column.name)
        if count != 1:
            found = "is missing" if not count else "comes twice"
            raise InputError(f"{place}: column {column.name} {found}: expected one of {expected}")
        found = schema.field(column.name).type
        if found != expected:
            raise InputError(
                f"{place}: column {column.name} is of type {found}: expected {expected}"
            )
    return about
