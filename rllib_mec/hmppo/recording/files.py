"""Recordings: what environment runners sampled, in Parquet files.

A recording is a directory. Each runner has one of its own in it, with numbered parts::

    output/runner-000/part-000000-3f2a9c1e.parquet
    output/runner-000/part-000001-3f2a9c1e.parquet

The last word of a name is the session, one life of a runner. It keeps runs apart that write to
the same directory at once; a run that comes later goes on numbering. Files get their names when
they are complete. What a row holds: :mod:`rllib_mec.hmppo.recording.rows`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import fs, parquet

from rllib_mec.errors import InputError
from rllib_mec.hmppo.recording import rows
from rllib_mec.hmppo.team import Team
from rllib_mec.hmppo.team_batch import TeamBatch

_PART = re.compile(r"part-(\d{6,})-[0-9a-f]{8}\.parquet$")


def locate(path: str | os.PathLike[str]) -> tuple[fs.FileSystem, str]:
    """Returns the file system of a path or URI, and the path in there.

    Raises:
        InputError: a URI that Arrow does not know.
    """
    text = os.fspath(path)
    if "://" not in text:
        return fs.LocalFileSystem(), os.path.abspath(text)
    try:
        return fs.FileSystem.from_uri(text)
    except (ValueError, OSError, ImportError, NotImplementedError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{text!r}: expected a directory or a URI: {reason}") from None


class RecordingWriter:
    """Writes what one runner samples.

    Args:
        output: directory or URI of the recording.
        runner: index of the runner.
        team: whose steps they are.
        max_rows: most rows in a file. Rows wait until there are so many (what waits is lost if
            the process is killed); None writes every batch at once, into a file of its own.
    """

    def __init__(
        self,
        output: str | os.PathLike[str],
        *,
        runner: int,
        team: Team,
        max_rows: int | None = None,
    ) -> None:
        self._filesystem, root = locate(output)
        self._directory = f"{root.rstrip('/')}/runner-{runner:03d}"
        self._runner, self._team, self._max_rows = runner, team, max_rows
        self._session = uuid.uuid4().hex[:8]
        self._part: int | None = None
        self._segments = 0
        self._waiting: list[pa.Table] = []

    def add(self, batch: TeamBatch) -> None:
        """Records a batch; an ``OSError`` says that it cannot be written."""
        self._waiting.append(rows.table_of(batch, self._segments))
        self._segments += len(batch.lengths)
        if self._max_rows is None or sum(map(len, self._waiting)) >= self._max_rows:
            self._write(all_rows=self._max_rows is None)

    def flush(self) -> None:
        """Writes what waits."""
        self._write(all_rows=True)

    def _write(self, *, all_rows: bool) -> None:
        if not self._waiting:
            return
        table = rows.joined(self._waiting)
        most = self._max_rows or len(table)
        self._waiting = []
        while len(table) >= most or (all_rows and len(table)):
            taken = _whole_segments(table, most)
            # A segment that is longer than a file may be goes into several.
            for start in range(0, taken, most):
                self._write_part(table.slice(start, min(most, taken - start)))
            table = table.slice(taken)
        if len(table):
            self._waiting = [table]

    def _write_part(self, table: pa.Table) -> None:
        if self._part is None:
            self._filesystem.create_dir(self._directory, recursive=True)
            self._part = self._next_part()
        names = table.column_names
        metadata = rows.description(self._team, self._runner, self._session, self._part, names)
        name = f"part-{self._part:06d}-{self._session}.parquet"
        # Arrow, and whoever else reads directories of Parquet, passes over names with a dot.
        aside = f"{self._directory}/.{name}"
        try:
            with self._filesystem.open_output_stream(aside) as stream:
                parquet.write_table(table.replace_schema_metadata(metadata), stream)
            self._filesystem.move(aside, f"{self._directory}/{name}")
        except BaseException:
            with contextlib.suppress(OSError):
                self._filesystem.delete_file(aside)
            raise
        self._part += 1

    def _next_part(self) -> int:
        present = self._filesystem.get_file_info(fs.FileSelector(self._directory))
        numbers = [int(found[1]) for info in present if (found := _PART.match(info.base_name))]
        return max(numbers, default=-1) + 1


def _whole_segments(table: pa.Table, most: int) -> int:
    """Rows of the first segments that have ``most`` rows together, or of the first alone."""
    starts = np.flatnonzero(table["step"].to_numpy() == 0)
    ends = np.append(starts[1:], len(table))
    fitting = int(np.searchsorted(ends, most, side="right"))
    return int(ends[max(fitting - 1, 0)])


def read_recording(path: str | os.PathLike[str]) -> TeamBatch:
    """Reads a recording, or any of its directories or files.

    Returns:
        everything in one batch: runner by runner, each in the order in which it sampled.

    Raises:
        InputError: there is none; a Parquet file that is none of HMPPO's; a missing column or one
            of another type; NaN; parts of another team; or a segment whose beginning or end is
            missing.
    """
    filesystem, root = locate(path)
    sessions: dict[tuple[int, str], list[_Part]] = {}
    first: _Part | None = None
    for file in _files(filesystem, root, str(path)):
        part = _Part.read(filesystem, file)
        first = first or part
        if not part.is_like(first):
            raise InputError(f"{file}: expected a recording of the same team as {first.file}")
        sessions.setdefault((part.runner, part.session), []).append(part)
    if first is None:
        raise InputError(f"{path}: expected a recording, there is no Parquet file")
    in_order = [sorted(parts, key=lambda part: part.number) for parts in sessions.values()]
    in_order.sort(key=lambda parts: (parts[0].runner, parts[0].number, parts[0].session))
    batches = [
        rows.batch_of(
            rows.joined([part.table for part in parts]), first.team["agents"], parts[0].file
        )
        for parts in in_order
    ]
    return TeamBatch.concatenate(batches)


@dataclasses.dataclass(frozen=True)
class _Part:
    """One file: its path, what it says of itself, and its rows."""

    file: str
    runner: int
    session: str
    number: int
    team: dict[str, Any]
    table: pa.Table

    @classmethod
    def read(cls, filesystem: fs.FileSystem, file: str) -> _Part:
        try:
            with filesystem.open_input_file(file) as stream:
                table = parquet.read_table(stream)
        except (pa.ArrowInvalid, OSError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{file}: expected a Parquet file: {reason}") from None
        about = rows.described(table.schema, file)
        rows.check_rows(table, about["team"]["agents"], file)
        table = table.replace_schema_metadata(None)
        return cls(file, about["runner"], about["session"], about["part"], about["team"], table)

    def is_like(self, other: _Part) -> bool:
        own, others = (rows.always_there(part.table.schema) for part in (self, other))
        return self.team == other.team and own.equals(others)


def _files(filesystem: fs.FileSystem, root: str, place: str) -> Iterator[str]:
    """Yields the paths of all complete Parquet files, in order."""
    info = filesystem.get_file_info(root)
    if info.type == fs.FileType.NotFound:
        raise InputError(f"{place}: expected a recording, there is no such file or directory")
    if info.is_file:
        yield root
        return
    inside = filesystem.get_file_info(fs.FileSelector(root, recursive=True))
    for info in sorted(inside, key=lambda info: info.path):
        if info.is_file and info.base_name.endswith(".parquet") and info.base_name[0] != ".":
            yield info.path
