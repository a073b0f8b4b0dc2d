"""The upper bound: no policy's reward exceeds it, and it is near what the best ones reach."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_mec.baselines.episodes import play
from rllib_mec.baselines.policies import POLICIES, make_policy
from rllib_mec.bounds import best_plan, upper_bound
from rllib_mec.envs import MECEnv
from rllib_mec.errors import InputError
from rllib_mec.hmppo.sampling.batched_env import batched
from rllib_mec.system import Scenario, Simulator

ROUNDING = 1e-9

small_scenarios = st.builds(
    Scenario,
    num_ues=st.integers(1, 3),
    num_tasks=st.integers(1, 4),
    bits_per_byte=st.sampled_from([0.1, 1.0, 8.0]),
    uplink_bandwidth_hz=st.sampled_from([1e4, 1e5, 1e6, 1e8]),
    downlink_bandwidth_hz=st.sampled_from([1e4, 1e6, 1e7]),
    noise_dbm_per_hz=st.sampled_from([-174.0, -100.0]),
    fading=st.sampled_from(["rayleigh", "none"]),
    downlink_sharing=st.sampled_from(["downloading", "printed"]),
    perplexity_coefficients=st.sampled_from(
        [(25.2, -43.1, 31.9), (25.2, -43.1, 20.0), (-10.0, 5.0, 30.0), (0.0, -10.0, 30.0)]
    ),
    complexity_factor=st.sampled_from(["printed", "corrected"]),
    emulator_action=st.sampled_from(["retention", "layers", "keep_or_retention"]),
    num_layers=st.sampled_from([3, 5]),
    delay_weight_per_s=st.sampled_from([0.0, -1e-4, -1.277e-3]),
    perplexity_weight=st.sampled_from([0.0, -0.0956, -1.0]),
)


def drawn(scenario, num_envs=4, seed=0):
    simulator = Simulator(scenario, num_envs)
    simulator.reset(seed)
    return simulator


@settings(deadline=None, max_examples=50)
@given(scenario=small_scenarios, seed=st.integers(0, 1000))
def test_the_best_plan_of_all_does_not_exceed_it(scenario, seed):
    scenario = dataclasses.replace(scenario, emulator_action="layers")
    episode = drawn(scenario, 2, seed).episode
    assert (best_plan(scenario, episode).reward <= upper_bound(scenario, episode) + ROUNDING).all()


@settings(deadline=None, max_examples=40)
@given(scenario=small_scenarios, seed=st.integers(0, 1000), stay=st.floats(0, 1))
def test_random_plans_do_not_exceed_it(scenario, seed, stay):
    simulator = drawn(scenario, 8, seed)
    bound = upper_bound(scenario, simulator.episode)
    rng = np.random.default_rng(seed)
    shape = simulator.cached.shape
    share = rng.uniform(0, 1, shape)  # of tasks that go to the server
    for _ in range(scenario.num_tasks):
        retention = rng.uniform(*scenario.retention, shape)
        held = (rng.uniform(size=shape) < stay) & (simulator.cached > 0)
        retention = np.where(held, simulator.cached, retention)
        keep = held if scenario.emulator_action == "keep_or_retention" else None
        simulator.step(rng.uniform(size=shape) < share, retention, keep)
    assert (simulator.episode_metrics()["reward"] <= bound + ROUNDING).all()


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"bits_per_byte": 8.0},
        {"emulator_action": "layers"},
        {"emulator_action": "keep_or_retention"},
        {"uplink_bandwidth_hz": 1e8},
    ],
    ids=str,
)
def test_no_policy_exceeds_it(name, fields):
    scenario = Scenario(num_ues=4, num_tasks=20, **fields)
    env = batched(MECEnv(scenario), 10)
    metrics, _ = play(env, make_policy(name, env, np.random.SeedSequence(1)), 0)
    assert (metrics["reward"] <= upper_bound(scenario, env.simulator.episode) + ROUNDING).all()


@pytest.mark.parametrize(("fields", "random"), [({}, -177.5), ({"num_ues": 9}, -207.6)])
def test_it_is_near_to_holding_in_the_published_scenario(fields, random):
    env = batched(MECEnv(Scenario(**fields)), 20)
    metrics, _ = play(env, make_policy("hold", env, np.random.SeedSequence(1)), 0)
    hold = metrics["reward"].mean()
    bound = upper_bound(env.scenario, env.simulator.episode).mean()
    assert 0 < (bound - hold) / (hold - random) < 0.01


def test_a_single_ue_that_never_uploads_is_bounded_by_its_optimum():
    # An upload takes so long that even a mu near 0 rules it out: then nothing is relaxed.
    scenario = Scenario(num_ues=1, num_tasks=3, uplink_bandwidth_hz=1.0, emulator_action="layers")
    episode = drawn(scenario).episode
    bound = upper_bound(scenario, episode)
    np.testing.assert_allclose(bound, best_plan(scenario, episode).reward, rtol=1e-6)


@pytest.mark.parametrize("delay_weight_per_s", [-1.277e-3, -4e-3, -7e-3])
def test_a_retention_between_the_points_of_its_grid_does_not_exceed_it(delay_weight_per_s):
    # One download by one UE: nothing is relaxed but E, and the best retention is optimal.
    scenario = Scenario(
        num_ues=1,
        num_tasks=1,
        uplink_bandwidth_hz=1.0,
        delay_weight_per_s=delay_weight_per_s,
    )
    env = batched(MECEnv(scenario), 50)
    metrics, _ = play(env, make_policy("best-retention", env, np.random.SeedSequence(0)), 0)
    above = upper_bound(scenario, env.simulator.episode) - metrics["reward"]
    assert (above >= -ROUNDING).all()
    assert (above < 2e-4).all()


def test_environments_do_not_depend_on_each_other():
    scenario = Scenario(num_ues=3, num_tasks=6)
    many, few = (upper_bound(scenario, drawn(scenario, n).episode) for n in (5, 2))
    np.testing.assert_allclose(many[:2], few, rtol=1e-12)


@pytest.mark.parametrize("field", ["uplink_bandwidth_hz", "downlink_bandwidth_hz"])
def test_bandwidth_raises_it(field):
    scenario = Scenario(num_ues=3, num_tasks=5)
    wide = dataclasses.replace(scenario, **{field: 4 * getattr(scenario, field)})
    low, high = (upper_bound(s, drawn(s).episode) for s in (scenario, wide))
    assert (low < high).all()


def test_episodes_of_other_scenarios_are_refused():
    episode = drawn(Scenario(num_ues=3, num_tasks=5)).episode
    with pytest.raises(InputError, match="6 tasks of 3 UEs: expected 6 of 4"):
        upper_bound(Scenario(num_ues=4, num_tasks=5), episode)
