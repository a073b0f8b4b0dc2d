import math

import pytest
import torch
from small_models import gpt2, llama
from transformers import PreTrainedModel

from rllib_mec.emulator.adapters import (
    Adapter,
    adapter_state,
    attach,
    from_bytes,
    plug_in,
    to_bytes,
)
from rllib_mec.emulator.emulators import make_emulator
from rllib_mec.emulator.models import layers_of
from rllib_mec.emulator.training import Trainer, Training, language_loss
from rllib_mec.errors import InputError

ADAPTERS = [Adapter("layers", 1), Adapter("layers", 2), Adapter("lora", 1, rank=3)]


def tuned(whole, adapter, sequences, retention=0.5):
    """An emulator that has taken some steps."""
    emulator = make_emulator(whole, adapter, retention)
    Trainer(emulator.model, emulator.trainable, Training(5, 8, 1e-2), seed=0).run(sequences)
    return emulator


def weights_of(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


@pytest.mark.parametrize("make", [gpt2, llama])
@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda a: f"{a.kind}-{a.layers}")
def test_tuning_changes_nothing_but_the_adapter(make, adapter, sequences):
    whole = make(8)
    before = weights_of(whole)
    emulator = make_emulator(whole, adapter, 0.5)
    frozen = [weight.clone() for weight in emulator.frozen]
    first = adapter_state(emulator.model, adapter)
    Trainer(emulator.model, emulator.trainable, Training(5, 8, 1e-2), seed=0).run(sequences)
    for name, weight in whole.named_parameters():
        assert torch.equal(weight, before[name]), name
    for weight, old in zip(emulator.frozen, frozen, strict=True):
        assert torch.equal(weight, old)
    after = adapter_state(emulator.model, adapter)
    assert all(not torch.equal(after[name], first[name]) for name in after)


@pytest.mark.parametrize("make", [gpt2, llama])
@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda a: f"{a.kind}-{a.layers}")
def test_plugging_in_puts_the_adapters_weights_into_the_whole_model(make, adapter, sequences):
    whole = make(8)
    state = adapter_state(tuned(whole, adapter, sequences).model, adapter)
    plugged = plug_in(whole, adapter, from_bytes(to_bytes(state)))
    found = adapter_state(plugged, adapter)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)
    # All the rest is the whole model's, the middle layers in their places.
    own = {id(weight) for weight in plugged.parameters() if weight.requires_grad}
    rest = [weight for weight in plugged.parameters() if id(weight) not in own]
    of_whole = {id(weight) for weight in whole.parameters()}
    assert {id(weight) for weight in rest} <= of_whole
    assert len(layers_of(plugged)) == len(layers_of(whole))
    for place in range(adapter.layers, 8 - adapter.layers):
        pairs = zip(
            layers_of(plugged)[place].parameters(),
            layers_of(whole)[place].parameters(),
            strict=True,
        )
        assert all(new is old for new, old in pairs)


def test_a_plugged_in_adapter_of_the_whole_model_is_the_tuned_model(model, sequences):
    adapter = Adapter()
    emulator = tuned(model, adapter, sequences, retention=1.0)
    plugged = plug_in(model, adapter, adapter_state(emulator.model, adapter))
    with torch.no_grad():
        assert torch.equal(
            language_loss(plugged, sequences), language_loss(emulator.model, sequences)
        )


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda a: f"{a.kind}-{a.layers}")
def test_only_the_adapters_bytes_travel(adapter, model, sequences):
    state = adapter_state(tuned(model, adapter, sequences).model, adapter)
    assert {name.partition(".")[0] for name in state} == {"first", "last"}
    if adapter.kind == "layers":
        layer = sum(weight.numel() for weight in layers_of(model)[0].parameters())
        numbers = 2 * adapter.layers * layer
    else:  # two matrices on GPT-2's attention, 16 to 48, of each of two layers
        numbers = 2 * (16 * 3 + 3 * 48)
    assert sum(weight.numel() for weight in state.values()) == numbers
    travels = to_bytes(state)
    header = 8 + int.from_bytes(travels[:8], "little")
    assert len(travels) == header + 4 * numbers
    assert header < 200 * len(state)


def test_the_same_seed_attaches_the_same_lora(model):
    adapter = Adapter("lora")
    states = []
    for seed in (1, 1, 2):
        copy = gpt2(8)
        attach(copy, adapter, seed)
        states.append(adapter_state(copy, adapter))
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_lora_changes_nothing_before_it_is_tuned(model, sequences):
    with torch.no_grad():
        before = language_loss(model, sequences)
        emulator = make_emulator(model, Adapter("lora"), 1.0)
        assert torch.equal(language_loss(emulator.model, sequences), before)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("first.0.ln_1.bias"), "adapter: expected weights first.0.ln_1.bias"),
        (lambda s: s.update(more=torch.ones(2)), "adapter: unknown weights more"),
        (
            lambda s: s.update({"last.0.ln_2.bias": torch.ones(3)}),
            r"last.0.ln_2.bias: shape \[3\]: expected \[16\]",
        ),
        (
            lambda s: s["first.0.ln_1.weight"].fill_(math.nan),
            "first.0.ln_1.weight: expected finite",
        ),
    ],
    ids=["missing", "unknown", "shape", "nan"],
)
def test_an_adapter_that_does_not_fit_is_refused(change, words, model, sequences):
    adapter = Adapter()
    before = weights_of(model)
    state = adapter_state(tuned(model, adapter, sequences).model, adapter)
    change(state)
    with pytest.raises(InputError, match=words):
        plug_in(model, adapter, state)
    assert all(torch.equal(weight, before[name]) for name, weight in model.named_parameters())


def test_bytes_of_something_else_are_refused():
    with pytest.raises(InputError, match="adapter of 5 bytes: not safetensors"):
        from_bytes(b"hello")


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"kind": "prefix"}, "adapter = 'prefix': expected one of layers, lora"),
        ({"layers": 0}, "adapter_layers = 0: expected at least 1"),
        ({"rank": 0}, "adapter_rank = 0: expected at least 1"),
    ],
)
def test_an_adapter_that_cannot_be_is_refused(kwargs, words):
    with pytest.raises(InputError, match=words):
        Adapter(**kwargs)
