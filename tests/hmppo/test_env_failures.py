"""Environments that raise in mid-batch: made anew, with exact counts, and not for ever."""

import logging

import numpy as np
import pytest
import torch
from batches import assert_same
from ray.rllib.env.env_errors import StepFailedRecreateEnvError
from ray.tune.registry import register_env
from toy_teams import MobileEdge, toy_config

from rllib_mec.envs import BatchedMECEnv
from rllib_mec.hmppo import read_recording
from rllib_mec.hmppo.sampling.batched_env_runner import BatchedEnvRunner
from rllib_mec.hmppo.sampling.env_failures import MOST_WITHOUT_A_SAMPLE
from rllib_mec.hmppo.team_batch import TeamBatch

MEC = {"num_ues": 2, "num_tasks": 8}


class PowerCutError(RuntimeError):
    pass


class Script:
    """What the environments of a test have been asked, and at which of those calls they fail.

    Calls are counted from 1 on, for each method over all environments that are made.
    """

    def __init__(self, error=PowerCutError, **fails):
        self.error, self.fails = error, {name: set(calls) for name, calls in fails.items()}
        self.calls = {"make": 0, "batched": 0, "reset": 0, "step": 0}
        self.seeds, self.rewards, self.first = [], {}, []

    def note(self, name):
        self.calls[name] += 1
        call = self.calls[name]
        if call in self.fails.get(name, ()):
            raise self.error(f"{name} {call}")
        return call


class FailingEnv(MobileEdge):
    script: Script  # of the class: Ray copies what is registered

    def __init__(self, env_config=None):
        self.script.note("make")
        super().__init__(MEC)

    def batched(self, num_envs):
        self.script.note("batched")
        return FailingBatch(self.script, num_envs)


class FailingBatch(BatchedMECEnv):
    def __init__(self, script, num_envs):
        super().__init__(MEC, num_envs)
        self.script = script

    def reset(self, seed=None):
        self.script.seeds.append(seed)
        self.script.note("reset")
        observations = super().reset(seed)
        self.script.first.append(observations["case_decision"])
        return observations

    def step(self, actions):
        call = self.script.note("step")
        observations, rewards, *ends = super().step(actions)
        self.script.rewards[call] = rewards.astype(np.float32)
        return observations, rewards, *ends


def configured(script, restart=True, seed=3):
    FailingEnv.script = script
    register_env("failing", FailingEnv)
    made = toy_config("failing", {}, train_batch_size_per_learner=20, minibatch_size=20)
    made.env_runners(rollout_fragment_length=5, num_envs_per_env_runner=4)
    made.fault_tolerance(restart_failed_sub_environments=restart)
    return made.debugging(seed=seed)


def runner(made):
    made.validate()
    assert made.env_runner_cls is BatchedEnvRunner
    torch.manual_seed(0)
    return BatchedEnvRunner(config=made, worker_index=0)


def steps_of(batch, script):
    """The calls of ``step`` that a batch holds, by their rewards."""
    by_reward = {rewards[0]: call for call, rewards in script.rewards.items()}
    ends, calls = batch.lengths.cumsum(), []
    for piece in range(0, len(batch.lengths), 4):
        start, length = ends[piece] - batch.lengths[piece], batch.lengths[piece]
        calls += [by_reward[reward] for reward in batch.rewards[start : start + length]]
    return calls


@pytest.fixture
def log():
    """The errors that RLlib's logger is told."""
    records = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = records.append
    logger = logging.getLogger("ray.rllib")
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)


def test_the_running_steps_are_dropped_and_the_rest_is_counted(log):
    script = Script(step=[3, 13])
    sampler = runner(configured(script))
    first, second = (sampler.sample()[0] for _ in range(2))
    # Calls 1 and 2 went before the failure of 3, and 12 before that of 13. The episode that ends
    # with 11 was whole, though it was sampled in two pieces.
    assert steps_of(first, script) == [4, 5, 6, 7, 8]
    assert steps_of(second, script) == [9, 10, 11, 14, 15]
    assert first.lengths.tolist() == [5] * 4
    assert second.lengths.tolist() == [3] * 4 + [2] * 4
    for batch in (first, second):
        assert len(batch.rewards) == 20
    metrics = sampler.get_metrics()
    for name, count in (
        ("num_env_steps_sampled", 40),
        ("num_env_steps_sampled_lifetime", 40),
        ("num_episodes", 4),
        ("num_env_step_failures", 2),
    ):
        assert metrics[name].peek() == count
    assert metrics["num_agent_steps_sampled"]["case_decision"].peek() == 40
    assert sampler.num_env_steps_sampled_lifetime == 40
    assert metrics["episode_len_mean"].peek() == 8
    assert metrics["episode_return_mean"].peek() == pytest.approx(
        2 * sum(script.rewards[call].mean() for call in range(4, 12)), rel=1e-5
    )
    assert len(log) == 2
    assert "PowerCutError('step 3')" in log[0].getMessage()
    assert log[0].exc_info[0] is PowerCutError
    assert log[0].exc_info[2] is not None


