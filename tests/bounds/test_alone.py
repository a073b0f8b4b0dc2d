"""A UE alone: the dynamic programming behind the bound is exact for it, and so are its slopes."""

import numpy as np
import pytest

from rllib_mec.bounds import best_plan
from rllib_mec.bounds.alone import Alone
from rllib_mec.system import Scenario, Simulator
from rllib_mec.system.parts import PARTS
from rllib_mec.system.tasks import Episode

ROUNDING = 1e-9
OFF = dict.fromkeys(PARTS, False)
DOWNLOADS = pytest.mark.parametrize("emulator_download", ["whole", "missing"])


def drawn(scenario, num_envs, seed=0):
    simulator = Simulator(scenario, num_envs)
    simulator.reset(seed)
    return simulator.episode


def alone(scenario, episode):
    tasks = episode.tasks.take((slice(None, -1), slice(None)))
    return Alone(scenario, Episode(tasks, episode.first_gain, episode.devices))


@DOWNLOADS
@pytest.mark.parametrize("num_layers", [10, 500])
@pytest.mark.parametrize("uplink_bandwidth_hz", [1.0, 1e6, 40e6])
@pytest.mark.parametrize("delay_weight_per_s", [-2e-4, -2e-3])
def test_the_least_cost_of_one_ue_is_that_of_its_best_plan(
    delay_weight_per_s, uplink_bandwidth_hz, num_layers, emulator_download
):
    fields = {
        **OFF,
        "compute": {"ue_tflops": (2.0,)},
        "domains": True,
        "arrivals": True,
        "num_ues": 1,
        "num_tasks": 6,
        "uplink_bandwidth_hz": uplink_bandwidth_hz,
        "delay_weight_per_s": delay_weight_per_s,
        "emulator_download": emulator_download,
    }
    layers = Scenario.of("field", **fields, num_layers=num_layers, emulator_action="layers")
    episode = drawn(layers, 8)
    least = -best_plan(layers, episode).reward
    # The step's delay is the UE's own, inequality 3.
    weights = np.zeros((6, 8, 3))
    weights[..., 2] = 1.0
    used = alone(layers, episode).solve(weights, np.zeros((8, 1)))
    np.testing.assert_allclose(used.cost, least, rtol=1e-12)
    # Numbers without a grid are no worse than any layers, and no better than many.
    free = alone(Scenario.of("field", **fields), episode).solve(weights, np.zeros((8, 1)))
    assert (free.cost <= least + ROUNDING).all()
    if num_layers == 500:
        assert (free.cost >= least - 1e-3).all()


@DOWNLOADS
@pytest.mark.parametrize("emulator_action", ["retention", "layers"])
@pytest.mark.parametrize("downlink_sharing", ["downloading", "printed"])
def test_no_weights_and_prices_cost_more_than_the_slopes_say(
    downlink_sharing, emulator_action, emulator_download
):
    # The least cost is concave in them: what was used is its slope. Downloads are so slow that UEs
    # wait for better channels, or for lower weights on downloads, to have more layers.
    scenario = Scenario.of(
        "field",
        num_ues=3,
        num_tasks=12,
        downlink_bandwidth_hz=2e6,
        uplink_bandwidth_hz=1e6,
        downlink_sharing=downlink_sharing,
        emulator_action=emulator_action,
        emulator_download=emulator_download,
    )
    ues = alone(scenario, drawn(scenario, 4))
    rng = np.random.default_rng(0)
    for reach in (1.0, 1e-3):
        for _ in range(10):
            weights = rng.dirichlet(np.ones(5), (12, 4))
            per_kj = rng.uniform(0, 0.05, (4, 3))
            other = weights + reach * (rng.dirichlet(np.ones(5), (12, 4)) - weights)
            other_kj = per_kj + reach * (rng.uniform(0, 0.05, (4, 3)) - per_kj)
            here, there = ues.solve(weights, per_kj), ues.solve(other, other_kj)
            rise = (here.sums * (other - weights)).sum(axis=(0, 2))
            rise += (here.training_kj * (other_kj - per_kj)).sum(axis=-1)
            assert (there.cost <= here.cost + rise + ROUNDING).all()
