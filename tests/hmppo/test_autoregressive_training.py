"""Entities that choose one after the other learn what coins cannot."""

import gymnasium as gym
import learners
import numpy as np
import pytest
import torch
from ray.rllib.env.multi_agent_env import MultiAgentEnv
from toy_teams import box, toy_config

from rllib_mec.hmppo.team_batch import TeamBatch

IN_TURN = {"entity_shared": True, "case_head": "autoregressive"}


def mec_observations(policy, rows):
    return {a: torch.randn(rows, policy.team.observation_size(a)) for a in policy.team.agents}


@pytest.mark.ray
@pytest.mark.parametrize("batched", [True, False])
def test_an_algorithm_trains_evaluates_and_comes_back_the_same(build, tmp_path, batched):
    env_config = {"num_ues": 3, "num_tasks": 8}
    config = toy_config("mec", env_config, **IN_TURN, batched=batched, critic="joint_state")
    config.evaluation(evaluation_duration=2, evaluation_config={"explore": False})
    algorithm = build(config)
    before = algorithm.learner_group.get_weights()["case_decision"]
    before = {name: array.copy() for name, array in before.items()}
    results = algorithm.train()
    assert np.isfinite(results["learners"]["case_decision"]["policy_loss"])
    after = algorithm.learner_group.get_weights()["case_decision"]
    assert all((after[name] != array).any() for name, array in before.items())
    assert algorithm.evaluate()["env_runners"]["episode_return_mean"] < 0
    algorithm.save_to_path(str(tmp_path))
    again = build(config.copy(copy_frozen=False).debugging(seed=99))
    again.restore_from_path(str(tmp_path))
    ours, theirs = (own.env_runner.module for own in (again, algorithm))
    observations = mec_observations(ours, 6)
    for explore in (True, False):
        acted = [
            own.act(observations, explore=explore, generator=torch.Generator().manual_seed(3))
            for own in (ours, theirs)
        ]
        torch.testing.assert_close(acted[0], acted[1], rtol=0, atol=0)


class HalfEnv(MultiAgentEnv):
    """Four entities that are all alike; a reward of 1 if exactly two of them choose 1."""

    num_entities = 4

    def __init__(self, env_config=None):
        super().__init__()
        self.agents = self.possible_agents = ["chooser"]
        self.observation_spaces = {"chooser": box(4)}
        self.action_spaces = {"chooser": gym.spaces.MultiDiscrete([2] * 4)}

    def reset(self, *, seed=None, options=None):
        return {"chooser": np.ones(4, np.float32)}, {}

    def step(self, action_dict):
        half = sum(action_dict["chooser"]) == 2
        ends = {"chooser": True, "__all__": True}
        never = {"chooser": False, "__all__": False}
        return self.reset()[0], {"chooser": float(half)}, ends, never, {}


def halves(policy, explore, rows=256):
    """What the policy gets in HalfEnv, step by step, and the steps as a batch."""
    observations = {"chooser": torch.ones(rows, 4)}
    columns = (observations, *policy.act(observations, explore=explore))
    rewards = (columns[1]["chooser"].sum(dim=1) == 2).float().numpy()
    return rewards, TeamBatch(
        *({a: value.numpy() for a, value in column.items()} for column in columns),
        rewards=rewards,
        lengths=np.ones(rows, int),
        final_observations={"chooser": np.ones((rows, 4), np.float32)},
        terminated=np.ones(rows, bool),
    )


def trained(iterations=60, **training):
    learner = learners.build(toy_config(HalfEnv, **{"entity_shared": True, "lr": 3e-3, **training}))
    torch.manual_seed(0)
    for _ in range(iterations):
        _, batch = halves(learner.module, explore=True)
        learner.update(
            episodes=[batch],
            timesteps={"num_env_steps_sampled_lifetime": 0},
            minibatch_size=64,
            num_epochs=4,
            shuffle_batch_per_epoch=True,
        )
    return {explore: halves(learner.module, explore)[0].mean() for explore in (True, False)}


def test_it_learns_what_coins_cannot():
    in_turn, independent = trained(case_head="autoregressive"), trained(case_head="factorised")
    assert in_turn[True] > 0.95
    assert in_turn[False] == 1
    assert independent[True] < 0.6
    assert independent[False] == 0
