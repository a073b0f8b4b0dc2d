"""Networks: a plain MLP, and one small network shared by a set of entities."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rllib_mec.errors import InputError

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


def mlp(
    num_inputs: int,
    hidden: Sequence[int],
    num_outputs: int,
    activation: str,
    output_gain: float,
) -> nn.Sequential:
    """Builds an MLP with orthogonal weights and zero biases (Andrychowicz et al., 2021).

    Args:
        output_gain: scale of the last layer's weights; small (0.01) for an actor, so that the
            first policy hardly depends on the observation.
    """
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [_linear(num_inputs, width, math.sqrt(2)), ACTIVATIONS[activation]()]
        num_inputs = width
    layers.append(_linear(num_inputs, num_outputs, output_gain))
    return nn.Sequential(*layers)


def _linear(num_inputs: int, num_outputs: int, gain: float) -> nn.Linear:
    layer = nn.Linear(num_inputs, num_outputs)
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


class EntityEncoder(nn.Module):
    """Encodes each of N entities in the context of all, with weights that do not depend on N.

    Every entity is embedded by one shared layer; the mean embedding of all is the context
    (a permutation-equivariant set network, Zaheer et al., "Deep Sets", 2017).
    """

    def __init__(self, num_features: int, hidden: Sequence[int], activation: str) -> None:
        super().__init__()
        if not hidden:
            raise InputError("model_config.hidden = []: expected a width at least, entity_shared")
        self.embed = nn.Sequential(
            _linear(num_features, hidden[0], math.sqrt(2)), ACTIVATIONS[activation]()
        )
        layers: list[nn.Module] = []
        width = 2 * hidden[0]
        for next_width in hidden[1:] or hidden[:1]:
            layers += [_linear(width, next_width, math.sqrt(2)), ACTIVATIONS[activation]()]
            width = next_width
        self.combine = nn.Sequential(*layers)
        self.num_outputs = width

    def forward(self, entities: Tensor) -> Tensor:
        """Maps features (…, N, F) to encodings (…, N, num_outputs)."""
        embedded = self.embed(entities)
        context = embedded.mean(dim=-2, keepdim=True).expand_as(embedded)
        return self.combine(torch.cat([embedded, context], dim=-1))


class EntityHeads(nn.Module):
    """Entity encoder and a head for each entity: (…, N, F) to (…, N, num_outputs)."""

    def __init__(
        self,
        num_features: int,
        hidden: Sequence[int],
        num_outputs: int,
        activation: str,
        output_gain: float,
    ) -> None:
        super().__init__()
        self.encoder = EntityEncoder(num_features, hidden, activation)
        self.head = _linear(self.encoder.num_outputs, num_outputs, output_gain)

    def forward(self, entities: Tensor) -> Tensor:
        return self.head(self.encoder(entities))


class EntityValue(nn.Module):
    """Entity encoder and a value of the whole set: (…, N, F) to (…, 1)."""

    def __init__(self, num_features: int, hidden: Sequence[int], activation: str) -> None:
        super().__init__()
        self.encoder = EntityEncoder(num_features, hidden, activation)
        self.head = _linear(self.encoder.num_outputs, 1, 1.0)

    def forward(self, entities: Tensor) -> Tensor:
        return self.head(self.encoder(entities).mean(dim=-2))
