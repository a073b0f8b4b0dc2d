"""Emulators: compressed, frozen copies of a foundation model, with room for an adapter.

Three ways to compress the M middle layers; E is the retention:

* ``layer_drop`` keeps k = E M of them, evenly spread (:mod:`rllib_mec.emulator.layers`);
* ``distillation`` does the same, and trains those kept to do what all of them did
  (:mod:`rllib_mec.emulator.distillation`);
* ``pruning`` keeps all, and of each of their weight matrices the share E of largest magnitude.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.utils import prune
from transformers import PreTrainedModel

from rllib_mec.emulator.adapters import Adapter, attach
from rllib_mec.emulator.distillation import Distillation, distil
from rllib_mec.emulator.layers import choose_layers, kept_layers
from rllib_mec.emulator.models import layers_of, with_layers
from rllib_mec.errors import InputError

COMPRESSIONS = ("layer_drop", "distillation", "pruning")


@dataclasses.dataclass(frozen=True)
class Emulator:
    """A compressed model with an attached adapter of its own, ready to be tuned.

    model: its frozen weights are shared with the foundation model where they are the same.
    adapter: what is trainable in it; trainable: those weights.
    kept: places, among the middle layers, of those that it has.
    retention: E, the share of the middle layers, with ``pruning`` of their matrices, that it has.
    pruned: the matrices with zeros.
    """

    model: PreTrainedModel
    adapter: Adapter
    trainable: list[nn.Parameter]
    kept: tuple[int, ...]
    retention: float
    pruned: list[nn.Parameter] = dataclasses.field(default_factory=list)

    @property
    def frozen(self) -> list[nn.Parameter]:
        """The weights that are sent once, with the emulator."""
        return [weight for weight in self.model.parameters() if not weight.requires_grad]

    @property
    def frozen_parameters(self) -> int:
        """Frozen weights, without those that are pruned away."""
        zeros = sum(weight.numel() - int(weight.count_nonzero()) for weight in self.pruned)
        return sum(weight.numel() for weight in self.frozen) - zeros

    @property
    def frozen_bytes(self) -> int:
        """Bytes to send: of each weight, and of a pruned matrix those left and a bit per place."""
        pruned = {id(weight) for weight in self.pruned}
        total = 0
        for weight in self.frozen:
            sent, mask = weight.numel(), 0
            if id(weight) in pruned:
                sent, mask = int(weight.count_nonzero()), math.ceil(weight.numel() / 8)
            total += sent * weight.element_size() + mask
        return total


def make_emulator(
    whole: PreTrainedModel,
    adapter: Adapter,
    retention: float,
    compression: str = "layer_drop",
    distilled: Mapping[str, torch.Tensor] | None = None,
    seed: int = 0,
) -> Emulator:
    """Compresses a model; ``whole`` stays as it is, and shares its weights.

    Args:
        retention: E, in (0, 1]; 1 is the whole model, whatever the compression.
        compression: one of COMPRESSIONS.
        distilled: what :func:`distilled_layers` gives for this retention; needed with
            ``distillation``.
        seed: of LoRA's matrices.

    Raises:
        InputError: the retention is out of range, or the model has too few layers.
    """
    if compression not in COMPRESSIONS:
        raise InputError(
            f"compression = {compression!r}: expected one of {', '.join(COMPRESSIONS)}"
        )
    middle = adapter.middle(whole)
    number = kept_layers(len(middle), retention)
    dropped = compression != "pruning"
    kept = choose_layers(len(middle), number) if dropped else tuple(range(len(middle)))
    changed = retention < 1 and compression != "layer_drop"
    model = _cut(whole, adapter, kept, changed)
    layers = _middle_of(model, adapter)
    pruned = []
    if changed and compression == "pruning":
        pruned = _prune(layers, retention)
    elif changed:
        if distilled is None:
            raise InputError("compression = 'distillation': expected the distilled layers")
        layers.load_state_dict(distilled)
    trainable = attach(model, adapter, seed)
    share = number / len(middle) if dropped else retention
    return Emulator(model, adapter, trainable, kept, share, pruned)


def distilled_layers(
    whole: PreTrainedModel, adapter: Adapter, retention: float, distillation: Distillation
) -> dict[str, torch.Tensor]:
    """Returns the weights of the middle layers of a distilled emulator, on the CPU.

    They depend on no task.
    """
    middle = adapter.middle(whole)
    kept = choose_layers(len(middle), kept_layers(len(middle), retention))
    student = _cut(whole, adapter, kept, True)
    distil(student, whole, adapter.layers, distillation)
    state = _middle_of(student, adapter).state_dict()
    return {name: weight.detach().cpu() for name, weight in state.items()}


def _cut(
    whole: PreTrainedModel, adapter: Adapter, kept: tuple[int, ...], changed: bool
) -> PreTrainedModel:
    """The adapter's layers and some of the middle ones, whose weights are to be changed or not."""
    middle, ends = adapter.middle(whole), adapter.places(len(layers_of(whole)))
    inner = [middle[place] for place in kept]
    own = [*(ends if adapter.kind == "layers" else ()), *(inner if changed else ())]
    return with_layers(whole, sorted([*ends, *inner]), own)


def _middle_of(model: PreTrainedModel, adapter: Adapter) -> nn.ModuleList:
    layers = layers_of(model)
    return layers[adapter.layers : len(layers) - adapter.layers]


def _prune(layers: nn.Module, retention: float) -> list[nn.Parameter]:
    """Sets the smallest weights of each matrix to 0, and returns the matrices."""
    matrices = []
    for module in layers.modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, nn.Parameter) and weight.ndim >= 2:
            dropped = weight.numel() - round(retention * weight.numel())
            with torch.no_grad():
                prune.l1_unstructured(module, "weight", amount=dropped)
                prune.remove(module, "weight")
            matrices.append(module.get_parameter("weight"))
    return matrices
