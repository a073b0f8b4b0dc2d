"""The networks of the bare loop: plain MLPs, or one small network shared by all entities.

Actors map flat observations, (…, N * F), to a number for each UE, (…, N). Critics map both
agents' observations and the marker of the decision point to a value, (…).
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn


def mlp(inputs: int, hidden: list[int], outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(inputs, width), nn.Tanh()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


class PlainCritic(nn.Module):
    def __init__(self, num_ues: int, hidden: list[int]) -> None:
        super().__init__()
        self.layers = mlp(7 * num_ues + 2, hidden, 1)

    def forward(self, o1: Tensor, o2: Tensor, marker: Tensor) -> Tensor:
        return self.layers(torch.cat([o1, o2, marker], dim=-1)).squeeze(-1)


class EntityEncoder(nn.Module):
    """Embeds each entity, joins it with the mean embedding of all, and goes on from there."""

    def __init__(self, features: int, hidden: list[int]) -> None:
        super().__init__()
        first, *others = hidden
        self.embed = nn.Linear(features, first)
        widths = [2 * first, *(others or [first])]
        self.layers = nn.ModuleList(
            nn.Linear(inputs, outputs) for inputs, outputs in itertools.pairwise(widths)
        )
        self.num_outputs = widths[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Maps (…, N, F) to (…, N, num_outputs)."""
        embedded = torch.tanh(self.embed(x))
        context = embedded.mean(dim=-2, keepdim=True).expand_as(embedded)
        x = torch.cat([embedded, context], dim=-1)
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return x


class EntityActor(nn.Module):
    def __init__(self, num_ues: int, features: int, hidden: list[int]) -> None:
        super().__init__()
        self.num_ues = num_ues
        self.encoder = EntityEncoder(features, hidden)
        self.head = nn.Linear(self.encoder.num_outputs, 1)

    def forward(self, flat: Tensor) -> Tensor:
        return self.head(self.encoder(flat.unflatten(-1, (self.num_ues, -1)))).squeeze(-1)


class EntityCritic(nn.Module):
    def __init__(self, num_ues: int, hidden: list[int]) -> None:
        super().__init__()
        self.num_ues = num_ues
        self.encoder = EntityEncoder(7 + 2, hidden)
        self.head = nn.Linear(self.encoder.num_outputs, 1)

    def forward(self, o1: Tensor, o2: Tensor, marker: Tensor) -> Tensor:
        n = self.num_ues
        markers = marker.unsqueeze(-2).expand(*marker.shape[:-1], n, 2)
        entities = [o1.unflatten(-1, (n, -1)), o2.unflatten(-1, (n, -1)), markers]
        encoded = self.encoder(torch.cat(entities, dim=-1))
        return self.head(encoded.mean(dim=-2)).squeeze(-1)
