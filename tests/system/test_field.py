"""The scenario ``field``: no fixed policy is near what full information gives in each step."""

import numpy as np
import pytest

from rllib_mec.baselines import coordinate
from rllib_mec.system import Scenario, Simulator

ENVS = 40


def mean_reward(scenario, decide):
    simulator = Simulator(scenario, ENVS)
    simulator.reset(0)
    while not simulator.done:
        simulator.step(*decide(simulator))
    return simulator.episode_metrics()["reward"].mean()


def fixed(server, retention):
    shape = (ENVS, 6)
    return lambda simulator: (np.full(shape, server), np.full(shape, retention))


def coordinate_wise(simulator):
    return coordinate.best_actions(simulator.scenario, simulator.situation)


@pytest.fixture(scope="module")
def rewards():
    scenario = Scenario.of("field")
    policies = {f"hold {e}": fixed(False, e) for e in (0.2, 0.4, 0.6, 0.8)}
    policies |= {"all-server": fixed(True, 0.8), "greedy": coordinate_wise}
    return {name: mean_reward(scenario, policy) for name, policy in policies.items()}


def test_no_fixed_policy_is_near_greedy(rewards):
    greedy = rewards.pop("greedy")
    assert max(rewards.values()) < greedy - 12


def test_neither_case_is_best_by_far(rewards):
    assert rewards["all-server"] - max(r for n, r in rewards.items() if "hold" in n) < 20


def test_decisions_hang_on_the_state():
    simulator = Simulator(Scenario.of("field"), ENVS)
    simulator.reset(0)
    shares, retentions = [], set()
    while not simulator.done:
        server, retention = coordinate_wise(simulator)
        outcome = simulator.step(server, retention)
        shares.append(outcome.server.mean(axis=0))
        retentions |= set(np.unique(outcome.cached.round(2)))
    share = np.mean(shares, axis=0)
    assert np.all((share > 0.3) & (share < 0.7))
    assert len(retentions) > 5


def test_larger_cells_leave_a_ue_as_much():
    one, many = Scenario.of("field"), Scenario.of("field-64ue")
    for name in ("uplink_bandwidth_hz", "downlink_bandwidth_hz", "downlink_power_w"):
        ratio = getattr(many, name) / getattr(one, name) / (many.num_ues / one.num_ues)
        assert ratio == pytest.approx(1, abs=0.07)
    assert many.compute.server_tflops == 10 * one.compute.server_tflops
