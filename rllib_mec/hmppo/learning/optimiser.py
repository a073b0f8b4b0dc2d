"""Clipping and Adam on the flat parameters of S networks.

With small networks, what ``torch.optim.Adam.step`` and ``clip_grad_norm_`` do for each parameter
(grouping tensors, checks, hooks) takes as long as the arithmetic. Here a network is one tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

from rllib_mec.hmppo.modules.stacked import Stacked


def clip(gradients: Tensor, most: Tensor, by: str, sizes: Sequence[int]) -> Tensor:
    """Limits gradients (S, P) in place and returns their norms before, (S,).

    Args:
        most: (S, 1).
        by: ``global_norm``, all parameters of a network together; ``norm``, each parameter on
            its own; ``value``, each entry (RLlib's ``grad_clip_by``).
        sizes: entries of each parameter.
    """
    norms = torch.linalg.vector_norm(gradients, dim=1, keepdim=True)
    if by == "global_norm":
        gradients.mul_((most / (norms + 1e-6)).clamp(max=1.0))
    elif by == "norm":
        for part in gradients.split(list(sizes), dim=1):
            norm = torch.linalg.vector_norm(part, dim=1, keepdim=True)
            part.mul_((most / (norm + 1e-6)).clamp(max=1.0))
    else:
        gradients.copy_(torch.minimum(torch.maximum(gradients, -most), most))
    return norms[:, 0]


class StackedAdam:
    """Adam for S alike networks, each with an optimiser of its own.

    The optimisers (``torch.optim.Adam``, one per network) keep the settings and the state, which
    RLlib schedules, saves and loads; their moments are views of tensors like the parameters' own.
    """

    def __init__(self, stacked: Stacked, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        self.stacked = stacked
        self.optimizers = list(optimizers)
        self._moments: list[Tensor] = []
        self._steps: list[Tensor] = []
        self._counts: list[Tensor] = []
        self._groups: list[tuple[tuple[float, ...], list[int], list[list[Tensor]]]] = []

    def begin(self) -> None:
        """Takes up the optimisers' settings and state, which may have changed between updates."""
        if not self._is_adopted():
            self._adopt()
        rows: dict[tuple[float, ...], list[int]] = {}
        for index, optimizer in enumerate(self.optimizers):
            rows.setdefault(_settings(optimizer.param_groups[0]), []).append(index)
        tensors: list[Any] = [self.stacked.flat, *self._moments, self._steps]
        self._groups = [
            (
                settings,
                indices,
                [[tensor[index] for index in indices] for tensor in tensors],
            )
            for settings, indices in rows.items()
        ]

    @torch.no_grad()
    def step(self, gradients: Tensor) -> None:
        """Takes a step of all networks along their gradients, (S, P)."""
        for settings, indices, (parameters, averages, squares, steps) in self._groups:
            lr, beta1, beta2, eps, weight_decay = settings
            adam(
                parameters,
                [gradients[index] for index in indices],
                averages,
                squares,
                [],
                steps,
                fused=True,
                amsgrad=False,
                maximize=False,
                beta1=beta1,
                beta2=beta2,
                lr=lr,
                weight_decay=weight_decay,
                eps=eps,
            )

    def end(self) -> None:
        """Tells the optimisers how many steps they have taken."""
        for count, step in zip(self._counts, self._steps, strict=True):
            count.fill_(step)

    def _is_adopted(self) -> bool:
        """Whether the moments are those of all optimisers; loading a state replaces theirs."""
        here = {moment.untyped_storage().data_ptr() for moment in self._moments}
        return bool(here) and all(
            parameter in optimizer.state
            and optimizer.state[parameter]["exp_avg"].untyped_storage().data_ptr() in here
            for optimizer in self.optimizers
            for parameter in optimizer.param_groups[0]["params"]
        )

    @torch.no_grad()
    def _adopt(self) -> None:
        stacked = self.stacked
        moments = [torch.zeros_like(stacked.flat) for _ in range(2)]
        averages, squares = (stacked.views(moment) for moment in moments)
        self._steps, self._counts = [], []
        for index, (module, optimizer) in enumerate(
            zip(stacked.modules, self.optimizers, strict=True)
        ):
            # An entry per parameter: torch counts each one's steps, even where they are alike.
            counts = torch.zeros(len(stacked.sizes), device=stacked.flat.device)
            for position, parameter in enumerate(module.parameters()):
                own = {
                    "step": counts[position],
                    "exp_avg": averages[position][index],
                    "exp_avg_sq": squares[position][index],
                }
                for name, value in optimizer.state.get(parameter, {}).items():
                    own[name].copy_(value)
                optimizer.state[parameter] = own
            self._counts.append(counts)
            self._steps.append(counts[0].clone())
        self._moments = moments


def _settings(group: dict[str, Any]) -> tuple[float, ...]:
    """lr, beta 1, beta 2, epsilon and weight decay."""
    values = (group["lr"], *group["betas"], group["eps"], group["weight_decay"])
    return tuple(float(value) for value in values)
