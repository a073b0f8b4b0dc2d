"""Networks: a plain MLP, and one small network shared by a set of entities or members of a group.

Each has two forms. As an ``nn.Module`` it maps a batch, and autograd knows its gradient. By
``trace`` and ``pull`` it maps the batches of S networks at once, with the parameters given and
the gradient written by hand; ``values`` are then the parameters in the order of
``Module.parameters()``, each with a leading axis S.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rllib_mec.errors import InputError
from rllib_mec.hmppo.modules.dense import ACTIVATIONS, activate, dense, product, pull_dense

Values = Sequence[Tensor]
Tape = Any
"""What ``trace`` leaves for ``pull``."""


class Network(nn.Module):
    """A network in both forms."""

    def trace(self, values: Values, x: Tensor) -> tuple[Tensor, Tape]:
        """Returns the outputs of S networks, (S, R, …), and a tape."""
        raise NotImplementedError

    def pull(self, values: Values, tape: Tape, gradient: Tensor) -> list[Tensor]:
        """Returns the gradients of ``values`` from that of the outputs."""
        raise NotImplementedError

    @property
    def last(self) -> nn.Linear:
        """The last layer."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Maps (R, …) by this network alone."""
        return self.trace([value[None] for value in self.parameters()], x[None])[0][0]


class MLP(Network):
    """An MLP with orthogonal weights and zero biases (Andrychowicz et al., 2021).

    Args:
        widths: of all layers, the last one's too.
        output_gain: scale of the last layer's weights, which then has no activation; small
            (0.01) for an actor, so that the first policy hardly depends on the observation.
            None: the last layer is a hidden one.
    """

    def __init__(
        self, num_inputs: int, widths: Sequence[int], activation: str, output_gain: float | None
    ) -> None:
        super().__init__()
        gains: list[float] = [math.sqrt(2)] * len(widths)
        self.activations = [ACTIVATIONS[activation]] * len(widths)
        if output_gain is not None:
            gains[-1] = output_gain
            self.activations[-1] = None  # type: ignore[call-overload]
        layers = []
        for width, gain in zip(widths, gains, strict=True):
            layers.append(_linear(num_inputs, width, gain))
            num_inputs = width
        self.layers = nn.ModuleList(layers)
        self.num_outputs = num_inputs

    @property
    def last(self) -> nn.Linear:
        return self.layers[-1]  # type: ignore[return-value]

    def trace(self, values: Values, x: Tensor) -> tuple[Tensor, Tape]:
        """Maps (S, R, I) to (S, R, O)."""
        tape = []
        for index, activation in enumerate(self.activations):
            y, saved = dense(x, values[2 * index], values[2 * index + 1], activation)
            tape.append((x, saved))
            x = y
        return x, tape

    def pull(self, values: Values, tape: Tape, gradient: Tensor) -> list[Tensor]:
        return self.pull_to_input(values, tape, gradient, to_input=False)[1]

    def pull_to_input(
        self, values: Values, tape: Tape, gradient: Tensor, to_input: bool = True
    ) -> tuple[Tensor, list[Tensor]]:
        """The same, and before it the gradient of the input, (S, R, I)."""
        gradients: list[Tensor] = []
        for index in reversed(range(len(tape))):
            x, saved = tape[index]
            back, weight, bias = pull_dense(
                gradient,
                x,
                values[2 * index],
                saved,
                self.activations[index],
                to_input=to_input or index > 0,
            )
            gradients[:0] = (weight, bias)
            if back is not None:
                gradient = back
        return gradient, gradients


def _linear(num_inputs: int, num_outputs: int, gain: float) -> nn.Linear:
    layer = nn.Linear(num_inputs, num_outputs)
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


