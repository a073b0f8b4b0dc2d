"""The parameters of S alike networks in one tensor, so that the networks are run together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rllib_mec.hmppo.modules.recurrent import Memory

_LARGEST_PASS = 2**22
"""Inputs at which networks are evaluated at once; more are evaluated piece by piece."""


class Stacked:
    """S modules of one architecture, whose parameters become views of one tensor.

    The modules stay usable: what is loaded into them shows here, and the other way round.

    Attributes:
        modules: the modules.
        flat: all parameters, (S, P).
        values: the parameters in the order of ``Module.parameters()``, (S, …) each.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self.modules: list[Any] = list(modules)
        self._shapes = [parameter.shape for parameter in self.modules[0].parameters()]
        self._adopt()

    @property
    def module(self) -> Any:
        """The first module, which stands for the architecture of all."""
        return self.modules[0]

    @property
    def sizes(self) -> list[int]:
        """Entries of each parameter, summing to P."""
        return [shape.numel() for shape in self._shapes]

    def views(self, flat: Tensor) -> list[Tensor]:
        """Views of a tensor (S, P), shaped as the parameters are, (S, …) each."""
        return [
            part.unflatten(1, shape) if len(shape) else part.squeeze(1)
            for part, shape in zip(flat.split(self.sizes, dim=1), self._shapes, strict=True)
        ]

    def outputs(self, *inputs: Tensor, memory: Memory | None = None) -> Tensor:
        """What networks with a ``trace`` make of inputs (S, R, …), and of a memory if any."""
        if memory is not None:
            return self.module.trace(self.values, *inputs, memory=memory)[0]
        rows = max(_LARGEST_PASS // inputs[0][:, 0].numel(), 1)
        parts = zip(*(column.split(rows, dim=1) for column in inputs), strict=True)
        return torch.cat([self.module.trace(self.values, *part)[0] for part in parts], dim=1)

    @torch.no_grad()
    def refresh(self) -> None:
        """Takes the parameters up again if something has replaced the modules' tensors."""
        here = self.flat.untyped_storage().data_ptr()
        for module in self.modules:
            for parameter in module.parameters():
                if parameter.untyped_storage().data_ptr() != here:
                    self._adopt()
                    return

    @torch.no_grad()
    def _adopt(self) -> None:
        self.flat = torch.stack([_flat(module) for module in self.modules])
        self.values = self.views(self.flat)
        for index, module in enumerate(self.modules):
            for parameter, value in zip(module.parameters(), self.values, strict=True):
                parameter.data = value[index]


def _flat(module: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])
