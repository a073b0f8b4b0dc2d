"""The best emulators up to a limit, whatever the curves."""

import numpy as np
import pytest

from rllib_mec.baselines.choices import Choices
from rllib_mec.baselines.emulator_costs import EmulatorCosts
from rllib_mec.system import Scenario, Simulator

FALLING = [[0.15, 60.0], [0.3, 31.0], [0.5, 24.0], [0.8, 21.0], [1.0, 20.0]]
# Stairs whose edges lie between the points of a grid.
STAIRS = [
    [[0.2, 70.0], [0.2021, 50.0], [0.4012, 49.0], [0.4021, 30.0], [0.6, 29.0], [1.0, 25.0]],
    [[0.2, 9.0], [0.3512, 8.9], [0.3521, 5.0], [0.5512, 4.9], [0.5521, 3.0], [1.0, 2.0]],
]
DEAR = {"energy": {"weight_per_kj": -1.0, "battery_kj": (60.0, 60.0)}, "emulator_tuned": False}


def costs_and_choices(**fields):
    scenario = Scenario.of("field", num_ues=8, num_tasks=1, memory=False, **{**DEAR, **fields})
    simulator = Simulator(scenario, 20)
    simulator.reset(0)
    choices = Choices(scenario, simulator.situation)
    return EmulatorCosts(choices), choices


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"quality": {"curves": [FALLING, *STAIRS]}},
        {"quality": {"curves": [FALLING, *STAIRS]}, "domains": False, "complexity_factor": "none"},
        {"quality": {"curves": [FALLING, *STAIRS], "interpolation": "smoothing_spline"}},
        {"quality": {"curves": [FALLING, *STAIRS]}, "energy": False},
    ],
    ids=str,
)
def test_nothing_up_to_a_limit_is_cheaper(fields):
    costs, choices = costs_and_choices(**fields)
    dense = np.linspace(0.2, 0.8, 6001)
    every = choices.download_cost(np.broadcast_to(dense[:, None, None], (6001, 20, 8)))
    every = np.where(dense[:, None, None] <= choices.most, every, np.inf)
    rng = np.random.default_rng(0)
    for _ in range(20):
        most = np.minimum(rng.uniform(0.2, 0.81, (20, 8)), choices.most)
        retention, cost = costs.up_to(np.arange(20), most)
        assert (retention <= most * (1 + 1e-12)).all()
        np.testing.assert_allclose(choices.download_cost(retention), cost, atol=1e-12)
        allowed = np.where(dense[:, None, None] <= most, every, np.inf)
        assert (cost <= allowed.min(axis=0) + 1e-7).all()
