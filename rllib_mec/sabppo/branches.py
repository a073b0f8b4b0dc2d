"""The network of SABPPO's actor: a trunk, and a branch for each dimension of the action.

Both forms of it, see :mod:`rllib_mec.hmppo.modules.networks`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rllib_mec.hmppo.modules.dense import ACTIVATIONS, dense, pull_dense
from rllib_mec.hmppo.modules.images import ImageMLP
from rllib_mec.hmppo.modules.networks import MLP, EntityEncoder, Network, Tape, Values


class Branches(Network):
    """K branches on encodings (S, R, I), each a hidden layer and its outputs: (S, R, O).

    All hidden layers are one layer of K * width outputs; an output is a product with its branch's
    part of that layer.

    Args:
        outputs: how many outputs each branch has; they lie branch by branch.
        width: of each branch's hidden layer.
        output_gain: scale of the last layers' weights.
    """

    def __init__(
        self,
        num_inputs: int,
        outputs: Sequence[int],
        width: int,
        activation: str,
        output_gain: float,
    ) -> None:
        super().__init__()
        self.shape = (len(outputs), width)
        self.activation = ACTIVATIONS[activation]
        self.hidden = nn.Linear(num_inputs, len(outputs) * width)
        self.output = nn.Linear(width, sum(outputs))
        for weight in self.hidden.weight.split(width):
            nn.init.orthogonal_(weight, math.sqrt(2))
        for weight in self.output.weight.split(list(outputs)):
            nn.init.orthogonal_(weight, output_gain)
        for layer in (self.hidden, self.output):
            nn.init.zeros_(layer.bias)
        # 1 where an output (row) is of a branch (column); None where each branch has one.
        own = torch.eye(len(outputs)).repeat_interleave(torch.tensor(outputs), dim=0)
        one_each = len(own) == len(outputs)
        self.register_buffer("belongs", None if one_each else own, persistent=False)

    belongs: Tensor | None

    @property
    def last(self) -> nn.Linear:
        return self.output

    def trace(self, values: Values, x: Tensor) -> tuple[Tensor, Tape]:
        to_hidden, hidden_bias, to_output, output_bias = values
        y, saved = dense(x, to_hidden, hidden_bias, self.activation)
        own = self._of_outputs(y)
        outputs = (own * to_output[:, None]).sum(dim=-1) + output_bias[:, None]
        return outputs, (x, saved, own)

    def pull(self, values: Values, tape: Tape, gradient: Tensor) -> list[Tensor]:
        return self.pull_to_input(values, tape, gradient)[1]

    def pull_to_input(
        self, values: Values, tape: Tape, gradient: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """The same, and before it the gradient of the encodings, (S, R, I)."""
        x, saved, own = tape
        to_hidden, _, to_output, _ = values
        # Not einsum, whose products by branch are too small to pay.
        of_output = (gradient[..., None] * own).sum(dim=1)
        to_own = gradient[..., None] * to_output[:, None]
        if self.belongs is not None:
            to_own = torch.einsum("ok,srow->srkw", self.belongs, to_own)
        back, of_hidden, of_bias = pull_dense(
            to_own.flatten(2), x, to_hidden, saved, self.activation
        )
        assert back is not None, "asked for by default"
        return back, [of_hidden, of_bias, of_output, gradient.sum(dim=1)]

    def _of_outputs(self, hidden: Tensor) -> Tensor:
        """The hidden numbers behind each output, (S, R, O, width)."""
        split = hidden.unflatten(-1, self.shape)
        if self.belongs is None:
            return split
        return torch.einsum("ok,srkw->srow", self.belongs, split)


class BranchHeads(Network):
    """A trunk and its branches: (S, R, I) to (S, R, O), by entity (S, R, N, F) to (S, R, N, O).

    Args:
        trunk: maps (S, R, I), or as an entity encoder (S, R, N, F); then all entities have the same
            branches.
        outputs, width, activation, output_gain: see :class:`Branches`.
    """

    def __init__(
        self,
        trunk: MLP | ImageMLP | EntityEncoder,
        outputs: Sequence[int],
        width: int,
        activation: str,
        output_gain: float,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.branches = Branches(trunk.num_outputs, outputs, width, activation, output_gain)
        self.by_entity = isinstance(trunk, EntityEncoder)

    @property
    def last(self) -> nn.Linear:
        return self.branches.last

    def trace(self, values: Values, x: Tensor) -> tuple[Tensor, Tape]:
        encoded, trunk_tape = self.trunk.trace(values[:-4], x)
        rows = encoded.flatten(1, 2) if self.by_entity else encoded
        y, branch_tape = self.branches.trace(values[-4:], rows)
        sizes = x.shape[1:3]
        return y.unflatten(1, sizes) if self.by_entity else y, (trunk_tape, branch_tape, sizes)

    def pull(self, values: Values, tape: Tape, gradient: Tensor) -> list[Tensor]:
        trunk_tape, branch_tape, sizes = tape
        rows = gradient.flatten(1, 2) if self.by_entity else gradient
        to_encoded, branches = self.branches.pull_to_input(values[-4:], branch_tape, rows)
        if self.by_entity:
            to_encoded = to_encoded.unflatten(1, sizes)
        return [*self.trunk.pull(values[:-4], trunk_tape, to_encoded), *branches]
