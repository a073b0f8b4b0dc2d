"""The joint policy: agents decide in order and see what was decided before them."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.core.columns import Columns
from toy_teams import AGENTS, CopyEnv, MobileEdge, random_batch, toy_config, toy_team

from rllib_mec.hmppo.distributions import ActionDistribution


def build(env=CopyEnv, bold=True, **env_config):
    """The policy of an environment, with actors that do depend on what they see."""
    torch.manual_seed(0)
    config = toy_config(env, env_config)
    config.validate()
    policy = config.rl_module_spec.build()
    if bold:
        for agent in policy.team.agents:
            torch.nn.init.normal_(policy[agent].network.last.weight)
    return policy


def zeros(team, rows):
    return {a: torch.zeros(rows, team.observation_size(a)) for a in team.agents}


def test_actors_see_the_actions_that_came_before():
    """Parameters, reported and stored, are those of the observation with its slots filled."""
    policy = build()
    team = policy.team
    observations, _ = random_batch(team, 20)
    actions, log_probs, parameters = policy.act(observations, explore=True)
    for agent in AGENTS:
        filled = team.fill_slots(agent, observations[agent], actions)
        expected = policy[agent].parameters_of(filled)
        torch.testing.assert_close(parameters[agent], expected)
        distribution = ActionDistribution(team.codecs[agent], expected)
        torch.testing.assert_close(log_probs[agent], distribution.log_prob(actions[agent])[:, None])


def test_emulator_config_follows_the_case_decision():
    policy = build(MobileEdge, num_ues=3)
    rows = 40
    torch.manual_seed(0)
    actions, _, parameters = policy.act(zeros(policy.team, rows), explore=True)
    cases = actions["case_decision"]
    retention = parameters["emulator_config"]
    for i in range(rows):
        for j in range(rows):
            assert torch.equal(cases[i], cases[j]) == torch.allclose(retention[i], retention[j])


def test_without_exploration_everyone_takes_the_mode():
    policy = build()
    observations, _ = random_batch(policy.team, 10)
    actions, _, parameters = policy.act(observations, explore=False)
    for agent in AGENTS:
        distribution = ActionDistribution(policy.team.codecs[agent], parameters[agent])
        torch.testing.assert_close(actions[agent], distribution.mode())
    again, _, _ = policy.act(observations, explore=False)
    assert all(torch.equal(actions[a], again[a]) for a in AGENTS)


def test_with_exploration_actions_vary():
    policy = build(bold=False)
    actions, _, _ = policy.act(zeros(policy.team, 100), explore=True)
    for agent in AGENTS:
        assert len(actions[agent].unique(dim=0)) > 2


def test_rllib_gets_actions_in_the_spaces_structure():
    policy = build(MobileEdge, num_ues=2, emulator_action="keep_or_retention")
    batch = {a: {Columns.OBS: o} for a, o in zeros(policy.team, 4).items()}
    for forward in (policy.forward_exploration, policy.forward_inference):
        out = forward(batch)
        action = out["emulator_config"][Columns.ACTIONS]
        assert set(action) == {"keep", "retention"}
        assert action["keep"].shape == action["retention"].shape == (4, 2)
        assert out["case_decision"][Columns.ACTION_LOGP].shape == (4,)
        sizes = {a: out[a][Columns.ACTION_DIST_INPUTS].shape[1] for a in out}
        assert sizes == {"case_decision": 2, "emulator_config": 2 + 2 * 2}


def test_a_missing_agent_is_named():
    policy = build()
    batch = {a: {Columns.OBS: o} for a, o in zeros(policy.team, 4).items()}
    del batch["painter"]
    with pytest.raises(ValueError, match="painter did not observe in a step in which leader, tail"):
        policy.forward_exploration(batch)


def test_an_agent_missing_in_one_of_several_environments_is_named():
    policy = build()
    observations = zeros(policy.team, 4)
    batch = {a: {Columns.OBS: o} for a, o in observations.items()}
    batch["leader"][Columns.OBS] = observations["leader"][:3]
    with pytest.raises(ValueError, match=r"leader.*expected env runners that are subclasses"):
        policy.forward_exploration(batch)


def test_observations_of_any_number_type_will_do():
    """RLlib hands on the environment's own type; networks compute in float32."""

    class Bytes(CopyEnv):
        def __init__(self, env_config=None):
            super().__init__(env_config)
            self.observation_spaces = {
                a: gym.spaces.Box(0, 255, space.shape, np.uint8)
                for a, space in self.observation_spaces.items()
            }

    policy = build(Bytes)
    observations = {a: o.to(torch.uint8) for a, o in zeros(toy_team(), 3).items()}
    _, log_probs, _ = policy.act(observations, explore=True)
    assert log_probs["tail"].dtype == torch.float32
