"""Greedy: no joint action has a higher reward in this step."""

import itertools

import numpy as np
import pytest

from rllib_mec.baselines import greedy
from rllib_mec.errors import InputError
from rllib_mec.system import Scenario, Simulator
from rllib_mec.system import step as system_step
from rllib_mec.system.radio import download_delay, upload_delay
from rllib_mec.system.step import Situation
from rllib_mec.system.tasks import Tasks

SERVER, KEEP, DOWNLOAD = range(3)


def step(scenario, tasks, cached, *actions):
    return system_step.step(scenario, Situation(tasks, cached), *actions)


def _single(tasks, env):
    columns = (tasks.gain, tasks.complexity, tasks.data_mb, tasks.power_w)
    return Tasks(*(column[env : env + 1] for column in columns))


def _highest_reward(scenario, tasks, cached):
    """Tries every choice of every UE, with many caps on the delay for those who download."""
    best = -np.inf
    low, high = scenario.retention
    for choices in itertools.product((SERVER, KEEP, DOWNLOAD), repeat=scenario.num_ues):
        server, loads = (np.array([choices]) == kind for kind in (SERVER, DOWNLOAD))
        if ((np.array([choices]) == KEEP) & (cached == 0)).any():
            continue
        full = download_delay(scenario, server, loads, np.ones_like(cached), tasks.gain)
        uploads = upload_delay(scenario, server, tasks.data_mb, tasks.power_w, tasks.gain)
        ends = (low * full.max(), high * full.max())
        for cap in [uploads.max(), *np.linspace(*ends, 400)] if loads.any() else [0.0]:
            retention = np.where(loads, np.minimum(cap / np.maximum(full, 1e-9), high), cached)
            if (retention < low * (1 - 1e-9))[loads].any():
                continue
            if scenario.emulator_action == "layers":
                retention = np.where(loads, np.floor(retention * 32 + 1e-9) / 32, cached)
                if (retention < 7 / 32)[loads].any():
                    continue
            retention = np.where(server, high, np.maximum(retention, low))
            keep = np.array([choices]) == KEEP
            best = max(best, step(scenario, tasks, cached, server, retention, keep).reward[0])
    return best


@pytest.mark.parametrize("emulator_action", ["retention", "layers", "keep_or_retention"])
@pytest.mark.parametrize("delay_weight", [-1.277e-3, -1.277e-4, -1e-5, 0.0])
def test_no_joint_action_is_better(emulator_action, delay_weight):
    scenario = Scenario(num_ues=3, emulator_action=emulator_action, delay_weight_per_s=delay_weight)
    simulator = Simulator(scenario, 3)
    simulator.reset(0)
    for _ in range(2):
        tasks, cached = simulator.tasks, simulator.cached
        server, retention = greedy.best_actions(scenario, simulator.situation)
        keep = retention == cached if emulator_action == "keep_or_retention" else None
        found = step(scenario, tasks, cached, server, retention, keep).reward
        for env in range(3):
            tried = _highest_reward(scenario, _single(tasks, env), cached[env : env + 1])
            # The caps tried are a grid: it may miss a little, greedy must not.
            assert tried - 1e-9 <= found[env] <= tried + 2e-3
        simulator.step(server, retention, keep)


def test_a_fast_download_may_be_at_the_best_retention_while_a_slow_one_is_not():
    # Uploads take for ever, and the delay weighs little: the least cost is at a kink.
    scenario = Scenario(num_ues=2, delay_weight_per_s=-5e-4, uplink_bandwidth_hz=1.0)
    simulator = Simulator(scenario)
    simulator.reset(15)
    tasks, cached = simulator.tasks, simulator.cached
    server, retention = greedy.best_actions(scenario, simulator.situation)
    (found,) = step(scenario, tasks, cached, server, retention).reward
    assert found >= _highest_reward(scenario, tasks, cached) - 1e-9
    assert retention.max() == 0.8 > retention.min()


@pytest.mark.parametrize("name", ["published-fading", "published-mobile"])
def test_varying_channels_change_nothing_of_the_search(name):
    scenario = Scenario.of(name, num_ues=4)
    simulator = Simulator(scenario, 3)
    simulator.reset(0)
    rng = np.random.default_rng(0)
    while not simulator.done:
        tasks, cached = simulator.tasks, simulator.cached
        action = greedy.best_actions(scenario, simulator.situation)
        found = step(scenario, tasks, cached, *action).reward
        for server in (rng.random((3, 4)) < 0.5, np.zeros((3, 4), dtype=bool)):
            for retention in (rng.uniform(0.2, 0.8, (3, 4)), np.full((3, 4), 0.8)):
                other = step(scenario, tasks, cached, server, retention).reward
                assert np.all(found >= other - 1e-9)
        simulator.step(*action)


def test_environments_do_not_depend_on_each_other():
    scenario = Scenario(num_ues=4)
    simulator = Simulator(scenario, 5)
    simulator.reset(1)
    situation = Situation(simulator.tasks, np.full((5, 4), 0.4))
    server, retention = greedy.best_actions(scenario, situation)
    for env in range(5):
        alone = greedy.best_actions(scenario, situation.take(slice(env, env + 1)))
        np.testing.assert_array_equal(alone[0][0], server[env])
        np.testing.assert_array_equal(alone[1][0], retention[env])


def test_what_is_best_already_is_kept():
    scenario = Scenario(num_ues=4)
    simulator = Simulator(scenario, 2)
    simulator.reset(1)
    cached = np.full((2, 4), 0.8)
    server, retention = greedy.best_actions(scenario, Situation(simulator.tasks, cached))
    assert not server.any()
    np.testing.assert_array_equal(retention, cached)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_ues": 13}, "num_ues = 13: expected at most 12"),
        ({"downlink_sharing": "printed"}, "downlink_sharing = 'printed'"),
    ],
)
def test_scenarios_beyond_the_search_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        greedy.check(Scenario(**fields))
