"""Random draws of an episode: their laws, their order, and what a stream depends on."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_mec.errors import InputError
from rllib_mec.system import Scenario
from rllib_mec.system.tasks import Tasks, draw_episode, streams

NAMES = [field.name for field in dataclasses.fields(Tasks)[:4]]
SMALL = Scenario(num_ues=3, num_tasks=4)
VARYING = dataclasses.replace(SMALL, fading_correlation=0.9, walk_m=(30.0, 60.0))


@settings(deadline=None, max_examples=20)
@given(
    st.sampled_from([SMALL, VARYING]),
    st.integers(0, 2**32),
    st.integers(1, 5),
    st.integers(1, 5),
)
def test_stream_k_does_not_depend_on_the_size_of_the_batch(scenario, seed, one, other):
    first = draw_episode(scenario, streams(seed, one))
    second = draw_episode(scenario, streams(seed, other))
    common = min(one, other)
    assert np.array_equal(first.first_gain[:common], second.first_gain[:common])
    for name in NAMES:
        a, b = getattr(first.tasks, name), getattr(second.tasks, name)
        assert np.array_equal(a[:, :common], b[:, :common])


def test_environments_seeds_and_episodes_differ():
    rngs = streams(0, 2)
    first, second = draw_episode(SMALL, rngs), draw_episode(SMALL, rngs)
    other = draw_episode(SMALL, streams(1, 2))
    assert not np.any(first.tasks.data_mb[:, 0] == first.tasks.data_mb[:, 1])
    assert not np.any(first.tasks.data_mb == second.tasks.data_mb)
    assert not np.any(first.tasks.data_mb == other.tasks.data_mb)


def test_a_seed_sequence_is_a_seed():
    by_number = draw_episode(SMALL, streams(5, 2))
    by_sequence = draw_episode(SMALL, streams(np.random.SeedSequence(5), 2))
    child = draw_episode(SMALL, streams(np.random.SeedSequence(5).spawn(1)[0], 2))
    assert np.array_equal(by_number.tasks.gain, by_sequence.tasks.gain)
    assert not np.any(by_number.tasks.gain == child.tasks.gain)


def test_shapes():
    episode = draw_episode(SMALL, streams(0, 2))
    assert episode.first_gain.shape == (2, 3)
    # One row more than tasks: the last observation shows the task that is never carried out.
    assert {getattr(episode.tasks, name).shape for name in NAMES} == {(5, 2, 3)}
    assert episode.task(4).gain.shape == (2, 3)


def test_draws_are_uniform_in_the_scenario_s_ranges():
    episode = draw_episode(Scenario(num_ues=50, num_tasks=400), streams(0, 1))
    for name, (low, high) in (
        ("data_mb", (300, 500)),
        ("power_w", (0.2, 1.0)),
        ("complexity", (10, 30)),
    ):
        draws = getattr(episode.tasks, name)
        assert low <= draws.min() < draws.max() <= high
        # 20,050 draws: five standard errors of the mean, (high - low) / sqrt(12 * 20050)
        assert draws.mean() == pytest.approx((low + high) / 2, abs=5 * (high - low) / 490)


def test_rayleigh_fading_is_exponential_about_the_path_gain():
    scenario = Scenario(num_ues=1, num_tasks=20_000, distance_m=[100, 100])
    fading = draw_episode(scenario, streams(0, 1)).tasks.gain[:, 0, 0] / 1e-7
    assert fading.mean() == pytest.approx(1, abs=5 / 141)
    assert fading.var() == pytest.approx(1, abs=5 * 8**0.5 / 141)
    # Median of Exp(1)
    assert np.median(fading) == pytest.approx(0.693, abs=5 / 141)


def test_a_ue_stays_where_it_is_for_an_episode():
    scenario = Scenario(num_ues=4, fading="none")
    rngs = streams(0, 1)
    first, second = draw_episode(scenario, rngs), draw_episode(scenario, rngs)
    gain = first.tasks.gain[:, 0]
    assert np.array_equal(gain, np.broadcast_to(first.first_gain, gain.shape))
    # 1e-3 * d^-2 for d in [50, 500] m, and new places in the next episode
    assert np.all((gain >= 4e-9 * (1 - 1e-12)) & (gain <= 4e-7 * (1 + 1e-12)))
    assert not np.any(second.first_gain == first.first_gain)


def test_static_draws_are_these_in_this_order():
    """The streams of published episodes, to the last bit."""
    rngs = streams(5, 2)
    for _ in range(2):
        episode = draw_episode(SMALL, rngs)
    own = np.random.Generator(np.random.PCG64(np.random.SeedSequence(5, spawn_key=(1,))))
    for _ in range(2):
        distance = own.uniform(50, 500, 3)
        gain = 10**-3.0 * distance**-2.0 * own.exponential(size=(6, 3))
        complexity = own.uniform(10, 30, (5, 3))
        data_mb = own.uniform(300, 500, (5, 3))
        power_w = own.uniform(0.2, 1.0, (5, 3))
    assert np.array_equal(episode.first_gain[1], gain[0])
    for name, drawn in zip(NAMES, (gain[1:], complexity, data_mb, power_w), strict=True):
        assert np.array_equal(getattr(episode.tasks, name)[:, 1], drawn)


def test_one_seed_gives_the_same_places_and_tasks_whatever_varies():
    static, varying = (draw_episode(s, streams(5, 2)) for s in (SMALL, VARYING))
    for name in NAMES[1:]:
        assert np.array_equal(getattr(static.tasks, name), getattr(varying.tasks, name))
    np.testing.assert_allclose(varying.first_gain, static.first_gain, rtol=1e-12)
    assert not np.any(np.isclose(static.tasks.gain, varying.tasks.gain, atol=0))


def test_a_walk_begins_after_the_first_task_where_a_static_ue_would_stand():
    static = Scenario(num_ues=4, fading="none")
    walking = dataclasses.replace(static, walk_m=(30.0, 60.0))
    place = draw_episode(static, streams(0, 3)).first_gain
    episode = draw_episode(walking, streams(0, 3))
    assert np.array_equal(episode.first_gain, place)
    assert np.array_equal(episode.tasks.gain[0], place)
    assert not np.any(episode.tasks.gain[1] == place)


def test_no_environment_is_refused():
    with pytest.raises(InputError, match=r"num_envs = 0: expected a whole number >= 1"):
        draw_episode(SMALL, [])
