"""The batched environment is the single one, B times."""

import numpy as np
import pytest

from rllib_mec.envs import AGENTS, CASE_DECISION, EMULATOR_CONFIG, BatchedMECEnv, make_env
from rllib_mec.errors import InputError
from rllib_mec.system import DECISIONS, METRICS

SMALL = {"num_ues": 3, "num_tasks": 4}


@pytest.mark.parametrize("reading", ["retention", "layers", "keep_or_retention"])
def test_a_batch_of_one_is_the_single_environment(reading, draw_actions, of_env):
    env_config = {**SMALL, "emulator_action": reading}
    batch, single = BatchedMECEnv(env_config), make_env(env_config)
    rng = np.random.default_rng(0)
    observations, (single_observations, _) = batch.reset(5), single.reset(seed=5)
    # Two episodes, the second without a seed.
    for _ in range(2):
        for _ in range(4):
            for agent in AGENTS:
                assert np.array_equal(observations[agent][0], single_observations[agent])
            actions = draw_actions(batch.scenario, rng, 1)
            observations, reward, terminated, truncated = batch.step(actions)
            single_observations, rewards, _, truncations, infos = single.step(of_env(actions, 0))
            assert reward.tolist() == [rewards[CASE_DECISION]]
            assert truncated == truncations["__all__"]
            assert terminated is False
        assert truncated
        metrics = {key: value[0] for key, value in batch.episode_metrics().items()}
        assert metrics == infos[CASE_DECISION]["episode_metrics"]
        observations, (single_observations, _) = batch.reset(), single.reset()


@pytest.mark.parametrize("reading", ["retention", "keep_or_retention"])
def test_environment_k_does_not_depend_on_the_size_of_the_batch(reading, draw_actions):
    env_config = {**SMALL, "emulator_action": reading}
    big, small = BatchedMECEnv(env_config, 5), BatchedMECEnv(env_config, 2)
    rng = np.random.default_rng(0)
    big.reset(3), small.reset(3)
    for _ in range(4):
        actions = draw_actions(big.scenario, rng, 5)
        first_two = {
            agent: {key: part[:2] for key, part in action.items()}
            if isinstance(action, dict)
            else action[:2]
            for agent, action in actions.items()
        }
        observations, reward, *_ = big.step(actions)
        small_observations, small_reward, *_ = small.step(first_two)
        assert np.array_equal(reward[:2], small_reward)
        assert len(set(reward)) == 5
        for agent in AGENTS:
            assert np.array_equal(observations[agent][:2], small_observations[agent])


def test_shapes_and_types():
    env = BatchedMECEnv(SMALL, 5)
    observations = env.reset(0)
    assert {agent: o.shape for agent, o in observations.items()} == {
        CASE_DECISION: (5, 12),
        EMULATOR_CONFIG: (5, 9),
    }
    assert all(o.dtype == np.float32 for o in observations.values())
    assert {key: value.shape for key, value in env.episode_metrics().items()} == dict.fromkeys(
        (*METRICS, *DECISIONS), (5,)
    )


def test_seed_sequences_are_seeds():
    env = BatchedMECEnv(SMALL, 2)
    by_number = env.reset(9)[CASE_DECISION]
    assert np.array_equal(env.reset(np.random.SeedSequence(9))[CASE_DECISION], by_number)


def test_a_step_leaves_earlier_observations_and_the_actions_alone(draw_actions):
    env = BatchedMECEnv(SMALL, 2)
    observations = env.reset(0)
    before = {agent: o.copy() for agent, o in observations.items()}
    actions = draw_actions(env.scenario, np.random.default_rng(0), 2)
    copies = {agent: action.copy() for agent, action in actions.items()}
    env.step(actions)
    for agent in AGENTS:
        assert np.array_equal(observations[agent], before[agent])
        assert np.array_equal(actions[agent], copies[agent])


def test_random_and_hold_at_six_ues(draw_actions):
    """300 episodes each of the two policies that the published and our own rows start from."""
    env = BatchedMECEnv(num_envs=300)
    rng = np.random.default_rng(0)
    truncated = False
    env.reset(0)
    while not truncated:
        *_, truncated = env.step(draw_actions(env.scenario, rng, 300))
    assert env.episode_metrics()["reward"].mean() == pytest.approx(-177, abs=3)
    env.reset(1)
    truncated = False
    hold = {CASE_DECISION: np.zeros((300, 6)), EMULATOR_CONFIG: np.full((300, 6), 0.8)}
    while not truncated:
        *_, truncated = env.step(hold)
    metrics = env.episode_metrics()
    assert metrics["reward"].mean() == pytest.approx(-103.1, abs=0.5)
    assert np.all(metrics["emulator_changes"] == 6)


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (
            {CASE_DECISION: np.zeros((2, 3))},
            r"actions \['case_decision'\]: expected an action of emulator_config",
        ),
        (
            {CASE_DECISION: np.zeros((3, 3)), EMULATOR_CONFIG: np.full((2, 3), 0.5)},
            r"case_decision action has shape \(3, 3\): expected \(3,\), one entry per UE",
        ),
        (
            {CASE_DECISION: np.zeros((2, 3)), EMULATOR_CONFIG: np.full((2, 3), np.nan)},
            "emulator_config action, UE 0 = nan: expected a retention in",
        ),
    ],
)
def test_bad_actions_are_refused_by_name(actions, message):
    env = BatchedMECEnv(SMALL, 2)
    env.reset(0)
    with pytest.raises(InputError, match=message):
        env.step(actions)


def test_turns_are_for_the_single_environment_only():
    with pytest.raises(InputError, match=r"env_config.turn_based = True: expected false"):
        BatchedMECEnv({"turn_based": True})
