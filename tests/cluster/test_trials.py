"""Trials on a cluster that lose a process: started again, they end with the steps they were to."""

import json
import subprocess
import sys
import time

import pytest
from heads import ROOT, head

from rllib_mec.experiment.checkpoints import manifest

pytestmark = pytest.mark.cluster

STEPS = "num_env_steps_sampled_lifetime"
TOTAL = 20_000


@pytest.fixture(scope="module")
def cluster():
    with head(num_cpus=2, env={"RAY_worker_niceness": "0"}) as started:
        started.worker = started.add(2)
        yield started


def processes(cluster, title):
    """The processes of the cluster's nodes that Ray has given a title with this in it."""
    return [
        process
        for node in cluster.nodes
        for process in node.processes()
        if process.cmdline()[:1] and f"ray::{title}" in process.cmdline()[0]
    ]


@pytest.mark.parametrize(
    ("title", "settings"),
    [
        ("HMPPO.", {"num_env_runners": 0}),  # the trial itself, with the learner in its process
        ("_WrappedExecutable", {"num_env_runners": 0, "num_learners": 1}),
        ("_WrappedExecutable", {"num_env_runners": 1, "num_learners": 2}),
    ],
)
def test_a_learner_dies_and_the_trial_goes_on_from_its_checkpoint(
    cluster, tmp_path, title, settings
):
    config = {
        "env_config": {"num_ues": 2, "num_tasks": 5},
        "train_batch_size_per_learner": 40 // max(settings.get("num_learners", 1), 1),
        "minibatch_size": 20,
        "num_epochs": 1,
        **settings,
    }
    directory = tmp_path / "exp"
    arguments = ["--algo", "HMPPO", "--env", "mec", "--config", json.dumps(config)]
    arguments += ["--stop", json.dumps({STEPS: TOTAL}), "--checkpoint-freq", "10"]
    arguments += ["--storage-path", str(tmp_path), "--name", "exp"]
    driver = subprocess.Popen(
        [sys.executable, "-m", "rllib_mec.cli", "train", *arguments, "--address", cluster.address],
        env={**cluster.env, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 120
    while len(list(directory.glob("*/checkpoint_*"))) < 2:
        assert driver.poll() is None, driver.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (victim, *_) = processes(cluster, title)
    victim.kill()
    output, _ = driver.communicate(timeout=400)
    assert driver.returncode == 0, output
    assert output.count("failed and is started again from its last checkpoint") == 1
    assert "Traceback" not in output
    *_, last = sorted(directory.glob("*/checkpoint_*"))
    progress = manifest.check(last).progress
    assert (progress[STEPS], progress["training_iteration"]) == (TOTAL, TOTAL // 40)
