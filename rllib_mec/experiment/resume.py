"""Continuing an experiment from its directory: what it was, and whether it is done.

A resumed run keeps the settings that it began with, as Tune saved them; so that an edit of the
file is not silently ignored, the form is kept in the directory too, as ``experiment.json``.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow.fs
from ray import tune

from rllib_mec.errors import InputError
from rllib_mec.experiment.interrupt import say
from rllib_mec.experiment.plan import Plan

RECORD = "experiment.json"
"""The file in an experiment's directory that holds its form."""

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
    with filesystem.open_output_stream(f"{path}/{RECORD}") as stream:
        stream.write(json.dumps(_form(plan), indent=2).encode())


def restore(plan: Plan) -> Any | None:
    """Returns the Tuner of an experiment that was begun before, or None if it was not.

    Raises:
        InputError: the directory is damaged, or the form has been changed since.
    """
    directory = plan.experiment.directory
    if not tune.Tuner.can_restore(directory):
        return None
    _check_unchanged(plan)
    try:
        return tune.Tuner.restore(
            directory, trainable=plan.trainable, resume_unfinished=True, resume_errored=True
        )
    except (ValueError, EOFError, OSError, pickle.UnpicklingError, ImportError) as error:
        line = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"cannot resume {directory}: {line}") from error


def finished(plan: Plan, tuner: Any) -> bool:
    """Tells whether all trials of a restored experiment have ended well."""
    try:
        results = tuner.get_results()
    except RuntimeError:  # ended before Tune wrote the state of its trials
        say(f"{plan.experiment.name}: no trial has been saved, starting from the beginning")
        return False
    return results.num_terminated >= plan.num_trials


def _check_unchanged(plan: Plan) -> None:
    filesystem, path = storage(plan)
    try:
        with filesystem.open_input_stream(f"{path}/{RECORD}") as stream:
            before = dict(_flat(json.loads(stream.read())))
    except FileNotFoundError:  # begun by Tune itself, without this command
        return
    except ValueError as error:
        raise InputError(f"cannot resume: {path}/{RECORD} is damaged: {error}") from None
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
