import pytest
import torch
from small_models import gpt2, llama

from rllib_mec.emulator.adapters import Adapter
from rllib_mec.emulator.distillation import (
    WEIGHT,
    Distillation,
    hidden_difference,
    hidden_state,
)
from rllib_mec.emulator.emulators import COMPRESSIONS, distilled_layers, make_emulator
from rllib_mec.emulator.models import decoder_layers, layers_of
from rllib_mec.emulator.training import Training, language_loss
from rllib_mec.errors import InputError

ADAPTER = Adapter()


@pytest.mark.parametrize("make", [gpt2, llama])
def test_layer_drop_keeps_the_layers_of_the_whole_model(make, sequences):
    whole = make(12)
    emulator = make_emulator(whole, ADAPTER, 0.3)
    assert emulator.kept == (0, 4, 9)  # of ten: 0, 4.5, 9
    assert emulator.retention == 0.3
    layers = layers_of(emulator.model)
    assert len(layers) == 5
    for layer, place in zip(layers[1:4], (1, 5, 10), strict=True):
        pairs = zip(layer.parameters(), layers_of(whole)[place].parameters(), strict=True)
        assert all(new is old for new, old in pairs)
    assert emulator.model.config.num_hidden_layers == 5
    assert whole.config.num_hidden_layers == len(layers_of(whole)) == 12


@pytest.mark.parametrize("make", [gpt2, llama])
def test_an_emulator_is_the_model_whose_middle_layers_are_left_out(make, sequences):
    """Against a model in which those layers do nothing."""
    whole = make(6)
    emulator = make_emulator(whole, ADAPTER, 0.5)
    assert emulator.kept == (0, 3)
    without = make(6)
    parent, name = decoder_layers(without)
    kept = [layer for place, layer in enumerate(layers_of(without)) if place not in (2, 3)]
    setattr(parent, name, torch.nn.ModuleList(kept))
    without.config.num_hidden_layers = 4
    with torch.no_grad():
        assert torch.allclose(
            emulator.model(input_ids=sequences).logits, without(input_ids=sequences).logits
        )


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_retention_of_one_is_the_whole_model(compression, model, sequences):
    emulator = make_emulator(model, ADAPTER, 1.0, compression)
    with torch.no_grad():
        assert torch.equal(
            language_loss(emulator.model, sequences), language_loss(model, sequences)
        )


def test_pruning_keeps_the_largest_weights_of_each_matrix(model):
    before = [weight.clone() for weight in model.parameters()]
    emulator = make_emulator(model, ADAPTER, 0.25, "pruning")
    assert emulator.kept == (0, 1, 2, 3, 4, 5)
    assert emulator.retention == 0.25
    assert len(emulator.pruned) == 6 * 4
    for place in range(1, 7):
        whole = dict(layers_of(model)[place].named_parameters())
        for name, weight in layers_of(emulator.model)[place].named_parameters():
            if weight.ndim < 2:
                assert torch.equal(weight, whole[name])
                continue
            left = weight != 0
            assert int(left.sum()) == weight.numel() // 4
            assert torch.equal(weight[left], whole[name][left])
            assert whole[name][left].abs().min() >= whole[name][~left].abs().max()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))


def test_bytes_to_send_by_hand():
    """GPT-2 of width 16: 3,280 numbers a layer, of which 3,072 in matrices."""
    model = gpt2(8)
    layer = 2 * 32 + (16 * 48 + 48) + (16 * 16 + 16) + (16 * 64 + 64) + (64 * 16 + 16)
    matrices = 16 * 48 + 16 * 16 + 2 * 16 * 64
    rest = 257 * 16 + 16 * 16 + 32  # tokens (sent once, though used twice), places, last norm
    dropped = make_emulator(model, ADAPTER, 0.5)
    assert dropped.frozen_parameters == rest + 3 * layer
    assert dropped.frozen_bytes == 4 * (rest + 3 * layer)
    pruned = make_emulator(model, ADAPTER, 0.5, "pruning")
    numbers = rest + 6 * (layer - matrices // 2)
    assert pruned.frozen_parameters == numbers
    assert pruned.frozen_bytes == 4 * numbers + 6 * matrices // 8
    lora = make_emulator(model, Adapter("lora"), 0.5)
    assert lora.frozen_parameters == rest + 5 * layer  # the ends stay as they are, and are sent


def difference(student, teacher, sequences):
    with torch.no_grad(), hidden_state(student, 1) as mine, hidden_state(teacher, 1) as aim:
        student(input_ids=sequences)
        teacher(input_ids=sequences)
    return float(hidden_difference(mine[0], aim[0]))


@pytest.mark.parametrize("adapter", [Adapter(), Adapter("lora")], ids=lambda a: a.kind)
def test_distillation_brings_an_emulator_nearer_to_the_whole_model(adapter, model, sequences):
    before = [weight.clone() for weight in model.parameters()]
    distillation = Distillation(sequences, Training(30, 8, 1e-3))
    layers = distilled_layers(model, adapter, 0.5, distillation)
    distilled = make_emulator(model, adapter, 0.5, "distillation", layers)
    dropped = make_emulator(model, adapter, 0.5)
    near = difference(distilled.model, model, sequences)
    assert near < 0.7 * difference(dropped.model, model, sequences)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))
    # The adapter's layers and the rest are not trained.
    assert torch.equal(layers_of(distilled.model)[0].ln_1.weight, layers_of(model)[0].ln_1.weight)
    again = distilled_layers(model, adapter, 0.5, distillation)
    assert all(torch.equal(again[name], layers[name]) for name in layers)


def test_the_difference_of_hidden_states_by_hand():
    student, teacher = torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 4.0]])
    # Squares 4 and 16, mean 10; in units of the mean square 12.5.
    assert float(hidden_difference(student, teacher)) == pytest.approx(0.8)
    assert WEIGHT == 30


def test_a_compression_that_cannot_be_is_refused(model):
    with pytest.raises(InputError, match="compression = 'quantised': expected one of layer_drop"):
        make_emulator(model, ADAPTER, 0.5, "quantised")
    with pytest.raises(InputError, match="expected the distilled layers"):
        make_emulator(model, ADAPTER, 0.5, "distillation")
    with pytest.raises(InputError, match=r"retention = 0\.1: expected at least 0.333333"):
        make_emulator(model, ADAPTER, 0.1)
    with pytest.raises(InputError, match="adapter_layers = 4: expected at most 3"):
        make_emulator(model, Adapter(layers=4), 0.5)
