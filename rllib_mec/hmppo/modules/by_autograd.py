"""Networks whose gradient is autograd's: those that libraries bring, such as convolutions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from rllib_mec.hmppo.modules.networks import Network, Tape, Values


class ByAutograd(Network):
    """A network that says by ``forward`` what it maps, (R, …) to (R, …), and no more.

    In the other form, S networks run one after the other.
    """

    def forward(self, *inputs: Any) -> Tensor:
        """Maps (R, …) by this network alone."""
        raise NotImplementedError

    def trace(self, values: Values, *inputs: Any) -> tuple[Tensor, Tape]:
        if torch.is_grad_enabled():  # somebody else differentiates
            return self.run(values, inputs), None
        own = [value.detach().requires_grad_() for value in values]
        with torch.enable_grad():
            outputs = self.run(own, inputs)
        return outputs.detach(), (own, outputs)

    def pull(self, values: Values, tape: Tape, gradient: Tensor) -> list[Tensor]:
        own, outputs = tape
        gradients = torch.autograd.grad(outputs, own, gradient.to(outputs.dtype))
        return [each.to(value.dtype) for each, value in zip(gradients, values, strict=True)]

    def run(self, values: Values, inputs: tuple[Any, ...]) -> Tensor:
        """Outputs of S networks, (S, R, …), of inputs (S, R, …), without a tape."""
        names = [name for name, _ in self.named_parameters()]
        outputs = [
            functional_call(
                self,
                {name: value[index] for name, value in zip(names, values, strict=True)},
                tuple(None if column is None else column[index] for column in inputs),
            )
            for index in range(len(inputs[0]))
        ]
        return torch.stack(outputs).to(inputs[0].dtype)  # also under autocast
