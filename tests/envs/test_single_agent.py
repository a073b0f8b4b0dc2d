"""One agent in place of the two: the same system, the same numbers."""

import gymnasium as gym
import numpy as np
import pytest
from ray.rllib.utils.pre_checks.env import check_multiagent_environments

from rllib_mec.baselines.episodes import play
from rllib_mec.baselines.policies import POLICIES, make_policy
from rllib_mec.envs import (
    AGENTS,
    CASE_DECISION,
    EMULATOR_CONFIG,
    ORCHESTRATOR,
    BatchedMECEnv,
    make_env,
)
from rllib_mec.errors import InputError
from rllib_mec.hmppo import Team

SMALL = {"num_ues": 3, "num_tasks": 4}
READINGS = ("retention", "layers", "keep_or_retention")


@pytest.mark.parametrize("reading", READINGS)
def test_the_spaces_are_those_of_the_two_agents(reading):
    env_config = {**SMALL, "emulator_action": reading}
    one, two = make_env({**env_config, "single_agent": True}), make_env(env_config)
    check_multiagent_environments(one)
    assert one.possible_agents == [ORCHESTRATOR]
    assert one.observation_spaces == {ORCHESTRATOR: two.observation_spaces[CASE_DECISION]}
    assert one.action_spaces == {ORCHESTRATOR: gym.spaces.Dict(two.action_spaces)}
    team = Team.of_env(one)
    assert (team.agents, team.slots, team.num_entities) == ((ORCHESTRATOR,), {}, 3)


@pytest.mark.parametrize("reading", READINGS)
def test_one_agent_or_two_give_the_same_episode(reading, draw_actions, of_env):
    env_config = {**SMALL, "emulator_action": reading}
    one, two = make_env({**env_config, "single_agent": True}), make_env(env_config)
    rng = np.random.default_rng(0)
    (ours, _), (theirs, _) = one.reset(seed=3), two.reset(seed=3)
    for _ in range(4):
        np.testing.assert_array_equal(ours[ORCHESTRATOR], theirs[CASE_DECISION])
        actions = of_env(draw_actions(one.scenario, rng, 1), 0)
        ours, our_reward, *our_ends, our_infos = one.step({ORCHESTRATOR: actions})
        theirs, their_reward, *their_ends, their_infos = two.step(actions)
        assert our_reward == {ORCHESTRATOR: their_reward[EMULATOR_CONFIG]}
        assert our_ends == their_ends
    assert our_infos == {ORCHESTRATOR: their_infos[CASE_DECISION]}
    assert set(their_infos) == set(AGENTS)


@pytest.mark.parametrize("reading", READINGS)
def test_a_batch_of_one_agent_is_the_batch_of_two(reading, draw_actions):
    env_config = {**SMALL, "emulator_action": reading}
    one = make_env({**env_config, "single_agent": True}).batched(5)
    two = BatchedMECEnv(env_config, 5)
    assert one.agent_order == tuple(one.action_spaces) == (ORCHESTRATOR,)
    rng = np.random.default_rng(0)
    ours, theirs = one.reset(3), two.reset(3)
    for t in range(1, 5):
        np.testing.assert_array_equal(ours[ORCHESTRATOR], theirs[CASE_DECISION])
        actions = draw_actions(one.scenario, rng, 5)
        ours, our_reward, *our_ends = one.step({ORCHESTRATOR: actions})
        theirs, their_reward, *their_ends = two.step(actions)
        np.testing.assert_array_equal(our_reward, their_reward)
        assert our_ends == their_ends == [False, t == 4]
    for name, values in two.episode_metrics().items():
        np.testing.assert_array_equal(one.episode_metrics()[name], values)


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("reading", READINGS)
def test_baselines_act_as_with_two_agents(name, reading):
    metrics = []
    for single_agent in (False, True):
        env_config = {**SMALL, "emulator_action": reading, "single_agent": single_agent}
        env = BatchedMECEnv(env_config, 20)
        policy = make_policy(name, env, np.random.SeedSequence(1))
        metrics.append(play(env, policy, 0)[0])
    if name == "random":  # which draws from other spaces in another order
        assert abs(metrics[0]["reward"].mean() - metrics[1]["reward"].mean()) < 5
        return
    for metric, values in metrics[0].items():
        np.testing.assert_array_equal(metrics[1][metric], values)


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ({CASE_DECISION: [0, 0, 0]}, r"actions \['case_decision'\]: expected an action of orch"),
        ({ORCHESTRATOR: [0, 0, 0]}, r"orchestrator action = .*: expected a dict of case_decision"),
        ({ORCHESTRATOR: {CASE_DECISION: [0, 0, 0]}}, "expected a dict of case_decision and emu"),
        (
            {ORCHESTRATOR: {CASE_DECISION: [0, 0, 2], EMULATOR_CONFIG: [0.5] * 3}},
            "case_decision action, UE 2 = 2: expected 0 or 1",
        ),
    ],
)
def test_bad_actions_are_refused_by_name(actions, message):
    env = make_env({**SMALL, "single_agent": True})
    env.reset(seed=0)
    with pytest.raises(InputError, match=message):
        env.step(actions)
