"""Sampling ahead: which policy has sampled what is learned from, and that nothing is lost."""

import copy
import logging
import os
import signal
import threading
import time

import numpy as np
import pytest
import torch
from ray.rllib.connectors.connector_v2 import ConnectorV2
from toy_teams import toy_config

from rllib_mec.hmppo.learning.episodes_to_team_batch import TEAM_BATCH, EpisodesToTeamBatch
from rllib_mec.hmppo.sampling import watchdog
from rllib_mec.hmppo.sampling.callbacks import EpisodeMetrics
from rllib_mec.hmppo.team_batch import TeamBatch

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_session")]

# 4 environments a runner and 8 steps an episode: in its part of a batch, each environment of two
# runners ends one episode, of one runner two.
ROWS = 64


def config(runners=2, **training):
    ahead = {"sample_ahead": 1, "train_batch_size_per_learner": ROWS, "lr": 1e-2}
    made = toy_config("mec", {"num_ues": 2, "num_tasks": 8}, **ahead | training)
    return made.env_runners(num_env_runners=runners)


class Learning:
    """What an algorithm learns from, and the actors' weights before each of its updates."""

    def __init__(self, algorithm):
        self.team = algorithm.config.team()
        self.module = algorithm.config.get_multi_rl_module_spec(inference_only=True).build()
        self.batches, self.weights = [], []
        group = algorithm.learner_group
        update = group.update

        def record(*, episodes, **kwargs):
            self.batches.append(copy.deepcopy(episodes))
            weights = group.get_weights()
            self.weights.append({a: copy.deepcopy(weights[a]) for a in self.team.agents})
            return update(episodes=episodes, **kwargs)

        group.update = record

    def rows(self):
        return [len(self.team_batch(episodes)) for episodes in self.batches]

    def lags(self):
        """By how many updates the policy that learned was newer than the one that sampled."""
        return [self.lag(k) for k in range(len(self.batches))]

    @torch.no_grad()
    def lag(self, k):
        batch = self.team_batch(self.batches[k])
        actions = {a: torch.as_tensor(array) for a, array in batch.actions.items()}
        sampled_it = []
        for version, weights in enumerate(self.weights[: k + 1]):
            self.module.set_state(weights)
            parameters = {
                a: self.module[a].parameters_of(
                    self.team.fill_slots(a, torch.as_tensor(batch.observations[a]), actions)
                )
                for a in self.team.agents
            }
            if all(
                np.allclose(batch.parameters[a], parameters[a], atol=1e-5) for a in self.team.agents
            ):
                sampled_it.append(version)
        [version] = sampled_it
        return k - version

    def team_batch(self, episodes):
        if isinstance(episodes[0], TeamBatch):
            return TeamBatch.concatenate(episodes)
        connector = EpisodesToTeamBatch(self.team)
        return connector(episodes=episodes, batch={}, rl_module=None)[TEAM_BATCH]


def steps_of(results):
    runners = results["env_runners"]
    return runners["num_env_steps_sampled"], runners["num_env_steps_sampled_lifetime"]


@pytest.mark.parametrize("batched", [True, False], ids=["batched", "episodes"])
@pytest.mark.parametrize("sample_ahead", [0, 1])
def test_a_batch_is_learned_from_one_update_late(build, sample_ahead, batched):
    """The first is not; and what is counted is what was learned from."""
    algorithm = build(config(sample_ahead=sample_ahead, batched=batched))
    learning = Learning(algorithm)
    for iteration in range(1, 5):
        results = algorithm.train()
        assert steps_of(results) == (ROWS, ROWS * iteration)
        assert results["num_env_steps_sampled_lifetime"] == ROWS * iteration
        runners, learners = results["env_runners"], results["learners"]
        assert runners["num_episodes"] == ROWS / 8
        assert runners["num_episodes_lifetime"] == ROWS / 8 * iteration
        assert learners["__all_modules__"]["num_env_steps_trained_lifetime"] == ROWS * iteration
        lag = learners["case_decision"]["weights_seq_no"] - 1 - runners["weights_seq_no"]
        assert lag == (sample_ahead if iteration > 1 else 0)
    assert learning.lags() == [0, *[sample_ahead] * 3]
    assert learning.rows() == [ROWS] * 4
    playing = algorithm.env_runner.module.get_state()
    learned = algorithm.learner_group.get_weights()
    for agent, state in playing.items():
        for name, value in state.items():
            np.testing.assert_array_equal(value, learned[agent][name])


