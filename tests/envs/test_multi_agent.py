"""The environment as RLlib sees it, in both arrangements."""

import numpy as np
import pytest
from ray.rllib.utils.pre_checks.env import check_multiagent_environments

from rllib_mec.envs import AGENTS, CASE_DECISION, EMULATOR_CONFIG, make_env
from rllib_mec.envs.multi_agent import EPISODE_METRICS
from rllib_mec.errors import InputError
from rllib_mec.system import DECISIONS, METRICS

SMALL = {"num_ues": 3, "num_tasks": 4}
READINGS = ("retention", "layers", "keep_or_retention")


def sample(env, rng_seed=0):
    """Draws actions of both agents from their spaces."""
    for agent in AGENTS:
        env.action_spaces[agent].seed(rng_seed)
    return {agent: env.action_spaces[agent].sample() for agent in AGENTS}


@pytest.mark.parametrize("turn_based", [False, True])
@pytest.mark.parametrize("reading", READINGS)
def test_rllib_s_own_check(turn_based, reading):
    env = make_env({**SMALL, "turn_based": turn_based, "emulator_action": reading})
    check_multiagent_environments(env)
    # The check returns early from what it takes for no environment: show that it looked.
    env.agents = ["nobody"]
    with pytest.raises(ValueError, match="agents"):
        check_multiagent_environments(env)


@pytest.mark.parametrize("num_ues", [1, 3])
@pytest.mark.parametrize("reading", READINGS)
def test_an_episode(num_ues, reading):
    env = make_env({"num_ues": num_ues, "num_tasks": 4, "emulator_action": reading})
    observations, infos = env.reset(seed=0)
    assert infos == {}
    rewards = []
    for t in range(1, 5):
        assert set(observations) == set(AGENTS)
        for agent in AGENTS:
            assert env.observation_spaces[agent].contains(observations[agent])
        observations, reward, terminated, truncated, infos = env.step(sample(env, t))
        rewards.append(reward[CASE_DECISION])
        assert reward[CASE_DECISION] == reward[EMULATOR_CONFIG] < 0
        assert terminated == {"__all__": False}
        assert truncated == {"__all__": t == 4}
        assert set(infos) == (set(AGENTS) if t == 4 else set())
    assert set(observations) == set(AGENTS)
    metrics = infos[CASE_DECISION][EPISODE_METRICS]
    assert infos[EMULATOR_CONFIG][EPISODE_METRICS] == metrics
    assert tuple(metrics) == (*METRICS, *DECISIONS)
    assert metrics["reward"] == pytest.approx(sum(rewards))
    with pytest.raises(InputError, match=r"step 5 of 4: expected reset\(\)"):
        env.step(sample(env))


def test_agents_take_turns():
    env = make_env({**SMALL, "turn_based": True})
    actions = {CASE_DECISION: np.array([1, 0, 1]), EMULATOR_CONFIG: np.array([0.2, 0.5, 0.8])}
    observations, _ = env.reset(seed=0)
    for t in range(1, 5):
        assert set(observations) == {CASE_DECISION}
        observations, rewards, terminated, truncated, infos = env.step(actions)
        assert set(observations) == {EMULATOR_CONFIG}
        assert observations[EMULATOR_CONFIG].reshape(3, 3)[:, 1].tolist() == [1, -1, 1]
        assert (rewards, infos) == ({}, {})
        assert not any(truncated.values())
        observations, rewards, terminated, truncated, infos = env.step(actions)
        assert rewards[CASE_DECISION] == rewards[EMULATOR_CONFIG] < 0
        assert not any(terminated.values())
        assert truncated == {"__all__": t == 4}
    # Both need an observation to bootstrap from.
    assert set(observations) == set(AGENTS)
    assert infos[CASE_DECISION][EPISODE_METRICS]["reward"] < rewards[CASE_DECISION]


def test_reset_in_the_middle_of_a_task_starts_with_case_decision():
    env = make_env({**SMALL, "turn_based": True})
    first, _ = env.reset(seed=0)
    env.step(sample(env))
    again, _ = env.reset(seed=0)
    assert np.array_equal(first[CASE_DECISION], again[CASE_DECISION])
    assert set(env.step(sample(env))[0]) == {EMULATOR_CONFIG}


@pytest.mark.parametrize("reading", READINGS)
def test_both_arrangements_give_the_same_numbers(reading):
    env_config = {**SMALL, "emulator_action": reading}
    together, in_turn = make_env(env_config), make_env({**env_config, "turn_based": True})
    observations, _ = together.reset(seed=7)
    in_turn_observations, _ = in_turn.reset(seed=7)
    for t in range(4):
        assert np.array_equal(observations[CASE_DECISION], in_turn_observations[CASE_DECISION])
        actions = sample(together, t)
        second, *_ = in_turn.step({CASE_DECISION: actions[CASE_DECISION]})
        slots = together.action_slots[EMULATOR_CONFIG][CASE_DECISION]
        filled = observations[EMULATOR_CONFIG].copy()
        assert np.all(filled[slots] == 0)
        filled[slots] = np.where(actions[CASE_DECISION], 1, -1)
        assert np.array_equal(second[EMULATOR_CONFIG], filled)
        observations, *one = together.step(actions)
        in_turn_observations, *other = in_turn.step({EMULATOR_CONFIG: actions[EMULATOR_CONFIG]})
        assert one == other
    for agent in AGENTS:
        assert np.array_equal(observations[agent], in_turn_observations[agent])


def test_seeds():
    env, other = make_env(SMALL), make_env(SMALL)

    def first(env, seed):
        return env.reset(seed=seed)[0][CASE_DECISION].tolist()

    assert first(env, 1) == first(other, 1)
    # Without a seed the stream runs on: new episodes, the same in both.
    following = first(env, None)
    assert following == first(other, None)
    assert following != first(env, 1)
    assert first(env, 1) != first(env, 2)


@pytest.mark.parametrize("turn_based", [False, True])
def test_a_refused_action_changes_nothing(turn_based):
    env, untouched = (make_env({**SMALL, "turn_based": turn_based}) for _ in range(2))
    for each in (env, untouched):
        each.reset(seed=0)
        if turn_based:
            each.step(sample(each))
    bad = {**sample(env), EMULATOR_CONFIG: [0.5, 0.9, 0.5]}
    with pytest.raises(InputError, match=r"emulator_config action, UE 1 = 0.9: expected a ret"):
        env.step(bad)
    one, other = env.step(sample(env)), untouched.step(sample(env))
    assert one[1:] == other[1:]


@pytest.mark.parametrize("turn_based", [False, True])
@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ({}, r"actions \[\]: expected an action of case_decision"),
        ({CASE_DECISION: [0, 1, float("nan")]}, "case_decision action, UE 2 = nan"),
        ({CASE_DECISION: [0, 1]}, r"case_decision action has shape \(2,\): expected \(3,\)"),
        ({CASE_DECISION: {"keep": [0, 1, 0]}}, "case_decision action = .*: expected numbers"),
    ],
)
def test_bad_actions_are_refused_by_name(turn_based, actions, message):
    env = make_env({**SMALL, "turn_based": turn_based})
    env.reset(seed=0)
    with pytest.raises(InputError, match=message):
        env.step(actions)


def test_step_before_reset():
    env = make_env(SMALL)
    with pytest.raises(InputError, match="step before reset"):
        env.step(sample(env))
