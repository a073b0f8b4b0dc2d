"""Continuing an experiment from its directory: what it was, and whether it is done.

A resumed run keeps the settings that it began with, as Tune saved them; so that an edit of the
file is not silently ignored, the form is kept in the directory too, as ``experiment.json``. What
Tune saved are pickles: a directory that this user has not begun is resumed on ``--trust`` alone.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow.fs
from ray import tune

from rllib_mec.errors import InputError
from rllib_mec.experiment import known_runs
from rllib_mec.experiment.interrupt import say
from rllib_mec.experiment.plan import Plan

RECORD = "experiment.json"
"""The file in an experiment's directory that holds its form, and the number of the run."""

_NUMBER = "run_number"

_HINT = "; to go on from one of its checkpoints: --restore CHECKPOINT, with another --name"

_DECISIONS = ("_cached_trial_decisions", "_queued_trial_decisions")

_KEPT = (
    "run",
    "env",
    "stop",
    "config",
    "num_samples",
    "seeds",
    "stack",
    "env_runners_per_node",
    "tune_config",
)
"""Parts of the form that a resumed run takes from its directory."""


def record(plan: Plan) -> None:
    """Writes the form of an experiment that begins."""
    filesystem, path = storage(plan)
    filesystem.create_dir(path)
    number = known_runs.begin(plan.experiment.directory)
    with filesystem.open_output_stream(f"{path}/{RECORD}") as stream:
        stream.write(json.dumps({_NUMBER: number, **_form(plan)}, indent=2).encode())


def restore(plan: Plan, trust: bool) -> Any | None:
    """Returns the Tuner of an experiment that was begun before, or None if it was not.

    Args:
        trust: whether to unpickle what somebody else may have written.

    Raises:
        InputError: the directory is damaged or another user's, or the form was changed since.
    """
    directory = plan.experiment.directory
    if not tune.Tuner.can_restore(directory):
        return None
    before = _recorded(plan)
    _check_unchanged(plan, before)
    if not trust and not known_runs.is_known(directory, before.get(_NUMBER)):
        raise InputError(
            f"cannot resume {directory}: it was not begun here by this user, and Tune's state in "
            "it is unpickled, which runs whatever code is in it: if you trust whoever wrote it, "
            f"add --trust{_HINT}"
        )
    _forget_decisions(plan)
    try:
        return tune.Tuner.restore(
            directory,
            trainable=plan.trainable,
            # Without it, Tune cannot make the trials that it had not made yet.
            param_space=plan.param_space,
            resume_unfinished=True,
            resume_errored=True,
        )
    except (ValueError, EOFError, OSError, pickle.UnpicklingError, ImportError) as error:
        line = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"cannot resume {directory}: {line}{_HINT}") from error


def _forget_decisions(plan: Plan) -> None:
    """Takes out of Tune's state what it was about to do with trials when the run ended.

    If a trial fails while it saves a checkpoint, Tune notes that it is to be stopped after that;
    the note outlives the run, and stops the resumed trial after its next checkpoint.
    """
    filesystem, path = storage(plan)
    names = [
        entry.path
        for entry in filesystem.get_file_info(pyarrow.fs.FileSelector(path))
        if entry.base_name.startswith("experiment_state-")
    ]
    if not names:
        return
    newest = max(names)  # their names hold the time
    try:
        with filesystem.open_input_stream(newest) as stream:
            state = json.loads(stream.read())
        runner = state["runner_data"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"cannot resume {path}: {newest} is damaged: {error!r}{_HINT}") from None
    if any(runner.get(key) for key in _DECISIONS):
        runner.update({key: {} for key in _DECISIONS})
        with filesystem.open_output_stream(f"{newest}.new") as stream:
            stream.write(json.dumps(state).encode())
        filesystem.move(f"{newest}.new", newest)


def finished(plan: Plan, tuner: Any) -> bool:
    """Tells whether all trials of a restored experiment have ended well."""
    try:
        results = tuner.get_results()
    except RuntimeError:  # ended before Tune wrote the state of its trials
        say(f"{plan.experiment.name}: no trial has been saved, starting from the beginning")
        return False
    return results.num_terminated >= plan.num_trials


def _recorded(plan: Plan) -> dict[str, Any]:
    """Returns what :func:`record` has written; nothing, where Tune itself began a run."""
    filesystem, path = storage(plan)
    try:
        with filesystem.open_input_stream(f"{path}/{RECORD}") as stream:
            content = json.loads(stream.read())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise InputError(f"cannot resume: {path}/{RECORD} is damaged: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"cannot resume: {path}/{RECORD} is damaged: expected a JSON object")
    return content


def _check_unchanged(plan: Plan, recorded: Mapping[str, Any]) -> None:
    if not recorded:
        return
    before = dict(_flat({key: value for key, value in recorded.items() if key != _NUMBER}))
    now = dict(_flat(_form(plan)))
    for key in (*now, *before):
        if now.get(key) != before.get(key):
            raise InputError(
                f"{plan.experiment.place(*key)} is {now.get(key)!r} and was {before.get(key)!r} "
                "when this run began; a resumed run keeps its settings: change it back, or start "
                "a new run without --resume"
            )


def _form(plan: Plan) -> dict[str, Any]:
    return plan.experiment.form.model_dump(include=set(_KEPT))


def _flat(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, (*path, str(key)))
    else:
        yield path, value


def storage(plan: Plan) -> tuple[Any, str]:
    """Returns the file system of an experiment's directory, and the directory's path in it."""
    return pyarrow.fs.FileSystem.from_uri(plan.experiment.directory)
