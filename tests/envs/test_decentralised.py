"""An agent for each decision of each UE: the same system, the same numbers."""

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
    BatchedMECEnv,
    DecentralisedMECEnv,
    make_env,
)
from rllib_mec.errors import InputError
from rllib_mec.hmppo import Team
from rllib_mec.hmppo.groups import joined_space
from rllib_mec.hmppo.sampling.batched_env import batched

SMALL = {"num_ues": 3, "num_tasks": 4}
READINGS = ("retention", "layers", "keep_or_retention")


def both(reading):
    env_config = {**SMALL, "emulator_action": reading}
    return make_env({**env_config, "decentralised": True}), make_env(env_config)


def of_members(env, actions):
    """The same actions, member by member."""

    def part(action, ue):
        if isinstance(action, dict):
            return {key: part(own, ue) for key, own in action.items()}
        return action[ue] if action.dtype.kind == "i" else action[ue : ue + 1]

    return {
        member: part(actions[group], ue)
        for group, members in env.agent_groups.items()
        for ue, member in enumerate(members)
    }


@pytest.mark.parametrize("reading", READINGS)
def test_groups_are_the_agents_of_the_centralised_environment(reading):
    ours, theirs = both(reading)
    assert isinstance(ours, DecentralisedMECEnv)
    check_multiagent_environments(ours)
    assert ours.possible_agents == [f"{agent}_{ue}" for agent in AGENTS for ue in range(3)]
    assert ours.action_spaces["case_decision_2"] == gym.spaces.Discrete(2)
    for agent in AGENTS:
        space = ours.action_spaces[f"{agent}_0"]
        assert joined_space(space, 3) == theirs.action_spaces[agent]
    team, centralised = Team.of_env(ours), Team.of_env(theirs)
    assert team.agents == centralised.agents == AGENTS
    assert team.slots == centralised.slots
    for agent in AGENTS:
        assert team.observation_size(agent) == centralised.observation_size(agent)
        assert team.codecs[agent].leaves == centralised.codecs[agent].leaves


@pytest.mark.parametrize("reading", READINGS)
def test_the_same_actions_give_the_same_episode(reading, draw_actions, of_env):
    ours, theirs = both(reading)
    rng = np.random.default_rng(0)
    (own, _), (joint, _) = ours.reset(seed=3), theirs.reset(seed=3)
    for t in range(1, 5):
        for group, members in ours.agent_groups.items():
            np.testing.assert_array_equal(np.concatenate([own[m] for m in members]), joint[group])
        for member, observation in own.items():
            assert ours.observation_spaces[member].contains(observation)
        actions = of_env(draw_actions(theirs.scenario, rng, 1), 0)
        own, our_reward, *our_ends, our_infos = ours.step(of_members(ours, actions))
        joint, their_reward, *their_ends, their_infos = theirs.step(actions)
        assert set(our_reward) == set(ours.possible_agents)
        assert set(our_reward.values()) == {their_reward[CASE_DECISION]}
        assert our_ends == their_ends == [{"__all__": False}, {"__all__": t == 4}]
    assert our_infos == dict.fromkeys(ours.possible_agents, their_infos[EMULATOR_CONFIG])


def test_a_member_sees_its_own_ue_alone():
    """What UE 1 has cached is seen by its own two agents and by no other."""
    seen = []
    for retention in (0.5, 0.7):
        env = make_env({**SMALL, "decentralised": True})
        env.reset(seed=1)
        cases = {f"{CASE_DECISION}_{ue}": 0 for ue in range(3)}
        held = {f"{EMULATOR_CONFIG}_{ue}": [retention if ue == 1 else 0.5] for ue in range(3)}
        seen.append(env.step(cases | held)[0])
    before, after = seen
    changed = {member for member in before if not np.array_equal(before[member], after[member])}
    assert changed == {"case_decision_1", "emulator_config_1"}


@pytest.mark.parametrize("reading", READINGS)
def test_the_slot_of_a_member_holds_its_own_ues_case(reading):
    team = Team.of_env(both(reading)[0])
    positions = team.slots[EMULATOR_CONFIG][CASE_DECISION]
    size = team.observation_spaces[EMULATOR_CONFIG].shape[0]
    assert [position // size for position in positions] == [0, 1, 2]


@pytest.mark.parametrize("reading", READINGS)
def test_batches_are_those_of_the_centralised_environment(reading, draw_actions):
    ours, theirs = (batched(env, 5) for env in both(reading))
    assert ours.agent_order == tuple(ours.action_spaces) == AGENTS
    rng = np.random.default_rng(0)
    own, joint = ours.reset(3), theirs.reset(3)
    for _ in range(4):
        for agent in AGENTS:
            np.testing.assert_array_equal(own[agent], joint[agent])
        actions = draw_actions(ours.scenario, rng, 5)
        own, our_reward, *our_ends = ours.step(actions)
        joint, their_reward, *their_ends = theirs.step(actions)
        np.testing.assert_array_equal(our_reward, their_reward)
        assert our_ends == their_ends


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("reading", READINGS)
def test_baselines_act_as_in_the_centralised_environment(name, reading):
    metrics = []
    for decentralised in (False, True):
        env_config = {**SMALL, "emulator_action": reading, "decentralised": decentralised}
        env = BatchedMECEnv(env_config, 20)
        policy = make_policy(name, env, np.random.SeedSequence(1))
        metrics.append(play(env, policy, 0)[0])
    for metric, values in metrics[0].items():
        np.testing.assert_array_equal(metrics[1][metric], values)


@pytest.mark.parametrize(
    ("member", "action", "message"),
    [
        ("case_decision_1", None, "expected an action of case_decision_1"),
        ("case_decision_1", [0, 1], r"case_decision_1 action = \[0, 1\]: expected 1 number"),
        ("case_decision_1", 2, "case_decision action, UE 1 = 2: expected 0 or 1"),
        ("emulator_config_2", {}, "emulator_config_2 action = {}: expected a dict of keep and ret"),
        (
            "emulator_config_2",
            {"keep": 0, "retention": [0.5, 0.5]},
            r"emulator_config_2\[retention\] action = \[0.5, 0.5\]: expected 1 number",
        ),
        (
            "emulator_config_2",
            {"keep": 0, "retention": [7.0]},
            r"emulator_config action\[retention\], UE 2 = 7: expected a retention in",
        ),
    ],
)
def test_bad_actions_are_refused_by_name(member, action, message):
    env = both("keep_or_retention")[0]
    env.reset(seed=0)
    actions = {agent: env.action_spaces[agent].sample() for agent in env.possible_agents}
    actions[member] = action
    if action is None:
        del actions[member]
    with pytest.raises(InputError, match=message):
        env.step(actions)


@pytest.mark.parametrize("other", ["turn_based", "single_agent"])
def test_it_excludes_other_arrangements(other):
    message = rf"env_config.decentralised = True: expected false with {other}"
    with pytest.raises(InputError, match=message):
        make_env({"decentralised": True, other: True})
    with pytest.raises(InputError, match="decentralised = 1: expected true or false"):
        make_env({"decentralised": 1})
