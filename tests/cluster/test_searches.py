"""Searches over two nodes: a trial is killed, then the driver, and resumed they end as planned."""

import csv
import json
import re
import shlex
import signal
import subprocess
import sys
import time

import pytest
import yaml
from heads import ROOT, head

pytestmark = pytest.mark.cluster

STEPS = "num_env_steps_sampled_lifetime"
TOTAL = 24_000

SEARCHES = {
    "asha": {
        "scheduler": {
            "type": "asha",
            "time_attr": STEPS,
            "grace_period": 8000,
            "max_t": TOTAL,
            "reduction_factor": 2,
        }
    },
    "pbt": {
        "scheduler": {
            "type": "pbt",
            "time_attr": STEPS,
            "perturbation_interval": 8000,
            "hyperparam_mutations": {"gamma": {"uniform": [0.5, 0.99]}},
        }
    },
    "optuna": {"search_alg": {"type": "optuna", "seed": 0}, "max_concurrent_trials": 3},
}


def write_form(path, search, storage):
    form = {
        "run": "HMPPO",
        "env": "mec",
        "num_samples": 4,
        "stop": {STEPS: TOTAL},
        "storage_path": str(storage),
        "checkpoint_config": {"checkpoint_frequency": 10, "num_to_keep": 3},
        "tune_config": {
            "metric": "env_runners/episode_metrics/reward",
            "mode": "max",
            **SEARCHES[search],
        },
        "config": {
            "env_config": {"num_ues": 2, "num_tasks": 5},
            "num_env_runners": 0,
            "train_batch_size_per_learner": 40,
            "minibatch_size": 20,
            "num_epochs": 1,
            "lr": {"loguniform": [1e-4, 1e-2]},
        },
    }
    path.write_text(yaml.safe_dump({"exp": form}))


@pytest.fixture(scope="module")
def cluster():
    with head(num_cpus=2, env={"RAY_worker_niceness": "0"}) as started:
        started.worker = started.add(2)
        yield started


class Driver:
    """``rllib train`` in the background, and what it has printed."""

    def __init__(self, cluster, arguments, log):
        self.log = log
        with log.open("w") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "rllib_mec.cli", "train", *arguments],
                env={**cluster.env, "PYTHONPATH": str(ROOT)},
                cwd=log.parent,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )

    def wait_until(self, condition, seconds=180):
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)
        return found


def trials_on(node):
    """The processes of the trials that a node has."""
    return [p for p in node.processes() if p.cmdline()[:1] and "ray::HMPPO" in p.cmdline()[0]]


@pytest.mark.parametrize("search", SEARCHES)
def test_a_search_survives_a_killed_trial_and_a_killed_driver(cluster, tmp_path, search):
    directory = tmp_path / "results" / "exp"
    write_form(tmp_path / "search.yaml", search, directory.parent)
    arguments = ["file", str(tmp_path / "search.yaml"), "--address", cluster.address]

    driver = Driver(cluster, arguments, tmp_path / "first.log")
    driver.wait_until(lambda: list(directory.glob("*/checkpoint_*")))
    (victim, *_) = driver.wait_until(lambda: trials_on(cluster.worker))
    victim.kill()
    again = "failed and is started again from its last checkpoint"
    driver.wait_until(lambda: again in driver.log.read_text())
    driver.process.send_signal(signal.SIGKILL)
    driver.process.wait()

    resumed = Driver(cluster, [*arguments, "--resume"], tmp_path / "second.log")
    assert resumed.process.wait(timeout=400) == 0, resumed.log.read_text()
    printed = resumed.log.read_text()
    assert "Traceback" not in printed

    with (directory / "trials.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 4
    assert {row["failed"] for row in rows} == {"False"}
    steps = [float(row["steps"]) for row in rows]
    assert max(steps) == TOTAL
    if search != "asha":
        assert steps == [TOTAL] * 4
    best = max(rows, key=lambda row: float(row["reward"]))
    assert f"best by env_runners/episode_metrics/reward: {best['trial']}" in printed
    (command,) = re.findall(r"^  (rllib evaluate .*)$", printed.rpartition("best by")[2], re.M)
    assert best["trial"] in command
    evaluated = cluster.rllib(*shlex.split(command)[1:], "--episodes", "4", "--out", "out.json")
    assert evaluated.returncode == 0, evaluated.stderr
    report = json.loads((cluster.folder / "out.json").read_text())
    assert report["metrics"]["reward"]["mean"] < 0
