"""Runners that hang are started again; when all of them fail, training ends and says why."""

import logging
import os
import signal
import sys
import time

import pytest
import ray
import toy_teams
from ray import cloudpickle
from ray.exceptions import ActorDiedError
from ray.tune.registry import register_env
from toy_teams import MobileEdge, toy_config

from rllib_mec.hmppo.sampling import watchdog
from rllib_mec.hmppo.sampling.callbacks import EpisodeMetrics
from rllib_mec.hmppo.sampling.watchdog import in_a_line

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_session")]

ROWS = 64
MEC = {"num_ues": 2, "num_tasks": 8}


def config(runners=2, env="mec", **settings):
    made = toy_config(env, MEC if env == "mec" else {}, train_batch_size_per_learner=ROWS)
    made.training(**settings)
    return made.env_runners(num_env_runners=runners)


def hanging(path):
    """Callbacks that hang runner 1 for good when it finds a file, which it takes away."""

    class Hanging(EpisodeMetrics):
        def on_batched_episodes_end(self, *, env_runner, **kwargs):
            if env_runner.worker_index == 1 and path.exists():
                path.unlink()
                time.sleep(10_000)

    return Hanging


@pytest.fixture
def log():
    """The errors that RLlib's logger is told."""
    records = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: records.append(record.getMessage())
    logger = logging.getLogger("ray.rllib")
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)


@pytest.mark.parametrize("sample_ahead", [pytest.param(0, marks=pytest.mark.cluster), 1])
def test_a_runner_that_hangs_is_started_again(build, tmp_path, log, sample_ahead):
    made = config(sample_ahead=sample_ahead).callbacks(hanging(tmp_path / "hang"))
    algorithm = build(made.env_runners(sample_timeout_s=3))
    assert algorithm.train()["num_env_steps_sampled_lifetime"] == ROWS
    (tmp_path / "hang").touch()
    for iteration in range(2, 22):
        # The other one samples what is missing.
        assert algorithm.train()["num_env_steps_sampled_lifetime"] == iteration * ROWS
        if algorithm.env_runner_group.num_remote_worker_restarts():
            break
    assert not (tmp_path / "hang").exists()
    said = [text for text in log if "has not answered for" in text]
    assert len(said) == 1
    assert "Environment runner 1 has not answered" in said[0]
    assert "raise sample_timeout_s = 3" in said[0]
    group = algorithm.env_runner_group
    assert group.num_remote_worker_restarts() == 1
    assert group.num_healthy_remote_workers() == 2
    algorithm.train()
    pids = group.foreach_env_runner(lambda runner: os.getpid(), local_env_runner=False)
    assert len(set(pids)) == 2


class BrokenEnv(MobileEdge):
    """Raises wherever a file tells it to."""

    path = None

    def __init__(self, env_config=None):
        self.say("make")
        super().__init__(MEC)

    def say(self, where):
        if self.path is not None and self.path.exists() and self.path.read_text() == where:
            raise ValueError(f"the antenna is broken ({where})")

    def batched(self, num_envs):
        batch = super().batched(num_envs)
        step, reset = batch.step, batch.reset
        batch.step = lambda actions: self.say("step") or step(actions)
        batch.reset = lambda seed=None: self.say("reset") or reset(seed)
        return batch


@pytest.fixture
def broken(tmp_path):
    """The file that tells environments where to fail; they are registered as ``broken``."""
    for module in (sys.modules[__name__], toy_teams):
        cloudpickle.register_pickle_by_value(module)  # Ray's workers do not find them
    register_env("broken", type("Broken", (BrokenEnv,), {"path": tmp_path / "broken"}))
    yield tmp_path / "broken"
    for module in (sys.modules[__name__], toy_teams):
        cloudpickle.unregister_pickle_by_value(module)


def train_on(algorithm):
    for _ in range(40):
        algorithm.train()


@pytest.fixture
def very_impatient(impatient, monkeypatch):
    """Every empty iteration starts a runner again, which takes seconds."""
    monkeypatch.setattr(watchdog, "PAUSE_S", 0.2)
    monkeypatch.setattr(watchdog, "MAX_EMPTY_ITERATIONS", 3)
    monkeypatch.setattr(watchdog, "SECONDS_TO_SAY_WHY", 10.0)


@pytest.mark.parametrize("where", ["step", pytest.param("reset", marks=pytest.mark.cluster)])
def test_when_all_fail_the_error_is_theirs(build, very_impatient, broken, where):
    algorithm = build(config(runners=1, env="broken"))
    algorithm.train()
    broken.write_text(where)
    pattern = rf"environment runner fails: runner 1: ValueError: the antenna is broken \({where}\)"
    with pytest.raises(RuntimeError, match=pattern) as caught:
        train_on(algorithm)
    assert "\n" not in str(caught.value)


@pytest.mark.cluster
def test_when_none_can_be_made_again_it_ends(build, very_impatient, broken):
    made = config(runners=1, env="broken")
    made.fault_tolerance(env_runner_health_probe_timeout_s=2, max_num_env_runner_restarts=1)
    algorithm = build(made)
    algorithm.train()
    (pid,) = algorithm.env_runner_group.foreach_env_runner(
        lambda runner: os.getpid(), local_env_runner=False
    )
    broken.write_text("make")
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match="every environment runner fails: runner 1: ") as caught:
        train_on(algorithm)
    assert "\n" not in str(caught.value)


def test_errors_of_remote_processes_are_one_line():
    @ray.remote
    class Actor:
        def __init__(self, broken):
            if broken:
                raise KeyError("no such\nantenna")

        def fail(self):
            raise ValueError("first line\nsecond line")

    with pytest.raises(ray.exceptions.RayTaskError) as task:
        ray.get(Actor.remote(False).fail.remote())
    assert in_a_line(task.value) == "ValueError: first line second line"
    with pytest.raises(ActorDiedError) as died:
        ray.get(Actor.remote(True).fail.remote())
    assert in_a_line(died.value) == r"ActorDiedError: KeyError: 'no such\nantenna'"
