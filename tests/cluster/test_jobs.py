"""Trainings as Ray jobs, on two nodes: what is sent, logs, exit codes, stopping, resuming."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from heads import ROOT, head

pytestmark = pytest.mark.cluster

VERSION = "0.0.0+sent"

MEC = """
exp:
  run: HMPPO
  env: own_env:sent_mec
  env_runners_per_node: 1
  stop: {training_iteration: 3}
  config: {num_env_runners: 2, num_epochs: 1, env_config: {num_ues: 3}}
"""

SLOW = """
slow:
  run: PPO
  env: own_env:Slow
  env_runners_per_node: 1
  stop: {num_env_steps_sampled_lifetime: 240}
  checkpoint_config: {checkpoint_frequency: 0}
  config:
    num_env_runners: 1
    num_epochs: 1
    rollout_fragment_length: 80
    minibatch_size: 80
    train_batch_size_per_learner: 80
    env_config: {seconds: 0.08}
"""
"""Its iterations take more than 6 s, twice what Ray gives a job that is stopped."""


@pytest.fixture(scope="module")
def cluster():
    # Ray installs a wheel with all that it requires, Ray and torch too, unless told otherwise.
    with head(2, env={"PIP_NO_DEPS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}) as started:
        started.add(2)
        yield started


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A copy of the repository whose package says that it is the one that was sent.

    The nodes may have the package installed: they share this machine's Python.
    """
    folder = tmp_path_factory.mktemp("repository")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "rllib_mec", folder / "rllib_mec", ignore=ignore)
    init = folder / "rllib_mec" / "__init__.py"
    before = init.read_text()
    after = "".join(
        f'__version__ = "{VERSION}"\n' if line.startswith("__version__") else line
        for line in before.splitlines(keepends=True)
    )
    assert after != before
    init.write_text(after)
    _write(folder, MEC)
    return folder


def _write(folder: Path, yaml: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "f.yaml").write_text(yaml)
    shutil.copy(Path(__file__).parent / "own_env.py", folder)


def ray_job(cluster, *arguments, **options):
    command, *rest = arguments
    return cluster.run(
        "-m", "ray.scripts.scripts", "job", command, "--address", cluster.dashboard, *rest,
        **options,
    )  # fmt: skip


def results(storage):
    """Returns the iterations and steps of the one trial, of all its sessions."""
    (file,) = storage.glob("*/*/result.json")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return [(row["training_iteration"], row["num_env_steps_sampled_lifetime"]) for row in rows]


