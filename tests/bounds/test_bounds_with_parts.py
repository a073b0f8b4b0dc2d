"""Bounds and best plans with the parts of the scenario ``field``."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_mec.baselines.episodes import play
from rllib_mec.baselines.policies import make_policy
from rllib_mec.bounds import best_plan, upper_bound
from rllib_mec.bounds.alone import grid_of
from rllib_mec.envs import MECEnv
from rllib_mec.errors import InputError
from rllib_mec.hmppo.sampling.batched_env import batched
from rllib_mec.system import Scenario, Simulator
from rllib_mec.system.parts import PARTS
from rllib_mec.system.quality import quality_of

ROUNDING = 1e-9
OFF = dict.fromkeys(PARTS, False)

CURVES = [
    [[0.15, 60.0], [0.3, 31.0], [0.5, 24.0], [0.8, 21.0], [1.0, 20.0]],
    [[0.2, 12.0], [0.3, 11.9], [0.32, 8.0], [0.45, 7.9], [0.5, 6.0], [0.7, 6.2], [1.0, 5.0]],
]
qualities = st.sampled_from(
    [
        {},
        {"quality": {"curves": CURVES}, "emulator_tuned": False},
        {
            "quality": {"curves": CURVES, "interpolation": "smoothing_spline"},
            "emulator_tuned": False,
            "complexity_factor": "none",
        },
    ]
)
some_parts = st.fixed_dictionaries(
    {
        "compute": st.sampled_from(
            [False, True, {"server_queue": "none"}, {"ue_tflops": [1.0, 99.0]}]
        ),
        "memory": st.sampled_from([False, True, {"ue_memory_gb": [1.9, 3.3]}]),
        "adapter": st.sampled_from([False, True, {"adapter_mb": 500.0}]),
        "emulator_tuned": st.booleans(),
        "domains": st.booleans(),
        "arrivals": st.sampled_from([False, True, {"probability": 0.4}]),
    }
)
batteries = st.sampled_from(
    [False, {"battery_kj": [0.0, 5.0]}, {"battery_kj": [2.0, 4.0], "weight_per_kj": -1.0}]
)
sizes = {
    "num_ues": st.integers(1, 3),
    "num_tasks": st.integers(1, 4),
    "uplink_bandwidth_hz": st.sampled_from([1e6, 40e6]),
    "downlink_bandwidth_hz": st.sampled_from([2e7, 1e9]),
    "delay_weight_per_s": st.sampled_from([0.0, -2e-4, -2e-3]),
    "downlink_sharing": st.sampled_from(["downloading", "printed"]),
    "emulator_download": st.sampled_from(["whole", "missing"]),
}
seeds = st.integers(0, 1000)


def drawn(scenario, num_envs, seed=0):
    simulator = Simulator(scenario, num_envs)
    simulator.reset(seed)
    return simulator


@settings(deadline=None, max_examples=60)
@given(parts=some_parts, quality=qualities, fields=st.fixed_dictionaries(sizes), seed=seeds)
def test_the_best_plan_replays_and_does_not_exceed_the_bound(parts, quality, fields, seed):
    parts = {**parts, **quality, "energy": False}
    scenario = Scenario.of("field", **fields, **parts, emulator_action="layers", num_layers=5)
    simulator = drawn(scenario, 2, seed)
    plan = best_plan(scenario, simulator.episode)
    assert (plan.reward <= upper_bound(scenario, simulator.episode) + ROUNDING).all()
    for server, retention in zip(plan.server, plan.retention, strict=True):
        simulator.step(server, retention)
    np.testing.assert_allclose(simulator.episode_metrics()["reward"], plan.reward, rtol=1e-9)


@settings(deadline=None, max_examples=60)
@given(
    parts=some_parts,
    quality=qualities,
    energy=batteries,
    fields=st.fixed_dictionaries(sizes),
    action=st.sampled_from(["retention", "layers"]),
    seed=seeds,
    stay=st.floats(0, 1),
)
def test_random_plans_do_not_exceed_the_bound(parts, quality, energy, fields, action, seed, stay):
    parts = {**parts, **quality}
    scenario = Scenario.of("field", **fields, **parts, energy=energy, emulator_action=action)
    simulator = drawn(scenario, 8, seed)
    bound = upper_bound(scenario, simulator.episode)
    rng = np.random.default_rng(seed)
    shape = simulator.cached.shape
    share = rng.uniform(0, 1, shape)  # of tasks that go to the server
    for _ in range(scenario.num_tasks):
        held = (rng.uniform(size=shape) < stay) & (simulator.cached > 0)
        retention = np.where(held, simulator.cached, rng.uniform(0.2, 0.8, shape))
        simulator.step(rng.uniform(size=shape) < share, retention)
    assert (simulator.episode_metrics()["reward"] <= bound + ROUNDING).all()


@pytest.mark.parametrize("name", ["hold", "all-server", "greedy", "greedy-coordinate"])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"emulator_action": "layers"},
        {"perplexity_coefficients": (-40.0, 20.0, 31.9), "emulator_tuned": False},
        {"emulator_download": "whole"},
        {"quality": {"curves": CURVES}, "emulator_tuned": False},
        {"quality": {"curves": CURVES}, "emulator_tuned": False, "emulator_action": "layers"},
        *(OFF | {"compute": part == "energy", part: True} for part in PARTS),
    ],
    ids=str,
)
def test_no_policy_exceeds_the_bound(name, fields):
    scenario = Scenario.of("field", num_ues=4, num_tasks=15, **fields)
    env = batched(MECEnv(scenario), 10)
    metrics, _ = play(env, make_policy(name, env, np.random.SeedSequence(1)), 0)
    assert (metrics["reward"] <= upper_bound(scenario, env.simulator.episode) + ROUNDING).all()


def test_cutting_emulators_from_larger_ones_costs_nothing():
    fields = OFF | {"compute": True, "domains": True, "num_ues": 2, "num_tasks": 6, "num_layers": 8}
    plans = []
    for download in ("whole", "missing"):
        scenario = Scenario.of(
            "field", **fields, emulator_action="layers", emulator_download=download
        )
        plans.append(best_plan(scenario, drawn(scenario, 6).episode).reward)
    assert (plans[1] >= plans[0] - ROUNDING).all()
    assert (plans[1] > plans[0]).any()


def test_it_is_not_far_above_greedy_in_the_field():
    env = batched(MECEnv(Scenario.of("field")), 20)
    metrics, _ = play(env, make_policy("greedy", env, np.random.SeedSequence(1)), 0)
    above = upper_bound(env.scenario, env.simulator.episode) - metrics["reward"]
    assert 0 < above.mean() < 0.05 * -metrics["reward"].mean()


def test_small_batteries_lower_it():
    bounds = []
    for most in (0.0, 15.0, 1000.0):
        energy = {"battery_kj": [most, most]}
        scenario = Scenario.of("field", num_ues=3, num_tasks=20, energy=energy)
        bounds.append(upper_bound(scenario, drawn(scenario, 10).episode).mean())
    assert bounds[0] < bounds[1] - 0.5 < bounds[2] - 1.0


def test_environments_do_not_depend_on_each_other():
    scenario = Scenario.of("field", num_ues=3, num_tasks=6)
    many, few = (upper_bound(scenario, drawn(scenario, n).episode) for n in (5, 2))
    np.testing.assert_allclose(many[:2], few, rtol=1e-12)


def test_a_best_plan_with_batteries_is_refused():
    scenario = Scenario.of("field", num_ues=2, num_tasks=2, emulator_action="layers", num_layers=5)
    with pytest.raises(InputError, match="scenario field has energy: expected energy: false"):
        best_plan(scenario, drawn(scenario, 1).episode)


@pytest.mark.parametrize("interpolation", ["monotone", "smoothing_spline"])
def test_the_grid_of_a_measured_curve_is_below_it(interpolation):
    """Between two points of the grid, the line is below the curve, however it bends.

    Here it falls between two of the samples that are taken within a cell.
    """
    cliff = [[0.30405, 70.0], [0.30410, 30.0]]
    bent = [[0.2, 71.0], *cliff, [0.5, 29.0], [0.7, 20.0], [1.0, 19.0]]
    quality = {"curves": [*CURVES, bent], "interpolation": interpolation}
    scenario = Scenario.of("field", emulator_tuned=False, quality=quality)
    retention, lowered = grid_of(scenario)
    assert lowered.shape == (3, len(retention))
    dense = np.linspace(*scenario.retention, 200_001)
    for domain in range(3):
        curve = quality_of(scenario).local(dense, np.array(domain))
        line = np.interp(dense, retention, lowered[domain])
        assert (line <= curve + ROUNDING).all()
        assert np.median(curve - line) < 1e-2 * (curve.max() - curve.min())
