"""The results of federations as Parquet: a row per case, seed and round, columns with their units.

The schema's metadata say under ``rllib_mec_federation`` how they were played, as a JSON object.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from rllib_mec.errors import InputError
from rllib_mec.federated.records import Row

KEY = "rllib_mec_federation"
"""What the schema's metadata hold the JSON object under."""

VERSION = 1
"""Of the format; ``format_version`` in that object."""

_TYPES = {
    "str": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "tuple[int, ...]": pa.list_(pa.int64()),
    "tuple[str, ...]": pa.list_(pa.string()),
}


def write_results(path: Path, rows: Sequence[Row], about: Mapping[str, Any]) -> None:
    """Writes results; the file gets its name when it is complete.

    Args:
        about: free, but JSON: model, adapter, rules.

    Raises:
        InputError: the file cannot be written.
    """
    text = json.dumps({"format_version": VERSION, **about})
    table = pa.Table.from_pylist([dataclasses.asdict(row) for row in rows], schema=_schema(text))
    aside = path.with_name(f".{path.name}")
    try:
        parquet.write_table(table, aside, compression="zstd", write_page_checksum=True)
        os.replace(aside, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise InputError(f"{path}: cannot write it: {error.strerror or error}") from None


def read_results(path: str | os.PathLike[str]) -> tuple[tuple[Row, ...], dict[str, Any]]:
    """Returns the rows of a file, and what its metadata say.

    Raises:
        InputError: it is not there, damaged, or holds something else.
    """
    place = os.fspath(path)
    try:
        with parquet.ParquetFile(place, page_checksum_verification=True) as file:
            text = (file.schema_arrow.metadata or {}).get(KEY.encode())
            if text is None:
                raise InputError(
                    f"{place}: {KEY} (in the schema's metadata) is missing: expected the results "
                    "of rllib fedtune"
                )
            about = json.loads(text)
            if about.get("format_version") != VERSION:
                found = about.get("format_version")
                raise InputError(f"{place}: format_version = {found!r}: expected {VERSION}")
            if not file.schema_arrow.equals(_schema(text.decode())):
                raise InputError(f"{place}: expected the columns {', '.join(_schema('').names)}")
            table = file.read()
    except FileNotFoundError:
        raise InputError(f"{place}: there is no such file") from None
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{place}: expected a Parquet file: {reason}") from None
    return tuple(Row.of(values) for values in table.to_pylist()), about


def _schema(text: str) -> pa.Schema:
    fields = [
        pa.field(
            column.name,
            _TYPES[str(column.type)],
            nullable=False,
            metadata={name: column.metadata[name] for name in ("unit", "meaning")},
        )
        for column in dataclasses.fields(Row)
    ]
    return pa.schema(fields, {KEY: text})
