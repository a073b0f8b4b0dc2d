"""One step of the system: a case worked by hand, and the laws of the step."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rllib_mec.system import Scenario
from rllib_mec.system import step as system_step
from rllib_mec.system.emulator import NOTHING_CACHED
from rllib_mec.system.step import Situation, step_reward
from rllib_mec.system.tasks import Tasks

PUBLISHED = Scenario()
UES = 3
TASKS = Tasks(
    gain=np.array([[1e-7, 1e-7, 4e-8]]),
    complexity=np.array([[20.0, 20.0, 30.0]]),
    data_mb=np.array([[400.0, 400.0, 300.0]]),
    power_w=np.array([[0.5, 0.5, 1.0]]),
)
laws = settings(deadline=None, max_examples=50)


def step(scenario, tasks, cached, *actions):
    return system_step.step(scenario, Situation(tasks, cached), *actions)


def uniform(low, high):
    return arrays(np.float64, (1, UES), elements=st.floats(low, high))


FLAGS = arrays(np.bool_, (1, UES))
RETENTIONS = uniform(0.2, 0.8)
ANY_TASKS = st.builds(
    Tasks,
    gain=uniform(1e-10, 1e-6),
    complexity=uniform(10, 30),
    data_mb=uniform(300, 500),
    power_w=uniform(0.2, 1),
)


def test_step_worked_by_hand():
    """UE 0 uploads alone, UE 1 downloads alone, UE 2 holds its emulator."""
    cached = np.array([[0.3, 0.5, 0.5]])
    server = np.array([[True, False, False]])
    outcome = step(PUBLISHED, TASKS, cached, server, np.array([[0.2, 0.8, 0.5]]))
    # Delays as in test_radio.py.
    assert outcome.delay_s == pytest.approx(np.array([[148.675694, 283.379418, 0.0]]), rel=1e-6)
    assert outcome.system_delay_s == pytest.approx([283.379418], rel=1e-6)
    # f(1) * 30/20, f(0.8) * 30/20, f(0.5) * 40/30; their mean is 63.522 / 3
    assert outcome.perplexity == pytest.approx(np.array([[21.0, 20.322, 22.2]]))
    assert outcome.mean_perplexity == pytest.approx([21.174])
    assert outcome.downloads.tolist() == [[False, True, False]]
    assert outcome.retention.tolist() == [[0.0, 0.8, 0.5]]
    assert outcome.cached.tolist() == [[0.3, 0.8, 0.5]]
    # -0.0956 * 21.174 - 0.001277 * 283.379418 = -2.024234 - 0.361876
    assert outcome.reward == pytest.approx([-2.386110], rel=1e-6)


def test_reward_is_the_weighted_sum_of_its_metrics():
    scenario = Scenario(perplexity_weight=-2, delay_weight_per_s=-0.5)
    reward = step_reward(scenario, np.array([10.0, 0.0]), np.array([0.0, 6.0]), None)
    assert reward.tolist() == [-20.0, -3.0]


def test_first_local_task_downloads_whatever_the_retention():
    nothing = np.full((1, UES), NOTHING_CACHED)
    local = np.zeros((1, UES), dtype=bool)
    outcome = step(PUBLISHED, TASKS, nothing, local, np.array([[0.2, 0.5, 0.8]]))
    assert outcome.downloads.all()
    assert outcome.cached.tolist() == [[0.2, 0.5, 0.8]]


def test_training_on_the_server_leaves_the_cache_alone():
    cached = np.array([[0.3, NOTHING_CACHED, 0.5]])
    server = np.ones((1, UES), dtype=bool)
    outcome = step(PUBLISHED, TASKS, cached, server, np.full((1, UES), 0.8))
    assert not outcome.downloads.any()
    assert np.array_equal(outcome.cached, cached)


def test_keeping_costs_nothing_and_leaves_the_others_the_downlink():
    scenario = Scenario(emulator_action="keep_or_retention")
    local = np.zeros((1, UES), dtype=bool)
    outcome = step(
        scenario,
        TASKS,
        np.array([[0.3, 0.3, 0.5]]),
        local,
        np.array([[0.8, 0.8, 0.8]]),
        np.array([[True, False, True]]),
    )
    assert outcome.delay_s == pytest.approx(np.array([[0.0, 283.379418, 0.0]]), rel=1e-6)
    assert outcome.cached.tolist() == [[0.3, 0.8, 0.5]]


def test_a_ue_alone_is_its_own_maximum_and_mean():
    alone = Tasks(*(np.array([[value]]) for value in (1e-7, 20.0, 400.0, 0.5)))
    outcome = step(PUBLISHED, alone, np.array([[0.0]]), np.array([[True]]), np.array([[0.5]]))
    assert outcome.system_delay_s == pytest.approx([148.675694], rel=1e-6)
    assert outcome.mean_perplexity == pytest.approx([21.0])


@laws
@given(ANY_TASKS, FLAGS, RETENTIONS, RETENTIONS)
def test_delays_and_metrics(tasks, server, retention, cached):
    outcome = step(PUBLISHED, tasks, cached, server, retention)
    assert np.all(outcome.delay_s >= 0)
    assert np.all(outcome.perplexity > 0)
    assert np.array_equal(outcome.delay_s > 0, server | outcome.downloads)
    assert outcome.system_delay_s == outcome.delay_s.max()
    assert outcome.mean_perplexity == pytest.approx(outcome.perplexity.mean())
    weights = PUBLISHED.perplexity_weight, PUBLISHED.delay_weight_per_s
    assert outcome.reward == pytest.approx(
        weights[0] * outcome.mean_perplexity + weights[1] * outcome.system_delay_s
    )


@laws
@given(ANY_TASKS, ANY_TASKS, RETENTIONS, st.sampled_from(("retention", "layers")))
def test_holding_costs_no_delay_after_the_first_download(first, second, retention, reading):
    scenario = Scenario(emulator_action=reading)
    nothing, local = np.full((1, UES), NOTHING_CACHED), np.zeros((1, UES), dtype=bool)
    outcome = step(scenario, first, nothing, local, retention)
    assert np.all(outcome.delay_s > 0)
    held = step(scenario, second, outcome.cached, local, retention)
    assert np.all(held.delay_s == 0)
    assert not held.downloads.any()


@laws
@given(ANY_TASKS, FLAGS, RETENTIONS, RETENTIONS, st.permutations(range(UES)))
def test_ues_have_no_order(tasks, server, retention, cached, order):
    def reorder(x):
        return x[:, order]

    outcome = step(PUBLISHED, tasks, cached, server, retention)
    permuted_tasks = tasks.take((slice(None), list(order)))
    permuted = step(PUBLISHED, permuted_tasks, reorder(cached), reorder(server), reorder(retention))
    for name in ("delay_s", "perplexity", "downloads", "cached"):
        assert np.array_equal(getattr(permuted, name), reorder(getattr(outcome, name)))
    assert permuted.reward == pytest.approx(outcome.reward)


@laws
@given(ANY_TASKS, ANY_TASKS, FLAGS, RETENTIONS, RETENTIONS)
def test_environments_of_a_batch_do_not_touch_each_other(tasks, others, server, retention, cached):
    both = Tasks(
        *(
            np.concatenate([getattr(tasks, field.name), getattr(others, field.name)])
            for field in dataclasses.fields(Tasks)[:4]
        )
    )
    alone = step(PUBLISHED, tasks, cached, server, retention)
    batch = step(
        PUBLISHED,
        both,
        np.concatenate([cached, retention]),
        np.concatenate([server, ~server]),
        np.concatenate([retention, cached]),
    )
    for field in dataclasses.fields(alone):
        own = getattr(alone, field.name)
        assert own is None or np.array_equal(getattr(batch, field.name)[:1], own)
