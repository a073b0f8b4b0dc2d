"""A disk that is full: the run ends with one line, and goes on when there is room again."""

import json
import subprocess
import sys

import pytest

from rllib_mec.experiment.checkpoints import manifest

pytestmark = pytest.mark.cluster

STEPS = "num_env_steps_sampled_lifetime"
CONFIG = {
    "env_config": {"num_ues": 2, "num_tasks": 5},
    "num_env_runners": 0,
    "train_batch_size_per_learner": 40,
    "minibatch_size": 20,
    "num_epochs": 1,
}


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1.5 MB, which takes root to make, and a function that makes it larger."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted: {mounted.stderr.strip()}")
    yield path, lambda: subprocess.run(["mount", "-o", "remount,size=500m", str(path)], check=True)
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def rllib(arguments):
    return subprocess.run(
        [sys.executable, "-m", "rllib_mec.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_full_disk_ends_the_run_and_resume_goes_on(small_disk):
    path, grow = small_disk
    arguments = ["train", "--algo", "HMPPO", "--env", "mec", "--config", json.dumps(CONFIG)]
    arguments += ["--stop", json.dumps({STEPS: 800}), "--checkpoint-freq", "1"]
    arguments += ["--storage-path", str(path), "--name", "exp"]
    full = rllib(arguments)
    assert full.returncode == 1, full.stdout + full.stderr
    line = "was not saved, those before it are: No space left on device"
    assert [text for text in full.stderr.splitlines() if line in text], full.stderr
    assert "Traceback" not in full.stderr
    kept = sorted(path.glob("exp/*/checkpoint_*"))
    assert kept
    progress = [manifest.check(folder).progress[STEPS] for folder in kept]
    assert progress == [40 * (n + 1) for n in range(len(kept))]
    assert not list(path.glob("exp/*/.checkpoint_*"))

    grow()
    resumed = rllib([*arguments, "--resume"])
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    *_, last = sorted(path.glob("exp/*/checkpoint_*"))
    assert manifest.check(last).progress[STEPS] == 800
