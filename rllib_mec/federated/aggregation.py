"""Federated averaging (arXiv 1602.05629): weights are the sequences that clients hold.

It is our own, tested on cases computed by hand. Flower's (``flwr``), the library to look at, is the
same sum over NumPy arrays, but it wants some 25 packages more and older ones of protobuf, packaging
and typer than stand beside Ray 2.60 now, and its own clients on Ray pin Ray 2.55.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from rllib_mec.emulator.adapters import State
from rllib_mec.errors import InputError
from rllib_mec.federated.updates import Difference, Guard


def aggregate(
    weights: Mapping[str, torch.Tensor], updates: Sequence[Difference], guard: Guard, seed: int
) -> State:
    """Returns the global weights moved by the weighted mean of the updates, plus noise.

    Sums are in float64 and in the order of the clients' numbers, so that neither the order in which
    updates arrive nor a single client's rounding shows.

    Args:
        seed: of the noise.

    Raises:
        InputError: there are no updates.
    """
    if not updates:
        raise InputError("updates: expected at least one")
    ordered = sorted(updates, key=lambda update: update.client)
    total = sum(update.sequences for update in ordered)
    largest = max(update.sequences for update in ordered) / total
    deviation = guard.noise * (guard.clip_norm or 0.0) * largest
    generator = torch.Generator().manual_seed(seed)
    new = {}
    for name in sorted(weights):
        mean = sum(
            (update.state[name] * (update.sequences / total) for update in ordered),
            start=torch.zeros(weights[name].shape, dtype=torch.float64),
        )
        if deviation:
            drawn = torch.randn(mean.shape, dtype=torch.float64, generator=generator)
            mean = mean + deviation * drawn
        new[name] = (weights[name].double() + mean).to(weights[name].dtype)
    return new
