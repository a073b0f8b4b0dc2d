"""The case decision alone: the order of its bits, held retention, the numbers of ``mec``."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st

from rllib_mec.envs import CASE_DECISION, EMULATOR_CONFIG, CaseDecisionEnv, make_env
from rllib_mec.envs.multi_agent import EPISODE_METRICS
from rllib_mec.errors import InputError

SMALL = {"num_ues": 3, "num_tasks": 4}
# The most useful retention of each reading; layers: 25 of 32.
HELD = {"retention": 0.8, "layers": 25 / 32, "keep_or_retention": 0.8}


def test_spaces():
    env = CaseDecisionEnv(SMALL)
    check_env(env, skip_render_check=True)
    assert env.action_space == gym.spaces.Discrete(8)
    assert env.observation_space == make_env(SMALL).observation_spaces[CASE_DECISION]


@given(bits=st.lists(st.integers(0, 1), min_size=3, max_size=3), seed=st.integers(0, 99))
@pytest.mark.parametrize("reading", HELD)
def test_bit_i_is_the_case_of_ue_i(reading, bits, seed):
    env_config = {**SMALL, "emulator_action": reading}
    env, mec = CaseDecisionEnv(env_config), make_env(env_config)
    env.reset(seed=seed), mec.reset(seed=seed)
    number = bits[0] + 2 * bits[1] + 4 * bits[2]
    emulator = [HELD[reading]] * 3
    if reading == "keep_or_retention":
        emulator = {"keep": [0] * 3, "retention": emulator}
    for _ in range(4):
        ours, our_reward, _, ended, infos = env.step(number)
        theirs, their_reward, *_, their_infos = mec.step(
            {CASE_DECISION: bits, EMULATOR_CONFIG: emulator}
        )
        np.testing.assert_array_equal(ours, theirs[CASE_DECISION])
        assert our_reward == their_reward[CASE_DECISION]
    assert ended
    assert infos == their_infos[CASE_DECISION]
    assert infos[EPISODE_METRICS]["emulator_changes"] == bits.count(0)


def test_a_batch_is_the_single_environment_many_times():
    many, one = CaseDecisionEnv(SMALL).batched(4), CaseDecisionEnv(SMALL)
    np.testing.assert_array_equal(many.reset(2)[CASE_DECISION][0], one.reset(seed=2)[0])
    for number in (0, 5, 3, 7):
        observations, reward, terminated, truncated = many.step(
            {CASE_DECISION: np.array([number, 1, 2, 4])}
        )
        observation, *rest, infos = one.step(number)
        assert observations[CASE_DECISION].shape == (4, 12)
        np.testing.assert_array_equal(observations[CASE_DECISION][0], observation)
        assert [reward[0], terminated, truncated] == rest
    metrics = {name: value[0] for name, value in many.episode_metrics().items()}
    assert infos == {EPISODE_METRICS: metrics}


@pytest.mark.parametrize("action", [8, -1, 0.5, [0, 1], None])
def test_other_actions_are_refused(action):
    env = CaseDecisionEnv(SMALL)
    env.reset(seed=0)
    with pytest.raises(
        InputError, match=r"case_decision action = .*expected whole numbers in 0..7"
    ):
        env.step(action)


@pytest.mark.parametrize(
    ("env_config", "message"),
    [
        ({"num_ues": 13}, "num_ues = 13: expected at most 12"),
        ({"turn_based": True}, "turn_based = True: expected false"),
        ({"single_agent": True}, "single_agent = True: expected false"),
        ({"decentralised": True}, "decentralised = True: expected false"),
        ({"num_ue": 3}, "did you mean 'num_ues'"),
    ],
)
def test_configurations_are_checked(env_config, message):
    with pytest.raises(InputError, match=message):
        CaseDecisionEnv(env_config)
