"""The weighted average, on cases computed by hand."""

import pytest
import torch

from rllib_mec.emulator.adapters import to_bytes
from rllib_mec.errors import InputError
from rllib_mec.federated.aggregation import aggregate
from rllib_mec.federated.tuning import Update
from rllib_mec.federated.updates import Guard, difference

WEIGHTS = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([[0.0]])}
OFF = Guard()


def update(client, sequences, a, b):
    state = {"a": torch.tensor(a), "b": torch.tensor([[b]])}
    return Update(client, sequences, to_bytes(state))


def average(updates, guard=OFF, seed=0, weights=WEIGHTS):
    found = [difference(each, weights, guard) for each in updates]
    return aggregate(weights, found, guard, seed)


def test_weights_are_the_clients_sequences():
    new = average([update(0, 1, [2.0, 2.0], 4.0), update(1, 3, [1.0, 6.0], 0.0)])
    assert new["a"].tolist() == [1.25, 5.0]  # (2 + 3 x 1) / 4, (2 + 3 x 6) / 4
    assert new["b"].tolist() == [[1.0]]
    assert new["a"].dtype == torch.float32


def test_a_single_client_is_the_average():
    new = average([update(4, 7, [0.1, -3.3], 1e-9)])
    assert torch.equal(new["a"], torch.tensor([0.1, -3.3]))
    assert torch.equal(new["b"], torch.tensor([[1e-9]]))


def test_the_order_of_arrival_does_not_matter():
    torch.manual_seed(0)
    numbers = torch.randn(5, 3).tolist()
    updates = [update(i, i + 1, row[:2], row[2]) for i, row in enumerate(numbers)]
    for one, other in zip(average(updates).values(), average(updates[::-1]).values(), strict=True):
        assert torch.equal(one, other)


def test_clipping_scales_the_whole_difference_down():
    # The difference is (3, 4, 0), of norm 5; half of it is left.
    new = average([update(0, 1, [4.0, 6.0], 0.0)], Guard(clip_norm=2.5))
    assert new["a"].tolist() == [2.5, 4.0]
    # One that is short enough stays.
    new = average([update(0, 1, [4.0, 6.0], 0.0)], Guard(clip_norm=5.5))
    assert new["a"].tolist() == [4.0, 6.0]


def test_noise_has_the_deviation_that_is_documented():
    weights = {"a": torch.zeros(40_000)}
    updates = [
        Update(client, count, to_bytes({"a": torch.zeros(40_000)}))
        for client, count in enumerate((1, 3))
    ]
    guard = Guard(clip_norm=2.0, noise=0.5)
    new = average(updates, guard, 1, weights)["a"]
    assert float(new.std()) == pytest.approx(0.5 * 2.0 * 0.75, rel=0.02)
    assert abs(float(new.mean())) < 0.02
    assert torch.equal(new, average(updates, guard, 1, weights)["a"])
    assert not torch.equal(new, average(updates, guard, 2, weights)["a"])


def test_nothing_has_no_average():
    with pytest.raises(InputError, match="updates: expected at least one"):
        aggregate(WEIGHTS, [], OFF, 0)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"a": torch.tensor([1.0, float("nan")])}, "update weights a: expected finite numbers"),
        ({"a": torch.tensor([1.0, float("inf")])}, "update weights a: expected finite numbers"),
        ({"a": torch.zeros(3)}, r"update weights a: shape \[3\]: expected \[2\]"),
        ({"a": torch.zeros(1, 2)}, r"update weights a: shape \[1, 2\]: expected \[2\]"),
        ({"c": torch.zeros(1)}, "update: unknown weights c"),
        ({"a": torch.tensor([1.0, 1e9])}, r"update: norm 1e\+09: expected at most 10"),
    ],
)
def test_poison_is_refused(state, words):
    payload = to_bytes({**WEIGHTS, **state})
    with pytest.raises(InputError, match=words):
        difference(Update(0, 1, payload), WEIGHTS, Guard(max_norm=10))


def test_missing_weights_other_bytes_and_no_data_are_refused():
    with pytest.raises(InputError, match="update: expected weights b"):
        difference(Update(0, 1, to_bytes({"a": WEIGHTS["a"]})), WEIGHTS, OFF)
    with pytest.raises(InputError, match="adapter of 6 bytes: not safetensors"):
        difference(Update(0, 1, b"poison"), WEIGHTS, OFF)
    for sequences in (0, -3, 0.5):
        with pytest.raises(InputError, match="expected a whole number, at least 1"):
            difference(Update(0, sequences, to_bytes(WEIGHTS)), WEIGHTS, OFF)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"max_norm": 0.0}, "max_norm = 0: expected a positive number"),
        ({"clip_norm": float("nan")}, "clip_norm = nan: expected a positive number"),
        ({"noise": -1.0, "clip_norm": 1.0}, "noise = -1: expected a number, 0 or more"),
        ({"noise": 1.0}, "noise = 1: expected a clip_norm"),
    ],
)
def test_limits_that_make_no_sense(limits, words):
    with pytest.raises(InputError, match=words):
        Guard(**limits)
