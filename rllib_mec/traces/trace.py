"""A trace: the files of a directory, or a single one, that belong together."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rllib_mec.errors import InputError, did_you_mean
from rllib_mec.system.tasks import Episode
from rllib_mec.traces.files import Array, Recording, read_file, write_file
from rllib_mec.traces.schema import FILES, KINDS


@dataclasses.dataclass(frozen=True, eq=False)
class Trace:
    """E recorded episodes of N UEs with T tasks each; what was not recorded is empty.

    place: the directory or file. num_tasks: T; None if only devices were recorded.
    """

    place: str
    recordings: Mapping[str, Recording]
    num_episodes: int
    num_ues: int
    num_tasks: int | None

    def values(self, kind: str) -> Mapping[str, Array]:
        """The values of a kind.

        ``channel``: (E, T + 2, N), from step -1 on. ``task``: (E, T + 1, N) each. ``device``:
        (E, N) each.
        """
        recording = self.recordings.get(kind)
        if recording is None:
            return {}
        return {
            name: np.broadcast_to(each, (self.num_episodes, *each.shape[1:]))
            for name, each in recording.values.items()
        }


def files_of(path: str | os.PathLike[str]) -> list[Path]:
    """Returns the files of a trace: those of a directory, or the one that is given.

    Raises:
        InputError: there are none, or a Parquet file that is none of a trace's.
    """
    place = Path(path)
    if not place.is_dir():
        if not place.exists():
            raise InputError(f"{place}: expected a trace, there is no such file or directory")
        return [place]
    inside = sorted(file.name for file in place.glob("*.parquet") if not file.name.startswith("."))
    for name in inside:
        if name not in FILES:
            hint = did_you_mean(name, FILES) or f" expected {', '.join(FILES)}"
            raise InputError(f"{place / name}: no file of a trace has this name:{hint}")
    if not inside:
        raise InputError(f"{place}: expected a trace, there is none of {', '.join(FILES)}")
    return [place / name for name in inside]


def read_trace(path: str | os.PathLike[str]) -> Trace:
    """Reads and checks a trace; the same files are read once in a process.

    Args:
        path: a directory, or one of the files.

    Raises:
        InputError: see :func:`rllib_mec.traces.files.read_file`; or files that do not fit each
            other.
    """
    files = files_of(path)
    stamps = []
    for file in files:
        stat = file.stat()
        stamps.append((str(file), stat.st_mtime_ns, stat.st_size))
    return _read(os.fspath(path), tuple(stamps))


@functools.lru_cache(maxsize=4)
def _read(place: str, stamps: tuple[tuple[str, int, int], ...]) -> Trace:
    return joined(place, [read_file(file) for file, _, _ in stamps])


def joined(place: str, recordings: Sequence[Recording]) -> Trace:
    """Returns the trace of some files.

    Raises:
        InputError: they do not fit each other.
    """
    for recording in recordings:
        name = Path(recording.place).name
        if name in FILES and recording.kind is not FILES[name]:
            raise InputError(
                f"{recording.place}: kind = {recording.kind.name!r}: expected {FILES[name].name!r}"
            )
    # What has no column of episodes is the same in all of them, if it says nothing of steps.
    first = next(
        (each for each in recordings if each.has_episodes or each.kind.first_step is not None),
        recordings[0],
    )
    tasks: Recording | None = None
    for recording in recordings:
        same = recording.kind.first_step is None and not recording.has_episodes
        _check_same("episodes", recording, first, not same)
        _check_same("ues", recording, first)
        if recording.last_step is not None:
            tasks = tasks or recording
            if recording.last_step != tasks.last_step:
                raise InputError(
                    f"{recording.place}: the last step is {recording.last_step}: expected "
                    f"{tasks.last_step}, as in {tasks.place}"
                )
    return Trace(
        place,
        {recording.kind.name: recording for recording in recordings},
        first.num_episodes,
        first.num_ues,
        None if tasks is None else tasks.last_step,
    )


def _check_same(what: str, one: Recording, other: Recording, counts: bool = True) -> None:
    found, expected = getattr(one, f"num_{what}"), getattr(other, f"num_{what}")
    if counts and found != expected:
        word = "UEs" if what == "ues" else what
        raise InputError(
            f"{one.place}: the number of {word} is {found}: expected {expected}, as in "
            f"{other.place}"
        )


def write_trace(
    directory: str | os.PathLike[str], episodes: Sequence[Episode], origin: Mapping[str, Any]
) -> None:
    """Writes episodes, those of one batch after those of the other, as a trace.

    Args:
        directory: of the trace; made if it is not there.
        episodes: batches of episodes of the same scenario.
        origin: where they come from; free, but JSON.

    Raises:
        InputError: ``directory`` holds a trace, or cannot be written.
    """
    of_steps = [(e.tasks, e.first_gain[None]) for e in episodes]
    gain = np.concatenate(
        [np.concatenate([first, tasks.gain]).transpose(1, 0, 2) for tasks, first in of_steps]
    )
    task = {
        column.name: np.concatenate(
            [getattr(e.tasks, column.name).transpose(1, 0, 2) for e in episodes]
        )
        for column in KINDS["task"].values
        if getattr(episodes[0].tasks, column.name) is not None
    }
    device = {
        column.name: np.concatenate([getattr(e.devices, column.name) for e in episodes])
        for column in KINDS["device"].values
        if getattr(episodes[0].devices, column.name) is not None
    }
    write_values(directory, {"channel": {"gain": gain}, "task": task, "device": device}, origin)


def write_values(
    directory: str | os.PathLike[str],
    values: Mapping[str, Mapping[str, Array]],
    origin: Mapping[str, Any],
) -> None:
    """Writes a trace of what is recorded of each kind, see :meth:`Trace.values`.

    Raises:
        InputError: ``directory`` holds a trace, or cannot be written.
    """
    check_new(directory)
    try:
        os.makedirs(directory, exist_ok=True)
    except OSError as error:
        raise InputError(f"{directory}: cannot make it: {error.strerror or error}") from None
    for kind, columns in values.items():
        if columns:
            write_file(Path(directory) / KINDS[kind].file, KINDS[kind], columns, origin)


def check_new(directory: str | os.PathLike[str]) -> None:
    """Refuses a directory that holds a trace: its files would be mixed with those of another.

    Raises:
        InputError: it does, or it is a file.
    """
    place = Path(directory)
    if place.exists() and not place.is_dir():
        raise InputError(f"{place}: expected a directory, this is a file")
    for name in FILES:
        if (place / name).exists():
            raise InputError(f"{place}: expected a directory without a trace, it holds {name}")
