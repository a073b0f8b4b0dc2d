"""What is drawn in a federation: each from a seed of its own, so that nothing hangs on the order.

A run that goes on after an interruption draws what an uninterrupted one does, and so do clients in
other processes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from rllib_mec.errors import InputError

PURPOSES = ("split", "device", "selection", "dropout", "tuning", "noise", "adapter")


def seed_of(purpose: str, seed: int, *places: int) -> int:
    """Returns a seed for one purpose, for example ``("tuning", seed, round, client)``.

    >>> seed_of("tuning", 0, 1, 2) == seed_of("tuning", 0, 1, 2)
    True
    >>> seed_of("tuning", 0, 1, 2) == seed_of("dropout", 0, 1, 2)
    False

    Args:
        seed: of the whole run. places: round and client, whole numbers of at least 0.
    """
    mixed = np.random.SeedSequence([PURPOSES.index(purpose), seed, *places])
    return int(mixed.generate_state(1)[0])


def generator(purpose: str, seed: int, *places: int) -> np.random.Generator:
    """Returns a generator for one purpose, as :func:`seed_of`."""
    return np.random.default_rng(seed_of(purpose, seed, *places))


@dataclasses.dataclass(frozen=True)
class Participation:
    """Who takes part in a round.

    clients: K, all there are. per_round: clients selected in each round; None: all.
    dropout: probability that a selected client does not answer, so that nothing is sent to it.
    """

    clients: int
    per_round: int | None = None
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.clients < 1:
            raise InputError(f"clients = {self.clients}: expected at least 1")
        if self.per_round is not None and not 1 <= self.per_round <= self.clients:
            raise InputError(
                f"clients_per_round = {self.per_round}: expected 1 to {self.clients}, the clients"
            )
        if not 0 <= self.dropout <= 1:
            raise InputError(f"dropout = {self.dropout:g}: expected a probability, 0 to 1")

    def selected(self, seed: int, number: int) -> list[int]:
        """Returns the clients selected in a round, ascending."""
        if self.per_round is None:
            return list(range(self.clients))
        drawn = generator("selection", seed, number).choice(
            self.clients, self.per_round, replace=False
        )
        return sorted(int(client) for client in drawn)

    def dropped(self, seed: int, number: int, selected: Sequence[int]) -> set[int]:
        """Returns those of the selected clients that do not answer."""
        return {
            client
            for client in selected
            if generator("dropout", seed, number, client).random() < self.dropout
        }
