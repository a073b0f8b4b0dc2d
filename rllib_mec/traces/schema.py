"""The format of traces: kinds of files, their columns with units, and what a value may be.

A trace is a directory of up to three Parquet files. Metadata of a file's schema say ``format``,
``version`` and ``kind``; metadata of each column say ``unit`` and ``meaning``.

A row of ``channels.parquet`` and ``tasks.parquet`` is one UE in one step. Steps number the tasks
of an episode from 0 on, and the last step is never carried out: it is what the last observation
shows. Channels begin a step earlier, at -1, with what the agents observe at the start.

Gains are linear and not in dB, in double precision: 10^(x / 10) of a logarithm is not always the
number that it was taken of, and a replayed episode is to give the same metrics to the last digit.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from rllib_mec.errors import InputError, did_you_mean, unknown_name

FORMAT = "rllib_mec.trace"
VERSION = "1"


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """One column: its type, unit and meaning, and the bounds of its values."""

    name: str
    type: pa.DataType
    unit: str
    meaning: str
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    required: bool = True

    @property
    def expected(self) -> str:
        """What a value has to be, in words."""
        if pa.types.is_boolean(self.type):
            return "true or false"
        bounds = [
            f"{words} {bound:g}"
            for words, bound in (("above", self.above), (">=", self.at_least), ("<=", self.at_most))
            if bound is not None
        ]
        number = "a whole number" if pa.types.is_integer(self.type) else "a finite number"
        return " ".join([number, " and ".join(bounds)])

    @property
    def field(self) -> pa.Field:
        metadata = {"unit": self.unit, "meaning": self.meaning}
        return pa.field(self.name, self.type, nullable=False, metadata=metadata)


def _index(name: str, meaning: str, at_least: int = 0, required: bool = True) -> Column:
    return Column(name, pa.int64(), "-", meaning, at_least=at_least, required=required)


_EPISODE = _index("episode", "number of the episode; without: all are the same", required=False)
_UE = _index("ue", "number of the user equipment")
_STEP = _index("step", "number of the task in its episode; the last is only observed")


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """One kind of file.

    file: its name in a trace. first_step: the number of an episode's first step; None without
    steps. columns: index columns and values.
    """

    name: str
    file: str
    first_step: int | None
    columns: tuple[Column, ...]

    @property
    def values(self) -> tuple[Column, ...]:
        """The columns that are no index."""
        return tuple(column for column in self.columns if column.name not in INDEX)


INDEX = ("episode", "ue", "step")

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "channel",
            "channels.parquet",
            -1,
            (
                _EPISODE,
                _UE,
                _index("step", "number of the task in its episode; -1 is before the first", -1),
                Column("gain", pa.float64(), "-", "channel power gain, linear", above=0),
            ),
        ),
        Kind(
            "task",
            "tasks.parquet",
            0,
            (
                _EPISODE,
                _UE,
                _STEP,
                Column("complexity", pa.float64(), "-", "complexity of the task", above=0),
                Column("data_mb", pa.float64(), "MB", "data size of the task", above=0),
                Column("power_w", pa.float64(), "W", "uplink power", above=0),
                Column("tokens", pa.float64(), "-", "tokens to train on", above=0, required=False),
                Column(
                    "domain", pa.int64(), "-", "index of the domain", at_least=0, required=False
                ),
                Column(
                    "active", pa.bool_(), "-", "whether the UE has a task at all", required=False
                ),
            ),
        ),
        Kind(
            "device",
            "devices.parquet",
            None,
            (
                _EPISODE,
                _UE,
                Column(
                    "tflops",
                    pa.float64(),
                    "TFLOP/s",
                    "speed of the device",
                    above=0,
                    required=False,
                ),
                Column(
                    "most_retention",
                    pa.float64(),
                    "-",
                    "largest retention whose emulator fits into the memory",
                    above=0,
                    at_most=1,
                    required=False,
                ),
                Column(
                    "battery_kj",
                    pa.float64(),
                    "kJ",
                    "battery at the episode's start",
                    at_least=0,
                    required=False,
                ),
            ),
        ),
    )
}
"""The kinds of files, by name."""

FILES: dict[str, Kind] = {kind.file: kind for kind in KINDS.values()}
"""The same by the file's name in a trace."""


def schema_of(kind: Kind, names: set[str], origin: Mapping[str, Any]) -> pa.Schema:
    """Returns the schema of a file with the columns ``names``.

    Args:
        origin: where the values come from; free, but JSON.
    """
    fields = [column.field for column in kind.columns if column.name in names]
    about = {"format": FORMAT, "version": VERSION, "kind": kind.name, "origin": json.dumps(origin)}
    return pa.schema(fields, metadata=about)


def check_schema(schema: pa.Schema, place: str) -> Kind:
    """Returns the kind of a file with this schema.

    Raises:
        InputError: of another format, version or kind; a column is missing, unknown, of another
            type or in another unit. ``place`` names the file.
    """
    about = {
        key.decode(errors="replace"): value.decode(errors="replace")
        for key, value in (schema.metadata or {}).items()
    }
    if about.get("format") != FORMAT:
        found = repr(about["format"]) if "format" in about else "missing"
        raise InputError(
            f"{place}: format (in the schema's metadata) is {found}: expected {FORMAT!r}"
        )
    if about.get("version") != VERSION:
        raise InputError(f"{place}: version = {about.get('version')!r}: expected {VERSION!r}")
    if about.get("kind") not in KINDS:
        error = unknown_name("kind", about.get("kind"), KINDS)
        raise InputError(f"{place}: {error}")
    kind = KINDS[about["kind"]]
    known = {column.name: column for column in kind.columns}
    for name in schema.names:
        if name not in known:
            hint = did_you_mean(name, known) or f" expected one of {', '.join(known)}"
            raise InputError(f"{place}: unknown column {name!r} in a {kind.name} trace:{hint}")
        if schema.names.count(name) > 1:
            raise InputError(f"{place}: column {name} comes twice: expected it once")
    for column in kind.columns:
        if column.name in schema.names:
            _check_field(column, schema.field(column.name), place)
        elif column.required:
            raise InputError(
                f"{place}: column {column.name} is missing: expected {column.type}, "
                f"unit {column.unit!r}"
            )
    values = [column.name for column in kind.values]
    if not set(values) & set(schema.names):
        raise InputError(
            f"{place}: it has no values: expected one of the columns {', '.join(values)}"
        )
    return kind


def _check_field(column: Column, field: pa.Field, place: str) -> None:
    if field.type != column.type:
        raise InputError(
            f"{place}: column {column.name} is of type {field.type}: expected {column.type}"
        )
    unit = (field.metadata or {}).get(b"unit")
    if unit is None or unit.decode(errors="replace") != column.unit:
        found = "no unit" if unit is None else f"unit {unit.decode(errors='replace')!r}"
        raise InputError(
            f"{place}: column {column.name} has {found} in its metadata: expected {column.unit!r}"
        )
