"""The best retentions to hold: no others, held from the first step on, have more reward."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_mec.baselines.best_retention import best_retentions, check
from rllib_mec.baselines.episodes import play
from rllib_mec.baselines.policies import make_policy
from rllib_mec.envs import MECEnv
from rllib_mec.errors import InputError
from rllib_mec.hmppo.sampling.batched_env import batched
from rllib_mec.system import Scenario, Simulator
from rllib_mec.system.scenario import EMULATOR_ACTIONS


def held(scenario, retention, seed):
    """The reward of holding ``retention``, (B, N), in B equal episodes."""
    simulator = Simulator(scenario, len(retention))
    simulator.reset([seed] * len(retention))
    for _ in range(scenario.num_tasks):
        simulator.step(np.zeros(retention.shape, dtype=bool), retention)
    return simulator.episode_metrics()["reward"]


@settings(deadline=None, max_examples=60)
@given(
    num_ues=st.integers(1, 3),
    num_tasks=st.integers(1, 4),
    emulator_action=st.sampled_from(["retention", "layers"]),
    downlink_sharing=st.sampled_from(["downloading", "printed"]),
    delay_weight=st.floats(-3e-3, 0.0),
    coefficients=st.sampled_from([(25.2, -43.1, 31.9), (25.2, -20.0, 31.9), (5.0, -43.1, 60.0)]),
    seed=st.integers(0, 100),
)
def test_no_retentions_of_a_grid_are_better(
    num_ues, num_tasks, emulator_action, downlink_sharing, delay_weight, coefficients, seed
):
    scenario = Scenario(
        num_ues=num_ues,
        num_tasks=num_tasks,
        emulator_action=emulator_action,
        downlink_sharing=downlink_sharing,
        delay_weight_per_s=delay_weight,
        perplexity_coefficients=coefficients,
    )
    simulator = Simulator(scenario, 1)
    simulator.reset(seed)
    grid = np.linspace(0.2, 0.8, 7) if emulator_action == "retention" else np.arange(7, 26, 3) / 32
    tried = np.array(list(itertools.product(grid, repeat=num_ues)))
    best = best_retentions(scenario, simulator.episode)
    rewards = held(scenario, np.concatenate([best, tried]), seed)
    assert rewards[0] >= rewards[1:].max() - 1e-12


def test_a_retention_by_hand():
    # One UE and one task: W f'(E) = -omega s, so E = (43.1 - 0.01 s / W) / 50.4; c = 10: W = 0.2.
    scenario = Scenario(
        num_ues=1,
        num_tasks=1,
        complexity=(10, 10),
        perplexity_weight=-0.1,
        delay_weight_per_s=-0.01,
        fading="none",
        distance_m=(100, 100),
        model_size_gb=1.0,
        retention=(0.01, 1.0),
    )
    simulator = Simulator(scenario)
    simulator.reset(0)
    # SNR: 60 W * 1e-7 / (10^-20.4 W/Hz * 1 MHz).
    seconds = 1e9 / (1e6 * np.log2(1 + 60e-7 / (10**-20.4 * 1e6)))
    expected = (43.1 - 0.01 * seconds / 0.2) / 50.4
    assert best_retentions(scenario, simulator.episode)[0, 0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("emulator_action", EMULATOR_ACTIONS)
def test_each_ue_downloads_once_and_gains_over_hold(emulator_action):
    env = batched(MECEnv(Scenario(num_ues=6, num_tasks=10, emulator_action=emulator_action)), 10)
    rewards = {}
    for name in ("hold", "best-retention"):
        metrics, _ = play(env, make_policy(name, env, np.random.SeedSequence(0)), 3)
        np.testing.assert_array_equal(metrics["emulator_changes"], 6)
        rewards[name] = metrics["reward"]
    assert (rewards["best-retention"] >= rewards["hold"] - 1e-12).all()
    assert (rewards["best-retention"] > rewards["hold"]).any()


def test_emulators_cut_from_larger_ones_are_refused():
    with pytest.raises(InputError, match=r"emulator_download = 'missing': expected 'whole'"):
        check(Scenario(emulator_download="missing"))


def test_an_f_that_is_not_convex_is_refused():
    with pytest.raises(InputError, match=r"perplexity_coefficients = .* expected a convex f"):
        check(Scenario(perplexity_coefficients=(-1.0, -1.0, 30.0)))