class EntityEncoder(Network):
    """Encodes each of N entities in the context of all, with weights that do not depend on N.

    Every entity is embedded by one shared layer; the mean embedding of all is the context
    (a permutation-equivariant set network, Zaheer et al., "Deep Sets", 2017). The layer that
    joins the two maps the context once for all entities.
    """

    def __init__(self, num_features: int, hidden: Sequence[int], activation: str) -> None:
        super().__init__()
        if not hidden:
            raise InputError(
                "model_config.fcnet_hiddens = []: expected a width at least with entity_shared"
            )
        first, *others = hidden
        joined, *rest = others or [first]
        self.activation = ACTIVATIONS[activation]
        self.embed = MLP(num_features, [first], activation, None)
        self.join = _linear(2 * first, joined, math.sqrt(2))
        self.rest = MLP(joined, rest, activation, None)
        self.num_outputs = self.rest.num_outputs

    def trace(self, values: Values, x: Tensor) -> tuple[Tensor, Tape]:
        """Maps features (S, R, N, F) to encodings (S, R, N, num_outputs)."""
        shape = x.shape[:3]
        weight, bias = values[2:4]
        embedded, embed_tape = self.embed.trace(values[:2], x.flatten(1, 2))
        width = embedded.shape[-1]
        context = embedded.unflatten(1, shape[1:]).mean(dim=2)
        own = product(embedded, weight[..., :width].mT)
        common, _ = dense(context, weight[..., width:], bias, None)
        joined, saved = activate(own.unflatten(1, shape[1:]) + common[:, :, None], self.activation)
        encoded, rest_tape = self.rest.trace(values[4:], joined.flatten(1, 2))
        tape = (embed_tape, embedded, context, saved, rest_tape)
        return encoded.unflatten(1, shape[1:]), tape

    def pull(self, values: Values, tape: Tape, gradient: Tensor) -> list[Tensor]:
        embed_tape, embedded, context, saved, rest_tape = tape
        weight, width, entities = values[2], embedded.shape[-1], gradient.shape[2]
        to_joined, rest = self.rest.pull_to_input(values[4:], rest_tape, gradient.flatten(1, 2))
        to_own = self.activation.pull(to_joined, saved.flatten(1, 2))
        to_common = to_own.unflatten(1, gradient.shape[1:3]).sum(dim=2)
        to_context = product(to_common, weight[..., width:])
        to_embedded = product(to_own, weight[..., :width]).unflatten(1, gradient.shape[1:3])
        to_embedded = to_embedded + (to_context / entities)[:, :, None]
        to_weight = torch.cat(
            [product(to_own.mT, embedded), product(to_common.mT, context)], dim=-1
        )
        embed = self.embed.pull(values[:2], embed_tape, to_embedded.flatten(1, 2))
        return [*embed, to_weight, to_common.sum(dim=1), *rest]


class EntityHeads(Network):
    """Entity encoder and a head for each entity: (S, R, N, F) to (S, R, N, num_outputs)."""

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
        self.head = MLP(self.encoder.num_outputs, [num_outputs], activation, output_gain)

    @property
    def last(self) -> nn.Linear:
        return self.head.last

    def trace(self, values: Values, x: Tensor) -> tuple[Tensor, Tape]:
        encoded, encoder_tape = self.encoder.trace(values[:-2], x)
        y, head_tape = self.head.trace(values[-2:], encoded.flatten(1, 2))
        return y.unflatten(1, x.shape[1:3]), (encoder_tape, head_tape, x.shape[1:3])

    def pull(self, values: Values, tape: Tape, gradient: Tensor) -> list[Tensor]:
        encoder_tape, head_tape, sizes = tape
        to_encoded, head = self.head.pull_to_input(values[-2:], head_tape, gradient.flatten(1, 2))
        encoder = self.encoder.pull(values[:-2], encoder_tape, to_encoded.unflatten(1, sizes))
        return [*encoder, *head]


class MemberHeads(Network):
    """One network for each of N members by itself, with no context: (S, R, N, F) to (S, R, N, O).

    Args:
        each: the network of a member, (S, R, F) to (S, R, O).
    """

    def __init__(self, each: Network) -> None:
        super().__init__()
        self.each = each

    @property
    def last(self) -> nn.Linear:
        return self.each.last

    def trace(self, values: Values, x: Tensor) -> tuple[Tensor, Tape]:
        y, tape = self.each.trace(values, x.flatten(1, 2))
        return y.unflatten(1, x.shape[1:3]), tape

    def pull(self, values: Values, tape: Tape, gradient: Tensor) -> list[Tensor]:
        return self.each.pull(values, tape, gradient.flatten(1, 2))


class EntityValue(Network):
    """Entity encoder and a value of the whole set: (S, R, N, F) to (S, R, 1)."""

    def __init__(self, num_features: int, hidden: Sequence[int], activation: str) -> None:
        super().__init__()
        self.encoder = EntityEncoder(num_features, hidden, activation)
        self.head = MLP(self.encoder.num_outputs, [1], activation, 1.0)

    @property
    def last(self) -> nn.Linear:
        return self.head.last

    def trace(self, values: Values, x: Tensor) -> tuple[Tensor, Tape]:
        encoded, encoder_tape = self.encoder.trace(values[:-2], x)
        y, head_tape = self.head.trace(values[-2:], encoded.mean(dim=2))
        return y, (encoder_tape, head_tape, x.shape[2])

    def pull(self, values: Values, tape: Tape, gradient: Tensor) -> list[Tensor]:
        encoder_tape, head_tape, entities = tape
        to_mean, head = self.head.pull_to_input(values[-2:], head_tape, gradient)
        to_encoded = (to_mean / entities)[:, :, None].expand(-1, -1, entities, -1)
        encoder = self.encoder.pull(values[:-2], encoder_tape, to_encoded)
        return [*encoder, *head]
