"""What the actors' networks compute, in operations that every exporter of torch knows.

The networks' own ``trace`` maps several networks at once, by short cuts that only torch has. Here
the last axis has the numbers, and those before it may be any: rows, or rows and entities.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from rllib_mec.errors import InputError
from rllib_mec.hmppo.modules.autoregressive import AutoregressiveHeads
from rllib_mec.hmppo.modules.images import ImageMLP
from rllib_mec.hmppo.modules.networks import MLP, EntityEncoder, EntityHeads, MemberHeads, Network
from rllib_mec.hmppo.modules.observation_filter import ObservationFilter
from rllib_mec.hmppo.modules.recurrent import Recurrent
from rllib_mec.sabppo.branches import Branches, BranchHeads

SCRIPTED = ("elu", "gelu", "relu", "silu", "tanh")
"""Activations that :func:`_choose` knows."""


def filtered(own: ObservationFilter, x: Tensor) -> Tensor:
    """Returns observations with the filter's features on the last axis, filtered."""
    mean, deviation = own._scale(x.dtype)
    return ((x - mean) / deviation).clamp(-own.LIMIT, own.LIMIT)


def outputs_of(network: Network, x: Tensor) -> Tensor:
    """Returns the outputs of a network that gives them at once.

    Raises:
        InputError: a network of another kind.
    """
    if isinstance(network, MLP):
        return _mlp(network, x)
    if isinstance(network, ImageMLP):
        return _mlp(network.dense, network.encoded(x))
    if isinstance(network, MemberHeads):
        return outputs_of(network.each, x)  # rows are members
    if isinstance(network, EntityHeads):
        return _mlp(network.head, _encoded(network.encoder, x))
    if isinstance(network, BranchHeads):
        trunk = network.trunk
        encoded = _encoded(trunk, x) if isinstance(trunk, EntityEncoder) else outputs_of(trunk, x)
        return _branches(network.branches, encoded)
    raise InputError(f"a network of {type(network).__name__} cannot be exported")


def advanced(network: Recurrent, x: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the outputs, (R, O), of a recurrent network after one step, and its memories."""
    encoded = outputs_of(network.encoder, x)
    out, after = network.remembering(encoded, before)
    return _mlp(network.head, out), after


def in_turn(network: AutoregressiveHeads, x: Tensor, activation: str) -> Tensor:
    """Returns what entities (R, N, F) choose, (R, N, L), as logits of 1 and -1."""
    order = None
    if network.order_by is not None:
        # ONNX keeps equal numbers in their order, as a stable sort does.
        order = x[..., network.order_by].sort(dim=1, descending=True)[1]
        x = x.gather(1, order.unsqueeze(-1).expand(-1, -1, x.shape[-1]))
    h = _encoded(network.encoder, x)
    layers: Any = network.head.layers
    first, last = layers
    width = network.encoder.num_outputs
    own, *by_choice = (functional.linear(h, part) for part in first.weight.split(width, dim=1))
    chosen = _choose(
        own + first.bias,
        torch.stack(by_choice, dim=2),
        last.weight,
        last.bias,
        activation,
        network.num_choices == 2,
    )
    if order is None:
        return chosen
    back = order.sort(dim=1)[1]
    return chosen.gather(1, back.unsqueeze(-1).expand(-1, -1, chosen.shape[-1]))


def _mlp(network: MLP, x: Tensor) -> Tensor:
    layers: Any = network.layers
    for layer, activation in zip(layers, network.activations, strict=True):
        x = functional.linear(x, layer.weight, layer.bias)
        if activation is not None:
            x = activation.apply(x)
    return x


def _encoded(network: EntityEncoder, x: Tensor) -> Tensor:
    """Encodings of entities, (R, N, F) to (R, N, O)."""
    embedded = _mlp(network.embed, x)
    width = embedded.shape[-1]
    own, common = network.join.weight.split([width, width], dim=1)
    context = functional.linear(embedded.mean(dim=1, keepdim=True), common, network.join.bias)
    joined = network.activation.apply(functional.linear(embedded, own) + context)
    return _mlp(network.rest, joined)


def _branches(network: Branches, x: Tensor) -> Tensor:
    hidden = functional.linear(x, network.hidden.weight, network.hidden.bias)
    split = network.activation.apply(hidden).unflatten(-1, network.shape)
    own = split if network.belongs is None else torch.matmul(network.belongs, split)
    return (own * network.output.weight).sum(dim=-1) + network.output.bias


@torch.jit.script
def _choose(
    own: Tensor, by_choice: Tensor, weight: Tensor, bias: Tensor, activation: str, is_coin: bool
) -> Tensor:
    """Entities choose one after the other; see :class:`AutoregressiveHeads`.

    Args:
        own: (R, N, H). by_choice: (R, N, K, H). weight, bias: of the last layer.
        activation: its name. is_coin: whether a choice is one of two, with one logit.

    Returns:
        1 for what is chosen and -1 for what is not, (R, N, L).
    """
    entities = own.size(1)
    numbers = torch.arange(bias.size(0))
    earlier = torch.zeros_like(own[:, 0])
    # With a row more, as a list that grows in a loop has to begin with something.
    chosen = torch.zeros(own.size(0), 1, bias.size(0), dtype=own.dtype)
    for i in range(entities):
        x = own[:, i] + earlier / entities
        if activation == "tanh":
            x = torch.tanh(x)
        elif activation == "relu":
            x = torch.relu(x)
        elif activation == "silu":
            x = torch.nn.functional.silu(x)
        elif activation == "gelu":
            x = torch.nn.functional.gelu(x)
        else:
            x = torch.nn.functional.elu(x)
        logits = torch.matmul(x, weight.t()) + bias
        both = by_choice[:, i]
        if is_coin:
            made = (logits > 0).to(own.dtype)
            earlier = earlier + both[:, 0] * (1 - made) + both[:, 1] * made
        else:
            best = logits.argmax(dim=1, keepdim=True)
            made = (numbers == best).to(own.dtype)
            earlier = earlier + (both * made.unsqueeze(-1)).sum(dim=1)
        chosen = torch.cat([chosen, (made * 2 - 1).unsqueeze(1)], dim=1)
    return chosen[:, 1:]