@pytest.mark.parametrize("form", ["working_dir", "py_modules", "wheel"])
def test_the_package_goes_along(form, cluster, repository, tmp_path):
    """Drivers and rollout workers on both nodes use what was sent, in each of Ray's forms."""
    if form == "working_dir":
        folder, env = repository, {}
    else:
        folder, env = tmp_path / "mine", {"py_modules": [str(repository / "rllib_mec")]}
        _write(folder, MEC)
    if form == "wheel":
        wheels = tmp_path / "wheels"
        subprocess.run(
            [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", wheels, repository],
            check=True,
        )
        env = {"py_modules": [str(wheel) for wheel in wheels.glob("*.whl")]}
    done = ray_job(
        cluster, "submit", "--submission-id", form, "--working-dir", str(folder),
        "--runtime-env-json", json.dumps(env),
        "--", "python", "-m", "rllib_mec.cli", "train", "file", "f.yaml",
        "--storage-path", str(tmp_path / "results"),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert results(tmp_path / "results")[-1] == (3, 1200)
    logs = ray_job(cluster, "logs", form, "--follow").stdout
    assert "exp: HMPPO on own_env:sent_mec, until training_iteration 3" in logs
    assert "checkpoint_000000" in logs


def test_exit_codes(cluster, repository, tmp_path):
    """Ray's own command knows 0 and 1; `rllib submit` has the driver's."""
    nothing = ["--storage-path", str(tmp_path / "nothing"), "--resume"]
    ray_s = ray_job(
        cluster, "submit", "--working-dir", str(repository),
        "--", "python", "-m", "rllib_mec.cli", "train", "file", "f.yaml", *nothing,
    )  # fmt: skip
    assert ray_s.returncode == 1
    assert "error: nothing to resume in" in ray_s.stdout
    ours = cluster.rllib(
        "submit", "f.yaml", "--address", cluster.dashboard, "--working-dir", ".", "--no-package",
        *nothing, cwd=repository, env={"PYTHONPATH": str(repository)},
    )  # fmt: skip
    assert ours.returncode == 2, ours.stdout + ours.stderr
    assert "error: nothing to resume in" in ours.stdout
    assert ours.stderr == ""


def test_results_below_the_jobs_directory_are_refused(cluster, repository):
    done = ray_job(
        cluster, "submit", "--working-dir", str(repository),
        "--", "python", "-m", "rllib_mec.cli", "train", "file", "f.yaml",
    )  # fmt: skip
    assert done.returncode == 1
    expected = "exp.storage_path = './results': a job's working directory is thrown away"
    assert expected in done.stdout


def test_a_job_is_left_stopped_and_resumed(cluster, tmp_path):
    """Ctrl-C leaves it running; a stopped one has saved its iteration, and goes on from there."""
    mine, storage = tmp_path / "mine", tmp_path / "results"
    _write(mine, SLOW)
    command = ["submit", "f.yaml", "--address", cluster.dashboard, "--working-dir", "."]
    command += ["--storage-path", str(storage)]
    first = subprocess.Popen(
        [sys.executable, "-m", "rllib_mec.cli", *command],
        cwd=mine,
        env={**cluster.env, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = []
    for line in first.stdout:
        lines.append(line)
        if "80/240 steps" in line:
            break
    job = lines[0].removeprefix("job ").strip()
    first.send_signal(signal.SIGINT)
    _, err = first.communicate(timeout=30)
    assert first.returncode == 130, "".join(lines) + err
    assert f"the job goes on; to stop it: ray job stop {job}" in err
    assert "RUNNING" in ray_job(cluster, "status", job).stdout

    stopped = ray_job(cluster, "stop", job)
    assert f"Job '{job}' was stopped" in stopped.stdout
    logs = ray_job(cluster, "logs", job).stdout
    assert "SIGTERM: saving checkpoints when the current iteration ends" in logs
    assert "stopped; to continue: " in logs
    assert "Traceback" not in logs
    before = results(storage)
    assert before[-1] == (len(before), 80 * len(before))
    assert 80 < before[-1][1] < 240
    assert list(storage.glob("slow/*/checkpoint_*"))

    resumed = cluster.rllib(*command, "--resume", cwd=mine)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert results(storage)[len(before) :] == [
        (number, 80 * number) for number in range(len(before) + 1, 4)
    ]
    assert "slow: PPO on own_env:Slow" in resumed.stdout
    assert resumed.stderr == ""


def test_not_waiting(cluster, tmp_path):
    """The command returns at once, with all that is needed to come back to the job."""
    mine, storage = tmp_path / "mine", tmp_path / "results"
    _write(mine, SLOW)
    done = cluster.rllib(
        "submit", "f.yaml", "--address", cluster.dashboard, "--working-dir", ".", "--no-wait",
        "--storage-path", str(storage), cwd=mine,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    job = done.stdout.splitlines()[0].removeprefix("job ")
    assert f"ray job logs --follow {job} --address {cluster.dashboard}" in done.stdout
    assert "steps" not in done.stdout
    deadline = time.monotonic() + 60
    while "RUNNING" not in (status := ray_job(cluster, "status", job).stdout):
        assert time.monotonic() < deadline, status
    assert f"Job '{job}' was stopped" in ray_job(cluster, "stop", job).stdout
