"""Where the results of a job may go: its working directory is thrown away with it."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from ray._private.runtime_env.constants import RAY_JOB_CONFIG_JSON_ENV_VAR

from rllib_mec.errors import InputError
from rllib_mec.experiment.spec import Experiment

_UNPACKED = "runtime_resources"
"""Ray's directory for what jobs bring along."""


def check_before_job(experiment: Experiment) -> None:
    """Refuses results below the working directory of a job that is about to be sent.

    Raises:
        InputError: ``storage_path`` is relative.
    """
    path = experiment.form.storage_path
    if "://" not in path and not PurePosixPath(path).is_absolute():
        raise _error(experiment)


def check_in_job(experiment: Experiment) -> None:
    """Refuses results below the working directory of the job that this process is the driver of.

    Raises:
        InputError: ``storage_path`` is there.
    """
    if RAY_JOB_CONFIG_JSON_ENV_VAR not in os.environ:
        return
    path = experiment.storage_path
    if "://" not in path and _UNPACKED in Path(path).parts:
        raise _error(experiment)


def _error(experiment: Experiment) -> InputError:
    return InputError(
        f"{experiment.place('storage_path')} = {experiment.form.storage_path!r}: a job's working "
        "directory is thrown away with the job: expected an absolute path that all nodes reach, "
        "or a URI; give --storage-path"
    )
