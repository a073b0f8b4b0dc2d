"""Adam and gradient clipping with little overhead, for many small steps.

With small networks, what ``torch.optim.Adam.step`` and ``clip_grad_norm_`` do besides arithmetic
(grouping tensors, checks, hooks) takes as long as the arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class FusedAdam(torch.optim.Adam):
    """``Adam(fused=True)`` for parameters that all get a gradient in every step.

    Its state is Adam's own, so that checkpoints are interchangeable.
    """

    def __init__(self, parameters: Sequence[Tensor], **kwargs: Any) -> None:
        super().__init__(parameters, fused=True, **kwargs)
        self._tensors: list[list[Tensor]] | None = None

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._tensors = None

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        if self._tensors is None:
            # The first step creates the state, and those after it find it there.
            super().step(closure)
            self._tensors = self._collect()
            return
        group = self.param_groups[0]
        parameters, averages, squares, counts = self._tensors
        torch._foreach_add_(counts, 1)
        torch._fused_adam_(
            parameters,
            [parameter.grad for parameter in parameters],
            averages,
            squares,
            [],
            counts,
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )

    def _collect(self) -> list[list[Tensor]] | None:
        parameters = list(self.param_groups[0]["params"])
        if any(parameter.grad is None for parameter in parameters):
            return None
        states = [self.state[parameter] for parameter in parameters]
        names = ("exp_avg", "exp_avg_sq", "step")
        return [parameters, *([state[name] for state in states] for name in names)]


def clip_global_norm(parameters: Sequence[Tensor], most: float) -> Tensor:
    """Scales gradients in place so that their common norm is ``most`` at most; returns it."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    torch._foreach_mul_(gradients, (most / (norm + 1e-6)).clamp(max=1.0))
    return norm
