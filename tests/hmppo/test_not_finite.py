"""NaN and infinities from environments: one line says where, and nobody learns from them."""

import math

import numpy as np
import pytest
import torch
from faulty_envs import Faults, faulty_config
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
from toy_teams import CopyEnv, toy_config

from rllib_mec.hmppo.finite import NotFiniteError
from rllib_mec.hmppo.sampling.batched_env_runner import BatchedEnvRunner
from rllib_mec.hmppo.sampling.env_failures import MOST_WITHOUT_A_SAMPLE
from rllib_mec.hmppo.sampling.episode_runner import EpisodeEnvRunner

WAYS = pytest.mark.parametrize("batched", [True, False], ids=["batched", "episodes"])
FRAGMENT = 5


def runner(directory, batched, restart=False):
    """A runner of two environments with episodes of eight steps."""
    made = faulty_config(directory, runners=0, batched=batched)
    made.training(train_batch_size_per_learner=10, minibatch_size=10)
    made.env_runners(num_envs_per_env_runner=2, rollout_fragment_length=FRAGMENT)
    made.fault_tolerance(restart_failed_sub_environments=restart)
    made.validate()
    torch.manual_seed(0)
    cls = BatchedEnvRunner if batched else EpisodeEnvRunner
    assert made.env_runner_cls is cls
    return cls(config=made, worker_index=0)


def finite(samples):
    """Whether all that a learner would see is."""
    for sample in samples:
        if hasattr(sample, "rewards"):
            arrays = [sample.rewards, *sample.observations.values()]
            arrays += sample.final_observations.values()
        else:
            own = sample.agent_episodes.values()
            arrays = [a for e in own for a in (e.get_observations(), e.get_rewards())]
        if not all(np.isfinite(np.asarray(array)).all() for array in arrays):
            return False
    return True


def rows(samples):
    return sum(len(sample) for sample in samples)


@WAYS
@pytest.mark.parametrize(
    ("fault", "line"),
    [
        (
            {"call": "reset", "observation": math.nan},
            r"observation of case_decision is nan at \[3\] \(environment {env}, step 0\)",
        ),
        (
            {"number": 4, "observation": -math.inf},
            r"observation of case_decision is -inf at \[3\] \(environment {env}, step 4\)",
        ),
        (
            # what was observed last in an episode is learned from, too
            {"number": 8, "observation": math.nan},
            r"observation of case_decision is nan at \[3\] \(environment {env}, step 8\)",
        ),
        (
            {"number": 8, "reward": math.nan},
            r"reward(?: of case_decision)? is nan \(environment {env}, step 8\)",
        ),
        (
            {"number": 2, "reward": 1e39},  # in float32, as rewards are learned from
            r"reward(?: of case_decision)? is inf \(environment {env}, step 2\)",
        ),
    ],
    ids=["reset", "step", "last observation", "reward", "float32"],
)
def test_the_error_says_where(tmp_path, batched, fault, line):
    sampler = runner(tmp_path, batched)
    sampler.sample(num_episodes=2)
    Faults(tmp_path).begin("number", **fault)
    with pytest.raises(NotFiniteError, match="^" + line.format(env=int(batched))) as caught:
        sampler.sample(num_episodes=2)
    assert "\n" not in str(caught.value)


@WAYS
def test_the_environments_are_made_anew_and_the_failure_is_counted(tmp_path, batched):
    faults = Faults(tmp_path)
    sampler = runner(tmp_path, batched, restart=True)
    faults.begin("number", number=3, reward=math.nan, once=True)
    first = sampler.sample()
    faults.begin("number", "reset", observation=math.nan, once=True)
    second = sampler.sample()
    assert not faults.ordered()
    assert finite(first)
    assert finite(second)
    assert rows(first) == 2 * FRAGMENT
    # RLlib gives the episodes that had ended before a failure beyond the fragment.
    assert rows(second) == 2 * FRAGMENT + (0 if batched else 2 * 3)
    metrics = sampler.get_metrics()
    assert metrics["num_env_step_failures"].peek() == 2
    for name in ("num_env_steps_sampled", "num_env_steps_sampled_lifetime"):
        assert metrics[name].peek() == rows([*first, *second])


@WAYS
@pytest.mark.parametrize("number", [1, 3])
def test_environments_that_always_do_it_end_the_runner(tmp_path, batched, number):
    """Those that get on for a while, later than those that never do."""
    sampler = runner(tmp_path, batched, restart=True)
    Faults(tmp_path).begin("number", number=number, reward=math.nan)
    with pytest.raises(NotFiniteError, match=f"is nan .* step {number}"):
        sampler.sample(num_episodes=2)
    failures = sampler.metrics.peek("num_env_step_failures")
    assert failures == (3 if number == 1 else MOST_WITHOUT_A_SAMPLE)


@WAYS
@pytest.mark.ray
def test_training_with_a_local_runner_ends_with_that_line(build, tmp_path, batched):
    algorithm = build(faulty_config(tmp_path, runners=0, batched=batched))
    algorithm.train()
    Faults(tmp_path).begin("number", number=4, observation=math.nan)
    with pytest.raises(NotFiniteError, match=r"^observation of case_decision is nan at \[3\]"):
        algorithm.train()


def test_by_episodes_only_what_is_returned_is_counted(tmp_path):
    faults = Faults(tmp_path)
    sampler = runner(tmp_path, batched=False, restart=True)
    faults.begin("raise", number=3, once=True)
    samples = sampler.sample()
    faults.begin("raise", number=1, once=True)  # the first steps of the next episodes
    samples += sampler.sample()
    assert not faults.ordered()
    metrics = sampler.get_metrics()
    for name in ("num_env_steps_sampled", "num_env_steps_sampled_lifetime"):
        assert metrics[name].peek() == rows(samples)
    assert metrics["num_episodes"].peek() == sum(sample.is_done for sample in samples) == 2
    for agent in ("case_decision", "emulator_config"):
        assert metrics["num_agent_steps_sampled"][agent].peek() == rows(samples)
        assert metrics["num_module_steps_sampled"][agent].peek() == rows(samples)
    assert metrics["num_env_step_failures"].peek() == 2


def test_without_failures_counts_and_samples_are_those_of_rllibs_runner():
    results = []
    for cls in (EpisodeEnvRunner, MultiAgentEnvRunner):
        made = toy_config(CopyEnv, {"num_steps": 6}).env_runners(rollout_fragment_length=4)
        made.validate()
        torch.manual_seed(0)
        sampler = cls(config=made, worker_index=0)
        samples = [*sampler.sample(), *sampler.sample(), *sampler.sample(num_episodes=4)]
        metrics = sampler.get_metrics()
        counted = {name: value for name, value in metrics.items() if name.startswith("num_")}
        results.append((samples, _numbers(counted)))
    (ours, our_counts), (theirs, their_counts) = results
    assert our_counts == their_counts
    for own, other in zip(ours, theirs, strict=True):
        for agent in CopyEnv.agent_order:
            np.testing.assert_array_equal(
                own.agent_episodes[agent].get_observations(),
                other.agent_episodes[agent].get_observations(),
            )


def _numbers(metrics):
    return {
        name: _numbers(value) if isinstance(value, dict) else value.peek()
        for name, value in metrics.items()
    }
