"""``rllib submit``: sends a training to a cluster as a Ray job, and follows it.

To be imported after :func:`rllib_mec.experiment.logs.quieten` has been called.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.dashboard.modules.job.utils import redact_url_password
from ray.exceptions import AuthenticationError, RuntimeEnvSetupError
from ray.job_submission import JobStatus, JobSubmissionClient

import rllib_mec
from rllib_mec.errors import InputError
from rllib_mec.experiment import connection, storage
from rllib_mec.experiment.interrupt import EXIT_CODE, say
from rllib_mec.experiment.plan import prepare
from rllib_mec.experiment.spec import Experiment

STOP_WAIT = "RAY_JOB_STOP_WAIT_TIME_S"
STOP_WAIT_SECONDS = "300"
"""How long a job that is stopped may take to save checkpoints; Ray's own 3 s are too short."""

SECONDS_BETWEEN_TRIES = 2.0
MAX_TRIES = 30
"""How often in a row a lost connection is tried again."""


@dataclasses.dataclass(frozen=True)
class Submission:
    """What to send, and where.

    file: the YAML of the experiments.
    address: of the cluster's dashboard.
    flags: options of ``rllib train file``, as typed.
    working_dir: a directory that is sent, with ``file`` in it; None: the file alone.
    package: whether the package itself is sent.
    wait: whether to follow the job until its end.
    resume_command: what the user is told to type to continue.
    """

    file: Path
    address: str
    flags: Sequence[str] = ()
    working_dir: Path | None = None
    package: bool = True
    wait: bool = True
    resume_command: str = "rllib submit … --resume"


def submit(
    experiments: Sequence[Experiment],
    submission: Submission,
    connect: Callable[[str], Any] | None = None,
) -> int:
    """Checks experiments, sends them, and follows the job's log to stdout.

    Args:
        connect: makes the client of an address; None: :func:`connected`.

    Returns:
        The driver's exit code; 1 where there is none (the job was stopped, or never started, or
        the connection is lost); 130 after Ctrl-C, when the job goes on. Without waiting, 0.

    Raises:
        InputError: what ``rllib train file`` would refuse, or the cluster does.
    """
    for experiment in experiments:
        storage.check_before_job(experiment)
    with _directory(submission) as (folder, file):
        with _working_in(folder):
            for experiment in experiments:
                prepare(experiment)
        client = (connect or connected)(submission.address)
        entrypoint = ["python", "-m", "rllib_mec.cli", "train", "file", file, *submission.flags]
        with _one_line(f"{redact_url_password(submission.address)} does not take the job"):
            job = client.submit_job(
                entrypoint=shlex.join(entrypoint), runtime_env=_runtime_env(submission, folder)
            )
    where = f"{job} --address {shlex.quote(redact_url_password(submission.address))}"
    say(f"job {job}")
    say(f"  logs:   ray job logs --follow {where}")
    say(f"  stop:   ray job stop {where}")
    say(f"  resume: {submission.resume_command}")
    if not submission.wait:
        return 0
    try:
        info = _followed(client, job)
    except KeyboardInterrupt:
        say(f"\nthe job goes on; to stop it: ray job stop {where}", sys.stderr)
        return EXIT_CODE
    if info is None:
        say(f"the connection is lost; the job may go on: ray job logs --follow {where}", sys.stderr)
        return 1
    return _exit_code(job, info)


def connected(address: str) -> Any:
    """Returns Ray's client for the job server at an address.

    Raises:
        InputError: nobody answers there, or it lets us not in, or has another version of Ray.
    """
    shown = redact_url_password(address)
    if not address.startswith(("http://", "https://")):
        raise InputError(
            f"--address {shown}: expected that of the cluster's dashboard, such as http://head:8265"
        )
    try:
        import aiohttp  # noqa: F401
        import requests
    except ImportError as error:
        raise InputError(
            f'rllib submit needs {error.name}: expected pip install "ray[default]"'
        ) from None
    connection.check_token(shown)
    # Ray lets its own variables go before what it is told.
    os.environ["RAY_API_SERVER_ADDRESS"] = address
    for name in ("dashboard.modules.dashboard_sdk", "dashboard.modules.job.sdk"):
        logging.getLogger(f"ray.{name}").setLevel(logging.ERROR)
    logging.getLogger("ray._private.runtime_env.packaging").setLevel(logging.ERROR)
    try:
        client = _Client(address)
        there = client._do_request("GET", "/api/version").json()["ray_version"]
    except AuthenticationError:
        raise connection.refused(shown) from None
    except (ConnectionError, requests.ConnectionError, requests.Timeout):
        raise InputError(
            f"no Ray at {shown}: nobody answers: expected the address of the cluster's dashboard, "
            "such as http://head:8265"
        ) from None
    except (requests.RequestException, RuntimeError, ValueError, KeyError) as error:
        line = " ".join(str(error).split())
        raise InputError(f"no Ray at {shown}: {type(error).__name__}: {line}") from None
    if there.split(".")[:2] != ray.__version__.split(".")[:2]:
        raise InputError(f"{shown} runs Ray {there}: expected {ray.__version__}, as here")
    return client


