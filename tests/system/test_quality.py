"""Task quality, eq. (9), and which retention is worth having."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_mec.system import Scenario
from rllib_mec.system.emulator import highest_useful_retention
from rllib_mec.system.quality import (
    complexity_factor,
    perplexity_of_retention,
    task_perplexity,
)

PUBLISHED = Scenario()
CORRECTED = Scenario(complexity_factor="corrected")


@pytest.mark.parametrize(
    ("retention", "perplexity"),
    # 25.2 * 0.04 - 43.1 * 0.2 + 31.9, and so on; the minimum is at 43.1 / 50.4
    [(0.2, 24.288), (0.5, 16.65), (0.8, 13.548), (1.0, 14.0), (43.1 / 50.4, 13.471329)],
)
def test_perplexity_of_retention(retention, perplexity):
    got = perplexity_of_retention(PUBLISHED, np.array(retention))
    assert got == pytest.approx(perplexity, rel=1e-6)


def test_printed_factor_makes_complex_tasks_easier():
    # (c + 10) / c
    factors = complexity_factor(PUBLISHED, np.array([10.0, 20.0, 30.0]))
    assert factors == pytest.approx([2.0, 1.5, 4 / 3])


def test_corrected_factor_makes_complex_tasks_harder():
    # (c + 10) / 10
    factors = complexity_factor(CORRECTED, np.array([10.0, 20.0, 30.0]))
    assert factors == pytest.approx([2.0, 3.0, 4.0])


def test_task_perplexity_is_of_the_whole_model_on_the_server():
    server = np.array([[True, False, False]])
    retention = np.array([[0.2, 0.2, 0.8]])
    complexity = np.array([[20.0, 20.0, 30.0]])
    # 14 * 1.5, 24.288 * 1.5, 13.548 * 4 / 3
    got = task_perplexity(PUBLISHED, server, retention, complexity)
    assert got == pytest.approx(np.array([[21.0, 36.432, 18.064]]))
    # 14 * 3, 24.288 * 3, 13.548 * 4
    got = task_perplexity(CORRECTED, server, retention, complexity)
    assert got == pytest.approx(np.array([[42.0, 72.864, 54.192]]))


@settings(deadline=None, max_examples=50)
@given(st.floats(0.2, 0.8), st.floats(10, 30))
def test_perplexity_on_the_server_does_not_depend_on_retention(retention, complexity):
    shape = (1, 1)
    server, c = np.ones(shape, dtype=bool), np.full(shape, complexity)
    got = task_perplexity(PUBLISHED, server, np.full(shape, retention), c)
    assert got == task_perplexity(PUBLISHED, server, np.full(shape, 0.5), c)


@pytest.mark.parametrize(
    ("overrides", "best"),
    [
        ({}, 0.8),
        ({"emulator_action": "layers"}, 25 / 32),
        ({"retention": [0.2, 1.0]}, 43.1 / 50.4),
        # 43.1 / 50.4 * 32 = 27.4: 27 layers beat 28
        ({"retention": [0.2, 1.0], "emulator_action": "layers"}, 27 / 32),
        ({"perplexity_coefficients": [0.0, 1.0, 10.0]}, 0.2),
        # Highest in the middle: f(0.2) = 21.8, f(0.8) = 22.4
        ({"perplexity_coefficients": [-10.0, 11.0, 20.0]}, 0.2),
    ],
)
def test_highest_useful_retention(overrides, best):
    assert highest_useful_retention(Scenario.of(overrides)) == pytest.approx(best)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0.05, 1.0), min_size=3, max_size=3).map(sorted))
def test_no_allowed_retention_beats_the_highest_useful_one(ordered):
    low, retention, high = ordered
    scenario = Scenario(retention=(low, high))
    best = highest_useful_retention(scenario)
    assert low <= best <= high
    f = perplexity_of_retention(scenario, np.array([best, retention]))
    assert f[0] <= f[1] + 1e-9
