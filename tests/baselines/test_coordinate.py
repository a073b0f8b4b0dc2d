"""Coordinate-wise greedy: no UE alone can do better, by the system's own step."""

import numpy as np
import pytest

from rllib_mec.baselines import coordinate
from rllib_mec.system import Scenario, Simulator
from rllib_mec.system.parts import PARTS
from rllib_mec.system.step import step

OFF = dict.fromkeys(PARTS, False)
SCARCE = {"memory": {"ue_memory_gb": (1.5, 2.0, 4.0)}, "energy": {"battery_kj": (0.0, 8.0)}}


def rewards(scenario, situation, server, retention):
    keep = retention == situation.cached
    keep = keep if scenario.emulator_action == "keep_or_retention" else None
    return step(scenario, situation, server, retention, keep).reward


@pytest.mark.parametrize("downlink_sharing", ["downloading", "printed"])
@pytest.mark.parametrize("emulator_action", ["retention", "layers", "keep_or_retention"])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        OFF,
        SCARCE,
        {"compute": {"server_queue": "none"}},
        OFF | {"adapter": True},
        {"emulator_download": "whole"},
    ],
    ids=str,
)
def test_no_ue_alone_can_do_better(fields, emulator_action, downlink_sharing):
    scenario = Scenario.of(
        "field",
        num_ues=5,
        num_tasks=6,
        **fields,
        emulator_action=emulator_action,
        downlink_sharing=downlink_sharing,
    )
    simulator = Simulator(scenario, 6)
    simulator.reset(0)
    while not simulator.done:
        situation = simulator.situation
        server, retention = coordinate.best_actions(scenario, situation)
        found = rewards(scenario, situation, server, retention)
        held = np.where(situation.cached > 0, situation.cached, retention)
        grid = [np.full(held.shape, e) for e in coordinate.retentions(scenario)]
        for ue in range(5):
            for z, e in [(True, held), (False, held), *((False, e) for e in grid)]:
                others, else_ = server.copy(), retention.copy()
                others[:, ue], else_[:, ue] = z, e[:, ue]
                most = situation.devices.most_retention
                else_ = else_ if most is None else np.minimum(else_, most)
                assert (rewards(scenario, situation, others, else_) <= found + 1e-8).all()
        keep = retention == situation.cached if emulator_action == "keep_or_retention" else None
        simulator.step(server, retention, keep)


def test_many_ues_gain_over_what_all_do_alike():
    scenario = Scenario.of("field", num_ues=64)
    simulator = Simulator(scenario, 2)
    simulator.reset(0)
    situation = simulator.situation
    found = rewards(scenario, situation, *coordinate.best_actions(scenario, situation))
    for server in (True, False):
        alike = np.full((2, 64), server)
        for retention in coordinate.retentions(scenario):
            other = rewards(scenario, situation, alike, np.full((2, 64), retention))
            assert (found > other).all()