class _Client(JobSubmissionClient):
    """Ray's client, which would wait for ever."""

    def _do_request(self, *args: Any, **kwargs: Any) -> Any:
        seconds = (connection.SECONDS_TO_ANSWER, 600)
        return super()._do_request(*args, **{"timeout": seconds, **kwargs})


def _runtime_env(submission: Submission, folder: Path) -> dict[str, Any]:
    env: dict[str, Any] = {
        "working_dir": str(folder),
        "excludes": ["__pycache__/"],
        "env_vars": {STOP_WAIT: os.environ.get(STOP_WAIT, STOP_WAIT_SECONDS)},
    }
    if submission.package:
        env["py_modules"] = [str(Path(rllib_mec.__file__).parent)]
    return env


@contextlib.contextmanager
def _directory(submission: Submission) -> Iterator[tuple[Path, str]]:
    """Yields the directory that is sent, and the file's path in it."""
    folder = submission.working_dir
    if folder is None:
        with tempfile.TemporaryDirectory() as name:
            shutil.copy(submission.file, name)
            yield Path(name), submission.file.name
        return
    if not folder.is_dir():
        raise InputError(f"--working-dir {folder}: expected a directory")
    try:
        file = submission.file.resolve().relative_to(folder.resolve())
    except ValueError:
        raise InputError(f"{submission.file}: expected a file in --working-dir {folder}") from None
    yield folder.resolve(), file.as_posix()


@contextlib.contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    """Looks for modules and files where the job will, within a ``with`` block."""
    here, path = os.getcwd(), list(sys.path)
    sys.path[:] = [entry for entry in path if os.path.abspath(entry) != here]
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)
        sys.path[:] = path


@contextlib.contextmanager
def _one_line(what: str) -> Iterator[None]:
    """Turns what Ray's client raises into one line that starts with ``what``."""
    import requests

    try:
        yield
    except (requests.RequestException, RuntimeEnvSetupError, RuntimeError, ValueError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise InputError(f"{what}: {(lines or [type(error).__name__])[-1]}") from error


def _followed(client: Any, job: str) -> Any | None:
    """Prints a job's log until it ends; returns what Ray says about it, None if it cannot."""
    seen = tries = 0

    async def tail() -> None:
        """Prints what has not been printed; Ray sends the log from its beginning."""
        nonlocal seen
        skip = seen
        async for text in client.tail_job_logs(job):
            new, skip = text[skip:], max(0, skip - len(text))
            _print(new)
            seen += len(new)

    while tries < MAX_TRIES:
        # The connection may end before the job does, and not in a way that can be foreseen.
        with contextlib.suppress(Exception):
            asyncio.run(tail())
        try:
            info = client.get_job_info(job)
        except Exception:
            tries += 1
        else:
            tries = 0
            if JobStatus(info.status).is_terminal():
                with contextlib.suppress(Exception):
                    _print(client.get_job_logs(job)[seen:])
                return info
        time.sleep(SECONDS_BETWEEN_TRIES)
    return None


def _print(text: str) -> None:
    """Prints a piece of the log; if nobody reads it any more, that is like Ctrl-C."""
    try:
        print(text, end="", flush=True)
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        raise KeyboardInterrupt from None


def _exit_code(job: str, info: Any) -> int:
    status, code = JobStatus(info.status), info.driver_exit_code
    if status is JobStatus.STOPPED:
        say(f"job {job} was stopped", sys.stderr)
        return 1
    if status is JobStatus.SUCCEEDED:
        return 0
    if code is None:
        lines = [line.strip() for line in str(info.message).splitlines() if line.strip()]
        say(f"job {job} failed: {(lines or ['Ray does not say why'])[-1]}", sys.stderr)
        return 1
    # Of a driver that a signal has ended, as a shell would say it.
    return 128 - code if code < 0 else code


def flags_of(given: Mapping[str, Any]) -> list[str]:
    """Returns options of ``rllib train file`` as they are typed.

    >>> flags_of({"num_samples": 2, "resume": True, "checkpoint_at_end": False, "verbose": 2})
    ['--num-samples', '2', '--resume', '--no-checkpoint-at-end', '-vv']
    """
    flags: list[str] = []
    for name, value in given.items():
        option = name.replace("_", "-")
        if name == "verbose":
            flags.append(f"-{'v' * value}")
        elif isinstance(value, bool):
            flags.append(f"--{option}" if value else f"--no-{option}")
        else:
            flags += [f"--{option}", str(value)]
    return flags
