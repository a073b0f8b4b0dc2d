"""The best plan: it replays to its reward, and trying everything finds none better."""

import itertools

import numpy as np
import pytest

from rllib_mec.bounds import best_plan
from rllib_mec.errors import InputError
from rllib_mec.system import Scenario, Simulator


def replayed(simulator, server, retention):
    for z, e in zip(server, retention, strict=True):
        simulator.step(z, e)
    return simulator.episode_metrics()["reward"]


@pytest.mark.parametrize(
    "fields",
    [
        {"num_ues": 1, "num_tasks": 6, "num_layers": 8},
        {"num_ues": 2, "num_tasks": 4, "num_layers": 5, "uplink_bandwidth_hz": 1e8},
        {"num_ues": 3, "num_tasks": 3, "num_layers": 4, "downlink_sharing": "printed"},
    ],
    ids=str,
)
def test_a_plan_replays_to_its_reward(fields):
    scenario = Scenario(emulator_action="layers", **fields)
    simulator = Simulator(scenario, 3)
    simulator.reset(0)
    plan = best_plan(scenario, simulator.episode)
    reward = replayed(simulator, plan.server, plan.retention)
    np.testing.assert_allclose(reward, plan.reward, rtol=1e-12)


@pytest.mark.parametrize("downlink_sharing", ["downloading", "printed"])
@pytest.mark.parametrize("uplink_bandwidth_hz", [1e5, 1e8])
def test_no_sequence_of_actions_is_better(downlink_sharing, uplink_bandwidth_hz):
    scenario = Scenario(
        num_ues=2,
        num_tasks=2,
        num_layers=3,
        emulator_action="layers",
        downlink_sharing=downlink_sharing,
        uplink_bandwidth_hz=uplink_bandwidth_hz,
    )
    each = list(itertools.product([False, True], [1 / 3, 2 / 3]))
    joint = list(itertools.product(each, repeat=2))
    sequences = np.array(list(itertools.product(joint, repeat=2)))  # [sequence, t, i, (z, E)]
    simulator = Simulator(scenario, 1)
    best = -np.inf
    for sequence in sequences:
        simulator.reset(5)
        episode = simulator.episode
        server, retention = sequence[:, None, :, 0] == 1, sequence[:, None, :, 1]
        best = max(best, replayed(simulator, server, retention)[0])
    plan = best_plan(scenario, episode)
    assert plan.reward[0] == pytest.approx(best, rel=1e-12)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "emulator_action = 'retention': expected 'layers'"),
        (
            {"num_ues": 3, "emulator_action": "layers"},
            "3 UEs with 19 numbers of layers make 64,000,000 pairs .*: expected at most 500,000",
        ),
    ],
)
def test_what_cannot_be_tried_is_refused(fields, message):
    scenario = Scenario(**fields)
    simulator = Simulator(scenario)
    simulator.reset(0)
    with pytest.raises(InputError, match=message):
        best_plan(scenario, simulator.episode)
