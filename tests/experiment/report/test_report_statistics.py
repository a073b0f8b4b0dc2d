"""The statistics against hand-computed cases and laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_mec.experiment.report import statistics as s

rewards = st.lists(st.integers(-300, 0).map(float), min_size=2, max_size=6)


def test_a_quarter_is_cut_off_at_each_end():
    assert s.iqm([0.0, 10.0, 20.0, 1000.0]) == 15.0
    assert s.iqm([1.0, 2.0, 6.0]) == 3.0  # of three seeds, none can go


def test_the_interval_of_two_seeds_reaches_from_one_to_the_other():
    assert s.iqm_interval([1.0, 3.0]) == [1.0, 3.0]


@pytest.mark.filterwarnings("error")
def test_intervals_of_one_seed_and_of_equal_seeds():
    assert s.iqm_interval([2.0]) is None
    assert s.iqm_interval([2.0, 2.0, 2.0]) == [2.0, 2.0]
    assert s.improvement_interval([2.0], [1.0, 0.0]) is None
    assert s.improvement_interval([2.0, 2.0], [2.0, 2.0]) == [0.5, 0.5]


def test_the_same_values_give_the_same_interval():
    values = np.random.default_rng(0).normal(size=10)
    assert s.iqm_interval(values) == s.iqm_interval(values)
    low, high = s.iqm_interval(values)
    assert low < s.iqm(values) < high


def test_a_band_holds_the_curve_of_the_iqm():
    curves = np.random.default_rng(0).normal(size=(6, 11))
    low, high = s.iqm_band(curves)
    assert low.shape == high.shape == (11,)
    assert np.all((low <= s.iqm(curves, axis=0)) & (s.iqm(curves, axis=0) <= high))
    alone = s.iqm_band(curves[:1])
    np.testing.assert_array_equal(alone, [curves[0], curves[0]])


def test_probability_of_improvement_by_hand():
    # Of six pairs, (3 > 1), (3 > 2), (2 > 1) are won and (2, 2), (3, 3) are ties.
    assert s.probability_of_improvement([3.0, 2.0], [1.0, 2.0, 3.0]) == pytest.approx(4 / 6)
    assert s.probability_of_improvement([1.0], [0.0]) == 1.0
    assert s.improvement_interval([5.0, 6.0], [1.0, 2.0]) == [1.0, 1.0]


@given(rewards, rewards)
@settings(max_examples=50, deadline=None)
def test_what_one_wins_the_other_loses(x, y):
    won = s.probability_of_improvement(x, y)
    assert won + s.probability_of_improvement(y, x) == pytest.approx(1.0)
    shifted = s.probability_of_improvement([v + 1000 for v in x], y)
    assert won <= shifted == 1.0


def test_scores_are_zero_for_random_and_one_for_hold():
    scores = s.normalised(np.array([-180.0, -100.0, -90.0]), random=-180.0, hold=-100.0)
    np.testing.assert_allclose(scores, [0.0, 1.0, 1.125])


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.1, 0.95, 0.96], 200),
        ([0.1, 0.5, 0.949], None),
        ([0.96, 0.2, 0.3], None),  # a lucky point before a collapse
        ([0.99, 0.2, 0.99], 300),
        ([0.99, 0.94, 0.99], 100),  # a dip that the mean outweighs
    ],
)
def test_steps_to_a_good_score(scores, expected):
    steps = np.array([100, 200, 300])
    assert s.steps_to_score(steps, np.array(scores)) == expected


def test_a_seed_that_never_gets_there_counts_as_infinite():
    assert s.median_of_reached([100, 300, None]) == 300.0
    assert s.median_of_reached([100, None, None]) is None