@pytest.mark.parametrize("sample_ahead", [0, 1])
def test_a_batch_of_several_rounds_comes_from_one_policy(build, sample_ahead):
    """Whole episodes of 2 * 4 environments are 64 steps, of the 100 that a batch should have."""
    made = config(sample_ahead=sample_ahead, train_batch_size_per_learner=100)
    algorithm = build(made.env_runners(batch_mode="complete_episodes"))
    learning = Learning(algorithm)
    assert [steps_of(algorithm.train()) for _ in range(3)] == [(128, 128), (128, 256), (128, 384)]
    assert learning.lags() == [0, sample_ahead, sample_ahead]
    assert learning.rows() == [128] * 3


def test_several_learners_give_their_weights(build):
    algorithm = build(config().learners(num_learners=2))
    learning = Learning(algorithm)
    assert [steps_of(algorithm.train())[1] for _ in range(3)] == [128, 256, 384]
    assert learning.lags() == [0, 1, 1]


def test_same_seed_same_training(build):
    weights = []
    for seed in (7, 7, 8):
        algorithm = build(config(runners=1).debugging(seed=seed))
        for _ in range(3):
            algorithm.train()
        weights.append(algorithm.learner_group.get_weights()["case_decision"])
    same, other = ([(w[n] == weights[0][n]).all() for n in w] for w in weights[1:])
    assert all(same)
    assert not any(other)


def counting():
    """Makes connectors that count their calls, on all runners together."""

    class Calls(ConnectorV2):  # in here, so that workers need not import it
        total = new = 0

        def __call__(self, *, batch, **kwargs):
            self.new += 1
            return batch

        def get_state(self, *args, **kwargs):
            return {"total": self.total, "new": self.new}

        def set_state(self, state):
            self.total, self.new = state["total"], state["new"]

        def merge_states(self, states):
            return {"total": self.total + sum(state["new"] for state in states), "new": 0}

    return lambda *args, **kwargs: Calls()


def test_connectors_states_are_merged_once_for_each_batch(build):
    totals = []
    for sample_ahead in (0, 1):
        made = config(sample_ahead=sample_ahead)
        made.env_runners(env_to_module_connector=counting())
        algorithm = build(made)
        for _ in range(3):
            algorithm.train()
            state = algorithm.env_runner._env_to_module.get_state()
            totals.append(state["Calls"]["total"])
        algorithm.stop()
    assert totals[:3] == totals[3:]
    assert np.diff(totals[:3]).min() >= ROWS / 4


def test_evaluation_in_between_plays_what_was_learned(build):
    made = config(runners=1).evaluation(
        evaluation_interval=1, evaluation_num_env_runners=0, evaluation_duration=4
    )
    algorithm = build(made)
    learning = Learning(algorithm)
    for iteration in range(1, 4):
        results = algorithm.train()
        assert results["evaluation"]["env_runners"]["num_episodes"] == 4
        assert steps_of(results) == (ROWS, ROWS * iteration)
        playing = algorithm.eval_env_runner.module.get_state()
        learned = algorithm.learner_group.get_weights()
        for agent, state in playing.items():
            for name, value in state.items():
                np.testing.assert_array_equal(value, learned[agent][name])
    assert learning.lags() == [0, 1, 1]


def gate(path, after):
    """Callbacks that hold runner 1 at its ``after``-th end of episodes while a file exists."""

    class Gate(EpisodeMetrics):
        ends = 0

        def on_batched_episodes_end(self, *, env_runner, **kwargs):
            self.ends += 1
            while env_runner.worker_index == 1 and self.ends >= after and path.exists():
                time.sleep(0.01)

    path.touch()
    return Gate


def pid_of_first_runner(algorithm):
    [pid] = algorithm.env_runner_group.foreach_env_runner(
        lambda runner: os.getpid(), local_env_runner=False, remote_worker_ids=[1]
    )
    return pid


