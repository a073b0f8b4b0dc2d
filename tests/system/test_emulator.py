"""The three readings of the action of ``emulator_config``."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_mec.system import Scenario
from rllib_mec.system.emulator import NOTHING_CACHED, read_retention

RETENTION = Scenario()
LAYERS = Scenario(emulator_action="layers")
KEEP = Scenario(emulator_action="keep_or_retention")


def read(scenario, retention, cached, keep=None):
    keep = None if keep is None else np.array([keep])
    return read_retention(scenario, np.array([retention]), keep, np.array([cached]))[0].tolist()


def test_retention_is_taken_as_it_is():
    assert read(RETENTION, [0.2, 0.512345, 0.8], [0.5, 0.5, 0.0]) == [0.2, 0.512345, 0.8]


def test_layers_are_whole_and_within_bounds():
    # 0.2 * 32 = 6.4 and 0.8 * 32 = 25.6 round to 6 and 26, which lie outside [0.2, 0.8]
    taken = read(LAYERS, [0.2, 0.5, 0.52, 0.8], [0.0] * 4)
    assert taken == [7 / 32, 16 / 32, 17 / 32, 25 / 32]


def test_layers_hold_without_hitting_the_same_number():
    [first] = read(LAYERS, [0.501], [0.0])
    [second] = read(LAYERS, [0.499], [first])
    assert first == second == 0.5


def test_keep_keeps_what_is_cached_and_else_takes_the_retention():
    taken = read(KEEP, [0.3, 0.3, 0.3], [0.7, 0.7, NOTHING_CACHED], [True, False, True])
    assert taken == [0.7, 0.3, 0.3]


@pytest.mark.parametrize(
    ("retention", "layers", "bounds"),
    [
        ((0.2, 0.8), 32, (7, 25)),
        ((0.25, 0.75), 32, (8, 24)),
        # In floating point 0.07 * 100 is a bit more than 7 and 0.29 * 100 a bit less than 29.
        ((0.07, 0.29), 100, (7, 29)),
        ((0.1, 0.7), 10, (1, 7)),
        ((1.0, 1.0), 5, (5, 5)),
    ],
)
def test_layer_bounds(retention, layers, bounds):
    assert Scenario(retention=retention, num_layers=layers).layer_bounds == bounds


@settings(deadline=None, max_examples=50)
@given(st.floats(0.2, 0.8), st.integers(2, 96))
def test_layers_are_at_most_a_layer_away_and_stable(retention, num_layers):
    scenario = Scenario(emulator_action="layers", num_layers=num_layers)
    [taken] = read(scenario, [retention], [0.0])
    assert 0.2 - 1e-9 <= taken <= 0.8 + 1e-9
    assert abs(taken - retention) < 1 / num_layers
    assert read(scenario, [taken], [0.0]) == [taken]
