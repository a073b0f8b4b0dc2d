import gc

import pytest
import torch
from small_models import gpt2

from rllib_mec.emulator.adapters import Adapter
from rllib_mec.emulator.costs import step_costs
from rllib_mec.emulator.emulators import make_emulator


def test_operations_of_a_step_by_hand(model, sequences):
    """All weights are trained: forward, and the gradients of inputs and weights."""
    weights = list(model.parameters())
    costs = step_costs(model, weights, sequences[:8])
    a_layer = 2 * (16 * 48 + 16 * 16 + 2 * 16 * 64)
    head = 2 * 16 * 257
    attention = 2 * 2 * 16 * 16  # queries by keys, weights by values: 16 places of width 16
    forward = 8 * (a_layer + attention) + head
    # Every product has two more of its size backward, but for the inputs of the first layer.
    assert costs.flops_per_token == 3 * forward


def test_an_adapter_at_both_ends_needs_no_gradients_of_what_is_frozen(model, sequences):
    emulator = make_emulator(model, Adapter(), 1.0)
    costs = step_costs(emulator.model, emulator.trainable, sequences[:8])
    a_layer = 2 * (16 * 48 + 16 * 16 + 2 * 16 * 64)
    head, attention = 2 * 16 * 257, 2 * 2 * 16 * 16
    trained, frozen = 2 * 3 * a_layer, 6 * 2 * a_layer
    assert costs.flops_per_token == trained + frozen + 8 * 3 * attention + 2 * head


def test_smaller_emulators_cost_less(model, sequences):
    costs = []
    for retention in (0.34, 0.67, 1.0):
        emulator = make_emulator(model, Adapter(), retention)
        costs.append(step_costs(emulator.model, emulator.trainable, sequences[:8]))
        assert all(weight.grad is None for weight in emulator.trainable)
    flops = [each.flops_per_token for each in costs]
    memory = [each.memory_bytes for each in costs]
    assert flops == sorted(flops)
    assert memory == sorted(memory)
    assert len(set(flops)) == len(set(memory)) == 3


def test_memory_holds_weights_gradients_and_moments_and_grows_with_the_batch(sequences):
    model = gpt2(4)
    weights = list(model.parameters())
    numbers = sum(weight.numel() for weight in weights)
    one, two, four = (
        step_costs(model, weights, sequences[:batch]).memory_bytes for batch in (1, 2, 4)
    )
    assert one > 4 * 4 * numbers
    # What is kept for the backward pass is in proportion to the batch.
    assert four - two == pytest.approx(2 * (two - one), rel=0.01)


def test_weights_stay_as_they_are(model, sequences):
    before = [weight.clone() for weight in model.parameters()]
    step_costs(model, list(model.parameters()), sequences[:2])
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))


def test_nothing_stays_behind(model, sequences):
    def tensors():
        gc.collect()
        return sum(type(each) is torch.Tensor for each in gc.get_objects())

    weights = list(model.parameters())
    step_costs(model, weights, sequences[:4])
    before = tensors()
    step_costs(model, weights, sequences[:4])
    assert tensors() == before
