"""Which checkpoint a trial goes on from when a run is resumed: the newest that is whole.

Tune knows those checkpoints that its driver had heard of when it last saved its own state. Others
may have been written since, and those that it knows may have been damaged.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.fs
from ray.train._internal.session import _TrainingResult
from ray.tune import Callback, Checkpoint

from rllib_mec.errors import InputError
from rllib_mec.experiment.checkpoints import manifest
from rllib_mec.experiment.interrupt import say

_NAME = re.compile(r"checkpoint_(\d+)")


def newest(filesystem: pyarrow.fs.FileSystem, path: str) -> _TrainingResult | None:
    """Returns the newest whole checkpoint in a trial's directory, and says which are not whole."""
    for checkpoint in _checkpoints(filesystem, path):
        try:
            return _result(checkpoint, manifest.check)
        except (InputError, OSError) as error:
            say(f"passed over {checkpoint.path}: {str(error).partition(': ')[2] or error}")
    return None


def _result(checkpoint: Checkpoint, read: Callable[[Path], manifest.Manifest]) -> _TrainingResult:
    with checkpoint.as_directory() as directory:
        return _TrainingResult(checkpoint, dict(read(Path(directory)).progress))


class GoOnFromNewest(Callback):
    """Gives trials that are started again their newest whole checkpoint.

    Those of a resumed run, and those that have failed in mid-run.
    """

    def __init__(self) -> None:
        self._done = False

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if self._done:
            return
        self._done = True
        for trial in trials:
            if trial.status in (trial.PENDING, trial.PAUSED):
                _choose(trial)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        _choose(trial)


def _choose(trial: Any) -> None:
    storage, manager = trial.storage, trial.run_metadata.checkpoint_manager
    known = manager.latest_checkpoint_result
    filesystem = storage.storage_filesystem
    found = newest(filesystem, storage.trial_fs_path)
    # Population based training may have given it the checkpoint of another trial: it keeps that,
    # unless the other one has thrown it away by now.
    is_own = known is not None and known.checkpoint.path.startswith(f"{storage.trial_fs_path}/")
    if known is None or is_own or not _exists(filesystem, known.checkpoint.path):
        if known is not None and found is None:
            say(f"{trial.trial_id}: no checkpoint is whole, it starts from the beginning")
        if known is None or found is None or known.checkpoint.path != found.checkpoint.path:
            manager._latest_checkpoint_result = found
    there = _all(storage, manager._checkpoint_results, found)
    if manager.checkpoint_config.checkpoint_score_attribute is not None:
        there.sort(key=manager._get_checkpoint_score)
    manager._checkpoint_results = there


def _all(
    storage: Any, known: list[_TrainingResult], found: _TrainingResult | None
) -> list[_TrainingResult]:
    """Returns what there is of a trial's checkpoints, oldest first, for Tune to keep some.

    Some of those that Tune knew may be gone, by `num_to_keep`, and some came after.
    """
    by_path = {result.checkpoint.path: result for result in known}
    if found is not None:
        by_path.setdefault(found.checkpoint.path, found)
    there = []
    for checkpoint in reversed(
        list(_checkpoints(storage.storage_filesystem, storage.trial_fs_path))
    ):
        result = by_path.get(checkpoint.path)
        if result is None:
            with contextlib.suppress(InputError, OSError):
                result = _result(checkpoint, manifest.read)
        if result is not None:
            there.append(result)
    return there


def _exists(filesystem: pyarrow.fs.FileSystem, path: str) -> bool:
    return filesystem.get_file_info(path).type != pyarrow.fs.FileType.NotFound


def _checkpoints(filesystem: pyarrow.fs.FileSystem, path: str) -> Iterator[Checkpoint]:
    """Yields what a trial's directory holds under the names of checkpoints, newest first."""
    selector = pyarrow.fs.FileSelector(path, allow_not_found=True)
    numbered = [
        (int(match[1]), entry.path)
        for entry in filesystem.get_file_info(selector)
        if (match := _NAME.fullmatch(entry.base_name))
    ]
    for _, found in sorted(numbered, reverse=True):
        yield Checkpoint(found, filesystem)
