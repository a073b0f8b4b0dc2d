"""Channels over time: what fading remembers, and how far and where UEs walk."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_mec.system import Scenario
from rllib_mec.system.channel import correlated_power, random_walk
from rllib_mec.system.tasks import draw_episode, streams


def innovations(shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.exponential(size=shape), rng.uniform(0, 2 * np.pi, shape)


def walks(seed, bounds, longest, shape):
    """Starts, lengths and turns of random walks."""
    rng = np.random.default_rng(seed)
    start = rng.uniform(*bounds, shape[1:])
    return start, rng.uniform(0, longest, shape), rng.uniform(0, 2 * np.pi, shape)


@pytest.mark.parametrize("correlation", [0.3, 0.9])
def test_every_power_gain_is_exponential(correlation):
    # 4,000 chains: independent of each other, so that five standard errors mean what they say.
    power = correlated_power(correlation, *innovations((30, 1, 4000)))
    for t in (0, 1, 29):
        drawn = np.sort(power[t, 0])
        assert drawn.mean() == pytest.approx(1, abs=5 / 4000**0.5)
        assert drawn.var() == pytest.approx(1, abs=5 * (8 / 4000) ** 0.5)
        # Kolmogorov and Smirnov's distance: beyond 1.95 / sqrt(n) in one of 1,000 samples
        steps = np.arange(4001) / 4000
        exact = 1 - np.exp(-drawn)
        assert max((exact - steps[:-1]).max(), (steps[1:] - exact).max()) < 1.95 / 4000**0.5


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("lag", [1, 3])
def test_power_gains_correlate_by_the_square(correlation, lag):
    power = correlated_power(correlation, *innovations((20, 1, 20_000)))
    found = np.corrcoef(power[10, 0], power[10 + lag, 0])[0, 1]
    assert found == pytest.approx(correlation ** (2 * lag), abs=0.035)


def test_without_correlation_the_power_gain_is_the_one_drawn():
    power, phase = innovations((5, 2, 3))
    np.testing.assert_allclose(correlated_power(0.0, power, phase), power, rtol=1e-12)


def test_ues_and_environments_fade_apart():
    power = correlated_power(0.9, *innovations((5, 2, 3)))
    for env in range(2):
        for ue in range(3):
            one = (slice(None), slice(env, env + 1), slice(ue, ue + 1))
            alone = correlated_power(0.9, *(drawn[one] for drawn in innovations((5, 2, 3))))
            np.testing.assert_array_equal(alone, power[one])


RINGS = st.tuples(st.floats(0.1, 1e3), st.floats(0, 1e3)).map(lambda ring: (ring[0], sum(ring)))


@settings(deadline=None)
@given(RINGS, st.floats(0, 1), st.integers(0, 2**32))
def test_a_walk_stays_in_bounds_and_gets_no_farther_than_it_is_long(bounds, share, seed):
    longest = share * (bounds[1] - bounds[0])
    start, walk, turn = walks(seed, bounds, longest, (20, 2, 3))
    distance = random_walk(bounds, start, walk, turn)
    rounding = 1e-12 * bounds[1]
    assert distance.shape == (21, 2, 3)
    assert np.array_equal(distance[0], start)
    assert np.all(distance >= bounds[0] - rounding)
    assert np.all(distance <= bounds[1] + rounding)
    assert np.all(np.abs(np.diff(distance, axis=0)) <= walk + rounding)


@pytest.mark.parametrize(
    ("start", "walk", "turn", "expected"),
    [
        (480, 60, 0, 460),  # 540, 40 beyond the outer bound
        (480, 60, np.pi, 420),
        (400, 300, np.pi / 2, 500),  # 3, 4 and 5
        (80, 60, np.pi, 80),  # 20, 30 within the inner bound
        (60, 120, np.pi, 60),  # past the server, and 60 out on the other side
    ],
)
def test_walks_by_hand(start, walk, turn, expected):
    one = np.ones((1, 1, 1))
    distance = random_walk((50, 500), start * one[0], walk * one, turn * one)
    assert distance[:, 0, 0] == pytest.approx([start, expected])


def test_a_random_walk_wanders_off_by_the_root_of_its_steps():
    # Far from any bound E[d^2] = start^2 + T walk^2, as turns are independent.
    shape = (10, 1, 20_000)
    _, _, turn = walks(0, (1, 2), 0, shape)
    start = np.full(shape[1:], 500.0)
    distance = random_walk((1, 1e6), start, np.full(shape, 30.0), turn)
    spread = np.var(distance[-1] ** 2) / 20_000
    assert np.mean(distance[-1] ** 2) == pytest.approx(500**2 + 10 * 30**2, abs=5 * spread**0.5)


def test_ues_that_walk_for_long_spread_over_the_area():
    bounds, shape = (50.0, 500.0), (400, 1, 4000)
    start, _, turn = walks(1, bounds, 0, shape)
    distance = random_walk(bounds, start, np.full(shape, 45.0), turn)
    # Evenly over the area: the square of the distance is uniform, here in tenths.
    share = (distance[-1] ** 2 - 50**2) / (500**2 - 50**2)
    counts, _ = np.histogram(share, bins=10, range=(0, 1))
    assert np.all(np.abs(counts / 400 - 1) < 0.25)


def test_channels_of_an_episode_hold_fading_and_walk():
    scenario = Scenario.of("published-mobile", num_ues=2000, num_tasks=12)
    episode = draw_episode(scenario, streams(0, 1))
    gain = np.log(np.concatenate([episode.first_gain[None], episode.tasks.gain])[:, 0])
    static = draw_episode(Scenario(num_ues=2000, num_tasks=12), streams(0, 1)).tasks.gain[:, 0]
    # Each place's part outlasts the fading's in ten tasks, and both together outweigh it in one.
    near, far = (np.corrcoef(gain[1], gain[1 + lag])[0, 1] for lag in (1, 10))
    alone = np.corrcoef(np.log(static[0]), np.log(static[1]))[0, 1]
    assert near > alone + 0.2
    assert 0.1 < far < near - 0.2
