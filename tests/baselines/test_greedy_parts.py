"""Greedy with the parts of the scenario ``field``: no joint action has a higher reward."""

import dataclasses
import itertools

import numpy as np
import pytest

from rllib_mec.baselines import coordinate, greedy
from rllib_mec.system import Scenario, Simulator
from rllib_mec.system.parts import PARTS
from rllib_mec.system.step import step

FIELDS = {"num_ues": 3, "num_tasks": 8}
OFF = dict.fromkeys(PARTS, False)
# Two tasks, one of which falls by steps, so that costs have several minima.
CURVES = [
    [[0.15, 60.0], [0.3, 31.0], [0.5, 24.0], [0.8, 21.0], [1.0, 20.0]],
    [[0.2, 12.0], [0.3, 11.9], [0.32, 8.0], [0.45, 7.9], [0.5, 6.0], [0.7, 6.2], [1.0, 5.0]],
]
MEASURED = {"emulator_tuned": False, "quality": {"curves": CURVES}}
DEAR = {"energy": {"weight_per_kj": -1.0, "battery_kj": (60.0, 60.0)}, "uplink_bandwidth_hz": 1e6}
"""Energy so dear that the least cost is often amid the curve, and uploads so slow that UEs pay."""
GRIDS = {
    "all": {},
    # Memories and batteries that often do not hold the middling emulator.
    "scarce": {
        "memory": {"ue_memory_gb": (1.5, 2.0, 4.0)},
        "energy": {"battery_kj": (0.0, 8.0), "joule_per_tflop": 2.0},
    },
    "own queue": {"compute": {"server_queue": "none"}},
    **{part: OFF | {"compute": part == "energy", part: True} for part in PARTS},
    "f falls, then rises": OFF | {"perplexity_coefficients": (-40.0, 20.0, 31.9)},
    # Devices so slow that they often train with less than they have cached.
    "slow": {"compute": {"ue_tflops": (1.0, 2.0, 99.0)}, "energy": False},
    "whole": {"emulator_download": "whole"},
    "slow, whole": {"compute": {"ue_tflops": (1.0, 2.0, 99.0)}, "emulator_download": "whole"},
    "measured": MEASURED,
    "measured, mean": MEASURED | {"domains": False, "complexity_factor": "none"},
    "measured, dear": MEASURED | DEAR,
    "measured, dear, whole": MEASURED | DEAR | {"emulator_download": "whole"},
}


def scenario_of(grid, **fields):
    return Scenario.of("field", **{**FIELDS, **GRIDS[grid], **fields})


def steps(scenario, num_envs=6, seed=0):
    """Situations that greedy meets, and what it does there."""
    simulator = Simulator(scenario, num_envs)
    simulator.reset(seed)
    while not simulator.done:
        situation = simulator.situation
        server, retention = greedy.best_actions(scenario, situation)
        keep = retention == situation.cached
        keep = keep if scenario.emulator_action == "keep_or_retention" else None
        yield situation, step(scenario, situation, server, retention, keep), server
        simulator.step(server, retention, keep)


def highest_reward(scenario, situation):
    """The best of all joint actions with a grid of layers, (B,); to keep or cut are among them."""
    low, high = scenario.layer_bounds
    each = [(True, low), *((False, layers) for layers in range(low, high + 1))]
    best = -np.inf
    for joint in itertools.product(each, repeat=scenario.num_ues):
        server, layers = np.broadcast_to(np.array(joint).T[:, None], (2, *situation.cached.shape))
        reward = step(scenario, situation, server == 1, layers / scenario.num_layers).reward
        best = np.maximum(best, reward)
    return best


@pytest.mark.parametrize("grid", GRIDS)
def test_no_joint_action_is_better(grid):
    scenario = scenario_of(grid, emulator_action="layers", num_layers=8)
    for situation, outcome, _ in steps(scenario):
        best = highest_reward(scenario, situation)
        np.testing.assert_allclose(outcome.reward, best, atol=1e-9)


