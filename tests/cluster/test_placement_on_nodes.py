"""Where trials run on clusters of several nodes, and what happens where there are too few."""

import collections
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml
from heads import ROOT, head

pytestmark = pytest.mark.cluster


class Watched:
    """``rllib train`` on a cluster, whose lines are read as they come."""

    def __init__(self, cluster, folder, *arguments):
        self.process = subprocess.Popen(
            [
                *[sys.executable, "-m", "rllib_mec.cli", "train", "file", "f.yaml"],
                *["--address", cluster.address, *arguments],
            ],
            cwd=folder,
            env={**cluster.env, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines = []

    def until(self, words):
        """Reads lines up to one that contains ``words``, and returns it."""
        killer = threading.Timer(200, self.process.kill)
        killer.start()
        try:
            for line in self.process.stdout:
                self.lines.append(line)
                if words in line:
                    return line
        finally:
            killer.cancel()
        raise AssertionError(f"no line with {words!r} in:\n{''.join(self.lines)}")

    def end(self):
        """Waits for the end; returns the exit code."""
        rest, _ = self.process.communicate(timeout=200)
        self.lines.append(rest)
        return self.process.returncode

    @property
    def output(self):
        return "".join(self.lines)


def write(folder, config, **form):
    """Writes an experiment of two iterations whose processes note their nodes in ``folder``."""
    (folder / "own_env.py").write_text((Path(__file__).parent / "own_env.py").read_text())
    (folder / "notes").mkdir()
    experiment = {
        "run": "PPO",
        "env": "own_env:Slow",
        "stop": {"training_iteration": 1},
        "config": {
            "num_epochs": 1,
            "minibatch_size": 60,
            "train_batch_size_per_learner": 60,
            "callbacks_class": "own_env:NoteMain",
            "env_config": {"folder": str(folder / "notes")},
            **config,
        },
        **form,
    }
    (folder / "f.yaml").write_text(yaml.safe_dump({"exp": experiment}))


def places(folder):
    """Returns how many runners were on each node, that of the main process first."""
    (main,) = {note.read_text() for note in folder.glob("notes/main-*")}
    runners = collections.Counter(note.read_text() for note in folder.glob("notes/runner-*"))
    return [runners.pop(main, 0), *sorted(runners.values(), reverse=True)]


@pytest.fixture(scope="module")
def cluster():
    """Three nodes of 4 CPUs; one has a trace, as nodes with data of their own may be marked."""
    # The nodes import what is sent with no job from here.
    with head(4, env={"PYTHONPATH": str(ROOT)}) as started:
        started.add(4)
        started.add(4, '--resources={"trace": 2}')
        yield started


@pytest.mark.parametrize(
    ("config", "form", "expected"),
    [
        ({"num_env_runners": 3}, {}, [3]),  # PACK, RLlib's default
        ({"num_env_runners": 3, "placement_strategy": "STRICT_PACK"}, {}, [3]),
        ({"num_env_runners": 2, "placement_strategy": "SPREAD"}, {}, [0, 1, 1]),
        ({"num_env_runners": 2, "placement_strategy": "STRICT_SPREAD"}, {}, [0, 1, 1]),
        ({"num_env_runners": 2, "num_cpus_per_env_runner": 3}, {}, [1, 1]),
        (
            {
                "num_env_runners": 2,
                "custom_resources_per_env_runner": {"trace": 1},
                "placement_strategy": "PACK",
            },
            {},
            None,  # both on the node with the trace
        ),
        ({"num_env_runners": 3}, {"env_runners_per_node": 1}, [1, 1, 1]),
        ({"num_env_runners": 5}, {"env_runners_per_node": 2}, [2, 2, 1]),
        ({"num_env_runners": 4, "num_learners": 1}, {"env_runners_per_node": 2}, [2, 2]),
    ],
)
def test_runners_are_where_the_file_says(config, form, expected, cluster, tmp_path):
    write(tmp_path, config, **form)
    run = Watched(cluster, tmp_path)
    assert run.end() == 0, run.output
    found = places(tmp_path)
    if expected is None:
        assert max(found) == 2
    else:
        assert found == expected


def test_a_request_that_no_cluster_of_this_size_meets(cluster, tmp_path):
    write(tmp_path, {"num_env_runners": 4}, env_runners_per_node=1)
    run = Watched(cluster, tmp_path, "--wait-for-resources", "2")
    assert run.end() == 2, run.output
    waiting, error = run.output.splitlines()[2:]
    assert waiting.startswith("exp: waiting 2s: a trial needs 4 nodes, and there are 3 (it needs ")
    assert error.startswith("error: exp: a trial needs 4 nodes, and there are 3 (it needs ")
    assert error.endswith("; waited 2s for it (--wait-for-resources)")


def test_gpus_that_the_cluster_lacks(cluster, tmp_path):
    write(tmp_path, {"num_env_runners": 1, "num_learners": 1, "num_gpus_per_learner": 1})
    run = Watched(cluster, tmp_path, "--wait-for-resources", "0")
    assert run.end() == 2, run.output
    assert "error: exp: a trial needs 1 GPU in all, and there is none (it needs " in run.output
    assert "main process 1 CPU; env runner 1 CPU; learner 1 GPU; the cluster has" in run.output


def test_a_node_that_joins_is_waited_for(tmp_path):
    write(tmp_path, {"num_env_runners": 2}, env_runners_per_node=1)
    with head(3, env={"PYTHONPATH": str(ROOT)}) as small:
        run = Watched(small, tmp_path, "--wait-for-resources", "300")
        run.until("waiting 5m 00s: a trial needs 2 nodes, and there is 1")
        small.add(2)
        assert run.end() == 0, run.output
    assert places(tmp_path) == [1, 1]


def test_a_trial_that_lost_its_node_says_what_it_waits_for(tmp_path):
    """About two minutes: one of them is the one after which it says so."""
    write(
        tmp_path,
        {
            "num_env_runners": 1,
            "custom_resources_for_main_process": {"trace": 1},
            "env_config": {"seconds": 0.02, "folder": str(tmp_path / "notes")},
        },
        stop={"training_iteration": 20},
        storage_path=str(tmp_path / "results"),
        checkpoint_config={"checkpoint_frequency": 1},
    )
    trace = '--resources={"trace": 1}'
    with head(2, env={"PYTHONPATH": str(ROOT)}) as small:
        node = small.add(2, trace)
        run = Watched(small, tmp_path)
        run.until("/20 iterations")
        node.kill()
        run.until("failed and is started again from its last checkpoint")
        line = run.until(" has waited 1m ")
        assert "it needs main process 1 CPU, 1 trace; env runner 1 CPU; the cluster has " in line
        assert line.endswith(": missing is 1 trace in all, and there is none\n")
        small.add(2, trace)
        assert run.end() == 0, run.output
    assert "20 iterations, 1,200 steps" in run.output


def test_ctrl_c_ends_the_wait(tmp_path):
    write(tmp_path, {"num_env_runners": 8})
    with head(2, env={"PYTHONPATH": str(ROOT)}) as small:
        run = Watched(small, tmp_path)
        run.until("waiting 1m 00s: a trial needs 9 CPU in all, and there are 2 CPU")
        run.process.send_signal(signal.SIGINT)
        assert run.end() == 130, run.output
    assert "stopped; to continue: rllib train file f.yaml" in run.output


def test_an_autoscaler_adds_the_nodes(tmp_path):
    """It does so because the trial asks: nothing may be waited for before."""
    write(tmp_path, {"num_env_runners": 2}, env_runners_per_node=1)
    with head(2, env={"PYTHONPATH": str(ROOT)}, grows=True) as growing:
        run = Watched(growing, tmp_path)
        run.until("a trial needs 3 CPU in all, and there are 2 CPU (it needs ")
        assert run.lines[-1].endswith(": left to the cluster's autoscaler\n")
        assert run.end() == 0, run.output
    assert places(tmp_path) == [1, 1]


def test_rays_second_autoscaler_without_a_configuration_adds_none(tmp_path):
    write(tmp_path, {"num_env_runners": 2})
    env = {"PYTHONPATH": str(ROOT), "RAY_enable_autoscaler_v2": "1"}
    with head(2, env=env) as fixed:
        run = Watched(fixed, tmp_path, "--wait-for-resources", "10")
        assert run.end() == 2, run.output
    assert "; waited 10s for it" in run.output