@pytest.mark.parametrize(
    "fails",
    [
        {"step": [8]},
        {"step": [1, 2]},
        {"reset": [1]},
        {"reset": [2]},
        {"reset": [1, 2], "step": [16]},
        {"step": [4], "batched": [2]},
        {"step": [4], "make": [3]},
        {"step": [4, 6], "reset": [2, 4]},
    ],
)
def test_whole_episodes_in_spite_of_failures(fails):
    script = Script(**fails)
    sampler = runner(configured(script))
    batch = TeamBatch.concatenate([sampler.sample(num_episodes=4)[0] for _ in range(2)])
    assert batch.lengths.tolist() == [8] * 8
    metrics = sampler.get_metrics()
    assert metrics["num_env_steps_sampled"].peek() == 64
    assert metrics["num_episodes"].peek() == 8
    assert metrics["num_env_step_failures"].peek() == sum(map(len, fails.values()))
    assert sampler.num_envs == 4


def test_what_follows_a_failure_is_another_episode():
    script = Script(step=[1, 2, 5])
    runner(configured(script)).sample(num_episodes=4)
    assert script.seeds[0] == 3
    assert len(set(script.seeds)) == len(script.seeds) == 4
    for i, first in enumerate(script.first):
        for other in script.first[:i]:
            assert not np.array_equal(first, other)
    again = Script(step=[1, 2, 5])
    runner(configured(again)).sample(num_episodes=4)
    assert again.seeds == script.seeds


def test_without_a_seed_none_is_made_up():
    script = Script(step=[2])
    runner(configured(script, seed=None)).sample(num_episodes=4)
    assert script.seeds == [None, None]


@pytest.mark.parametrize("name", ["step", "reset"])
def test_environments_that_always_fail_end_the_runner_with_their_own_error(name):
    script = Script(**{name: range(1, 1000)})
    sampler = runner(configured(script))
    with pytest.raises(PowerCutError, match=f"{name} 3"):
        sampler.sample()
    assert script.calls[name] == 3


def test_environments_that_cannot_be_made_again_end_the_runner(log):
    script = Script(step=[2], batched=range(2, 1000))
    sampler = runner(configured(script))
    with pytest.raises(PowerCutError, match="batched"):
        sampler.sample()
    assert len(log) == 3 - 1


def test_environments_that_never_get_to_an_end_do_not_go_on_for_ever():
    script = Script(step=range(5, 100_000, 5))
    sampler = runner(configured(script))
    with pytest.raises(PowerCutError):
        sampler.sample(num_episodes=4)
    assert script.calls["step"] == 5 * MOST_WITHOUT_A_SAMPLE
    # Four steps in a row are enough for pieces of four, however often it fails.
    script = Script(step=range(5, 100_000, 5))
    sampler = runner(configured(script))
    for _ in range(MOST_WITHOUT_A_SAMPLE + 1):
        [batch] = sampler.sample(num_timesteps=16)
        assert len(batch) == 16


def test_without_the_setting_the_error_goes_on(log):
    script = Script(step=[3])
    sampler = runner(configured(script, restart=False))
    with pytest.raises(PowerCutError, match="step 3"):
        sampler.sample()
    assert (script.calls["step"], script.calls["batched"], log) == (3, 1, [])


def test_an_environment_that_asks_for_it_is_made_anew_without_a_word(log):
    script = Script(StepFailedRecreateEnvError, step=[3])
    sampler = runner(configured(script))
    assert len(sampler.sample()[0]) == 20
    assert sampler.get_metrics()["num_env_step_failures"].peek() == 1
    assert log == []


@pytest.mark.ray
def test_training_goes_on_and_records_what_it_trains_on(ray_session, tmp_path):
    script = Script(step=[3, 13, 14, 20])
    made = configured(script).offline_data(output=str(tmp_path))
    algorithm = made.build_algo()
    trained_on, update = [], algorithm.learner_group.update

    def noting(*, episodes, **kwargs):
        trained_on.extend(episodes)
        return update(episodes=episodes, **kwargs)

    algorithm.learner_group.update = noting
    for iteration in (1, 2, 3):
        results = algorithm.train()
        assert results["num_env_steps_sampled_lifetime"] == 20 * iteration
    assert results["env_runners"]["num_env_step_failures"] == 4
    algorithm.stop()
    assert_same(read_recording(tmp_path), TeamBatch.concatenate(trained_on))