def test_a_runner_killed_while_it_samples_ahead_is_replaced(build, tmp_path):
    """The other one fills the batch meanwhile."""
    file = tmp_path / "gate"
    algorithm = build(config().callbacks(gate(file, after=2)))
    learning = Learning(algorithm)
    pid = pid_of_first_runner(algorithm)
    algorithm.train()
    os.kill(pid, signal.SIGKILL)
    file.unlink()
    for iteration in range(2, 12):
        assert steps_of(algorithm.train()) == (ROWS, ROWS * iteration)
        if algorithm.env_runner_group.num_remote_worker_restarts():
            break
    assert algorithm.env_runner_group.num_healthy_remote_workers() == 2
    assert steps_of(algorithm.train()) == (ROWS, ROWS * (iteration + 1))
    assert learning.lags() == [0, *[1] * iteration]


def test_an_iteration_without_its_only_runner_is_empty(build, tmp_path):
    file = tmp_path / "gate"
    algorithm = build(config(runners=1).callbacks(gate(file, after=3)))
    learning = Learning(algorithm)
    pid = pid_of_first_runner(algorithm)
    algorithm.train()
    os.kill(pid, signal.SIGKILL)
    file.unlink()
    assert algorithm.train()["num_env_steps_sampled_lifetime"] == ROWS
    assert algorithm._watchdog.empty_iterations == 1
    while len(learning.batches) == 1:  # an error after ten
        results = algorithm.train()
    assert algorithm._watchdog.empty_iterations == 0
    assert steps_of(results) == (ROWS, 2 * ROWS)
    assert learning.lags() == [0, 1]


def test_ten_iterations_without_a_sample_are_an_error(build, impatient, monkeypatch):
    algorithm = build(config(runners=1))
    algorithm.train()
    monkeypatch.setattr(algorithm.env_runner_group, "fetch_ready_async_reqs", lambda **kwargs: [])
    # The runners have nothing to say, as they sample well, and would be asked again until then.
    monkeypatch.setattr(watchdog, "SECONDS_TO_SAY_WHY", 1.0)
    for _ in range(9):
        algorithm.train()
    with pytest.raises(RuntimeError, match=r"10 iterations and \d+ s without a sample"):
        algorithm.train()


def test_a_late_runner_is_not_waited_for_and_its_sample_not_used(build, tmp_path):
    file = tmp_path / "gate"
    made = config().env_runners(sample_timeout_s=2).callbacks(gate(file, after=2))
    algorithm = build(made)
    learning = Learning(algorithm)
    assert steps_of(algorithm.train()) == (ROWS, ROWS)
    assert steps_of(algorithm.train()) == (ROWS, 2 * ROWS)
    assert algorithm.env_runner_group.num_in_flight_async_reqs(tag="sample_ahead") == 2
    file.unlink()
    total = 2 * ROWS
    for _ in range(3):
        sampled, lifetime = steps_of(algorithm.train())
        total += sampled
        assert lifetime == total
    assert sampled == ROWS
    assert learning.lags() == [0, 1, 1, 1, 1]
    assert sum(learning.rows()) == total


def test_a_checkpoint_does_not_hold_the_batch_in_flight(build, tmp_path):
    path = str(tmp_path / "checkpoint")
    first = build(config(runners=1))
    for _ in range(2):
        first.train()
    first.save_to_path(path)
    saved = first.learner_group.get_weights()
    for _ in range(2):  # the batch that is in flight then is not of the saved policy
        first.train()
    second = build(config(runners=1).debugging(seed=99))
    for algorithm in (first, second):  # also one that has learned more since
        algorithm.restore_from_path(path)
        restored = algorithm.learner_group.get_weights()
        for module_id, state in saved.items():
            for name, value in state.items():
                np.testing.assert_array_equal(value, restored[module_id][name])
        learning = Learning(algorithm)
        for iteration in (3, 4, 5):
            results = algorithm.train()
            assert results["training_iteration"] == iteration
            assert steps_of(results) == (ROWS, ROWS * iteration)
            trained = results["learners"]["__all_modules__"]["num_env_steps_trained_lifetime"]
            assert trained == ROWS * iteration
        assert learning.lags() == [0, 1, 1]


def test_stopping_waits_for_the_runners_without_an_error(build, tmp_path, caplog):
    file = tmp_path / "gate"
    algorithm = build(config().callbacks(gate(file, after=2)))
    algorithm.train()
    logger = logging.getLogger("ray.rllib")  # does not propagate
    logger.addHandler(caplog.handler)
    opening = threading.Timer(0.2, file.unlink)
    opening.start()
    algorithm.stop()
    opening.join()
    logger.removeHandler(caplog.handler)
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert algorithm.env_runner_group.num_in_flight_async_reqs() == 0
