"""Adapters: the small trainable part of a model, the only one that travels after tuning.

Two kinds, both in the first and last A decoder layers: ``layers``, which are those layers
themselves (Offsite-Tuning, arXiv 2302.04870), and ``lora``, low-rank matrices on their
projections (arXiv 2106.09685, by the library peft), while the layers stay as they are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import safetensors.torch
import torch
from torch import nn
from transformers import PreTrainedModel

from rllib_mec.emulator.layers import middle_layers
from rllib_mec.emulator.models import layers_of, with_layers
from rllib_mec.errors import InputError

KINDS = ("layers", "lora")

State = dict[str, torch.Tensor]
"""An adapter's weights by names such as "first.0.mlp.c_fc.weight", "last.1.attn.c_attn.bias"."""


@dataclasses.dataclass(frozen=True)
class Adapter:
    """What an adapter is made of.

    kind: ``layers`` or ``lora``.
    layers: A, decoder layers at either end.
    rank: of LoRA's matrices; they are scaled by 2 (alpha is twice the rank).
    """

    kind: str = "layers"
    layers: int = 1
    rank: int = 8

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"adapter = {self.kind!r}: expected one of {', '.join(KINDS)}")
        for name in ("layers", "rank"):
            value = getattr(self, name)
            if value < 1:
                raise InputError(f"adapter_{name} = {value}: expected at least 1")

    def places(self, num_layers: int) -> tuple[int, ...]:
        """Returns the places of its decoder layers in a model of ``num_layers``."""
        return (*range(self.layers), *range(num_layers - self.layers, num_layers))

    def middle(self, model: nn.Module) -> range:
        """Returns the places of a model's middle layers.

        Raises:
            InputError: there are fewer than two.
        """
        count = middle_layers(len(layers_of(model)), self.layers)
        return range(self.layers, self.layers + count)


def attach(model: PreTrainedModel, adapter: Adapter, seed: int = 0) -> list[nn.Parameter]:
    """Freezes a model but for its adapter, which is put in place if it is LoRA.

    Args:
        seed: of LoRA's first matrices; the second ones are 0, so that nothing changes at first.

    Returns:
        What is trainable.
    """
    model.requires_grad_(False)
    if adapter.kind == "lora":
        _inject(model, adapter, seed)
    else:
        for _, layer in _ends(model, adapter):
            layer.requires_grad_(True)
    return [weight for weight in model.parameters() if weight.requires_grad]


def _inject(model: PreTrainedModel, adapter: Adapter, seed: int) -> None:
    from peft import LoraConfig, inject_adapter_in_model
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
    from transformers.pytorch_utils import Conv1D

    usual = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING.get(model.config.model_type)
    names = {module: name for name, module in model.named_modules()}
    targets, transposed = [], False
    for _, layer in _ends(model, adapter):
        for name, module in layer.named_modules():
            # A model that peft has no habit for gets LoRA on all its projections.
            if isinstance(module, nn.Linear | Conv1D) and (
                usual is None or name.rpartition(".")[2] in usual
            ):
                targets.append(names[module])
                transposed |= isinstance(module, Conv1D)
    if not targets:
        raise InputError(
            f"adapter = 'lora': expected projections in the layers of a {model.config.model_type} "
            "model, and found none (adapter 'layers' takes any model)"
        )
    config = LoraConfig(
        r=adapter.rank,
        lora_alpha=2 * adapter.rank,
        target_modules=targets,
        fan_in_fan_out=transposed,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model)


def _ends(model: nn.Module, adapter: Adapter) -> Iterator[tuple[str, nn.Module]]:
    """The adapter's layers with their names in a state."""
    layers = layers_of(model)
    for i in range(adapter.layers):
        yield f"first.{i}", layers[i]
    for i in range(adapter.layers):
        yield f"last.{i}", layers[len(layers) - adapter.layers + i]


def adapter_weights(model: nn.Module, adapter: Adapter) -> dict[str, nn.Parameter]:
    """Returns the weights of an attached adapter by their names in a :data:`State`."""
    return {
        f"{end}.{name}": weight
        for end, layer in _ends(model, adapter)
        for name, weight in layer.named_parameters()
        if weight.requires_grad
    }


def adapter_state(model: nn.Module, adapter: Adapter) -> State:
    """Returns a copy of an attached adapter's weights, on the CPU."""
    return {
        name: weight.detach().cpu().clone()
        for name, weight in adapter_weights(model, adapter).items()
    }


def to_bytes(state: State) -> bytes:
    """Returns what travels: the adapter's weights as a safetensors file."""
    return safetensors.torch.save({name: each.contiguous() for name, each in state.items()})


def from_bytes(data: bytes) -> State:
    """Returns the weights of :func:`to_bytes`.

    Raises:
        InputError: these are other bytes.
    """
    try:
        return safetensors.torch.load(data)
    except Exception as error:  # safetensors has no public class of its errors
        raise InputError(f"adapter of {len(data)} bytes: not safetensors: {error}") from None


def load_state(model: PreTrainedModel, adapter: Adapter, state: Mapping[str, torch.Tensor]) -> None:
    """Sets the weights of an attached adapter.

    Raises:
        InputError: as :func:`check_state`; nothing has been set then.
    """
    weights = adapter_weights(model, adapter)
    check_state(weights, state)
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(state[name])


def check_state(
    expected: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor], what: str = "adapter"
) -> None:
    """Refuses weights that cannot take the place of the expected ones.

    Args:
        what: they are the weights of.

    Raises:
        InputError: names the first weight that is missing, unknown, of another shape or not finite.
    """
    for name in sorted(expected.keys() | state.keys()):
        if name not in state:
            raise InputError(f"{what}: expected weights {name}")
        if name not in expected:
            raise InputError(f"{what}: unknown weights {name}")
        if state[name].shape != expected[name].shape:
            raise InputError(
                f"{what} weights {name}: shape {list(state[name].shape)}: expected "
                f"{list(expected[name].shape)}"
            )
        if not torch.isfinite(state[name]).all():
            raise InputError(f"{what} weights {name}: expected finite numbers")


def plug_in(
    whole: PreTrainedModel, adapter: Adapter, state: Mapping[str, torch.Tensor]
) -> PreTrainedModel:
    """Returns the whole model with a tuned adapter in the place of its own.

    All other weights are shared with ``whole``, which stays as it is.

    Raises:
        InputError: the adapter does not fit.
    """
    model = with_own_adapter(whole, adapter, range(len(layers_of(whole))))
    load_state(model, adapter, state)
    return model


def with_own_adapter(
    whole: PreTrainedModel, adapter: Adapter, keep: range | tuple[int, ...], seed: int = 0
) -> PreTrainedModel:
    """Returns a model of some of the whole one's layers, with an attached adapter of its own."""
    own = adapter.places(len(layers_of(whole))) if adapter.kind == "layers" else ()
    model = with_layers(whole, list(keep), own)
    attach(model, adapter, seed)
    return model