@pytest.mark.parametrize("emulator_action", ["retention", "keep_or_retention", "layers"])
@pytest.mark.parametrize("grid", GRIDS)
def test_coordinate_wise_greedy_is_never_better(grid, emulator_action):
    scenario = scenario_of(grid, emulator_action=emulator_action)
    above = []
    for situation, outcome, _ in steps(scenario):
        server, retention = coordinate.best_actions(scenario, situation)
        keep = retention == situation.cached
        keep = keep if emulator_action == "keep_or_retention" else None
        above += [*outcome.reward - step(scenario, situation, server, retention, keep).reward]
    assert min(above) >= -greedy.TOLERANCE
    assert np.mean(np.array(above) < 1e-3) > 0.2  # often it finds the same


def test_random_actions_are_not_better_where_e_is_a_number():
    scenario = scenario_of("scarce", num_ues=5)
    rng = np.random.default_rng(0)
    for situation, outcome, _ in steps(scenario):
        shape = situation.cached.shape
        for _ in range(30):
            held = (rng.random(shape) < 0.5) & (situation.cached > 0)
            retention = np.where(held, situation.cached, rng.uniform(0.2, 0.8, shape))
            other = step(scenario, situation, rng.random(shape) < rng.random(), retention)
            assert (outcome.reward >= other.reward - greedy.TOLERANCE).all()


@pytest.mark.parametrize("grid", ["measured, dear", "measured, dear, whole"])
def test_no_joint_action_is_better_where_e_is_a_number(grid):
    scenario = scenario_of(grid, num_ues=2, num_tasks=5)
    each = [(True, 0.2), *((False, e) for e in (0.0, *np.linspace(*scenario.retention, 49)))]
    amid = 0
    for situation, outcome, server in steps(scenario):
        shape = situation.cached.shape
        for joint in itertools.product(each, repeat=2):
            z, e = np.broadcast_to(np.array(joint).T[:, None], (2, *shape))
            # 0 is to keep what is cached.
            possible = ((e > 0) | (situation.cached > 0)).all(axis=-1)
            e = np.where(e > 0, e, np.maximum(situation.cached, 0.2))
            other = step(scenario, situation, z == 1, e)
            assert (outcome.reward >= other.reward - greedy.TOLERANCE)[possible].all()
        trained = outcome.cached[~server]
        amid += ((trained > 0.21) & (trained < 0.79)).sum()
    assert amid > 5


@pytest.mark.parametrize(("download", "expected"), [("missing", None), ("whole", 0.8)])
def test_a_smaller_emulator_is_cut_where_training_takes_long(download, expected):
    scenario = Scenario.of(
        "field",
        **OFF | {"compute": {"tokens": (1e5, 1e5), "ue_tflops": (10.0,)}},
        num_ues=1,
        uplink_bandwidth_hz=1.0,  # nothing is ever uploaded
        complexity=(10, 10),
        perplexity_weight=-0.1,
        delay_weight_per_s=-0.02,
        emulator_download=download,
    )
    simulator = Simulator(scenario)
    simulator.reset(0)
    cached = np.array([[0.8]])
    situation = dataclasses.replace(simulator.situation, cached=cached)
    _, retention = greedy.best_actions(scenario, situation)
    if expected is None:
        # 0 = W f'(E) + omega w / speed, with f' = 50.4 E - 43.1, W = 0.1 (10 + 10) / 10, w = 1080.
        expected = (43.1 - 0.02 * 108 / 0.2) / 50.4
    assert retention[0, 0] == pytest.approx(expected, rel=1e-6)


def test_what_is_decided_is_done_whatever_the_batteries_hold():
    # A UE whose battery is too small would be sent to the server, whatever it was told.
    local = 0
    for situation, outcome, server in steps(scenario_of("scarce"), num_envs=40):
        active = situation.tasks.active
        np.testing.assert_array_equal(outcome.server, server & active)
        local += (~outcome.server & active).sum()
    assert local > 20


def test_situations_do_not_depend_on_each_other():
    scenario = scenario_of("all", num_ues=4)
    for situation, _, _ in itertools.islice(steps(scenario, 7), 3):
        server, retention = greedy.best_actions(scenario, situation)
        for env in range(7):
            alone = greedy.best_actions(scenario, situation.take(slice(env, env + 1)))
            np.testing.assert_array_equal(alone[0][0], server[env])
            np.testing.assert_allclose(alone[1][0], retention[env], atol=1e-9)
