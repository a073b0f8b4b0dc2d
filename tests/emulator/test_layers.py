import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rllib_mec.emulator.layers import (
    check_distinct,
    choose_layers,
    default_retentions,
    kept_layers,
    middle_layers,
)
from rllib_mec.errors import InputError


@pytest.mark.parametrize(
    ("kept", "places"),
    [
        (20, tuple(range(20))),
        # i 19 / 9: 0, 2.1, 4.2, 6.3, 8.4, 10.6, 12.7, 14.8, 16.9, 19
        (10, (0, 2, 4, 6, 8, 11, 13, 15, 17, 19)),
        # 9.5 is as far from 9 as from 10, which is even.
        (3, (0, 10, 19)),
        (2, (0, 19)),
    ],
)
def test_of_24_layers_with_an_adapter_of_two_at_either_end(kept, places):
    assert middle_layers(24, 2) == 20
    assert choose_layers(20, kept) == places


@given(st.integers(2, 60).flatmap(lambda m: st.tuples(st.just(m), st.integers(2, m))))
def test_layers_are_spread_from_the_first_to_the_last(sizes):
    middle, kept = sizes
    places = choose_layers(middle, kept)
    assert len(set(places)) == kept
    assert list(places) == sorted(places)
    assert (places[0], places[-1]) == (0, middle - 1)
    gaps = [b - a for a, b in itertools.pairwise(places)]
    assert max(gaps) - min(gaps) <= 1 + (middle - 1) % (kept - 1)  # evenly


@given(st.integers(2, 60), st.integers(2, 12))
def test_default_retentions_are_whole_numbers_of_layers(middle, at_most):
    retentions = default_retentions(middle, at_most)
    kept = [kept_layers(middle, retention) for retention in retentions]
    assert kept == sorted(set(kept))
    assert kept[-1] == middle
    assert [retention * middle for retention in retentions] == pytest.approx(kept)
    if middle > 2:
        assert kept[0] == 2
        assert len(kept) == min(at_most, middle - 1)


@pytest.mark.parametrize(
    ("retention", "words"),
    [
        (0.0, r"retention = 0: expected a share of layers, in \(0, 1\]"),
        (1.2, "retention = 1.2"),
        (-0.5, "retention = -0.5"),
        (float("nan"), "retention = nan"),
        (0.1, "retention = 0.1: expected at least 0.2, 2 of 10 middle layers"),
    ],
)
def test_a_retention_out_of_range_is_refused(retention, words):
    with pytest.raises(InputError, match=words):
        kept_layers(10, retention)


def test_a_number_of_layers_out_of_range_is_refused():
    for kept in (1, 21):
        with pytest.raises(InputError, match=f"kept layers = {kept}: expected 2 to 20"):
            choose_layers(20, kept)


def test_a_model_without_enough_layers_is_refused():
    with pytest.raises(InputError, match=r"adapter_layers = 2: expected at most 1, .* model's 5"):
        middle_layers(5, 2)
    with pytest.raises(InputError, match="the model has 3 layers: expected at least 4"):
        middle_layers(3, 1)


def test_retentions_that_keep_the_same_layers_are_refused():
    with pytest.raises(InputError, match=r"retentions = 0\.5, 0\.52: .* both keep 5 of 10"):
        check_distinct(10, [0.2, 0.5, 0.52])
    check_distinct(10, [0.2, 0.5, 1.0])
