"""Who holds which data: each sequence belongs to one client, or to the server.

* ``iid``: all tasks' sequences are shuffled and dealt evenly;
* ``blocks``: each client gets a run of neighbouring sequences, so documents, or tasks, of its own;
* ``dirichlet:ALPHA``: each task is a domain, and is dealt in shares drawn from Dirichlet(ALPHA):
  the smaller ALPHA, the fewer clients hold most of a task.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import torch

from rllib_mec.errors import InputError
from rllib_mec.federated.draws import generator

KINDS = ("iid", "blocks", "dirichlet")


@dataclasses.dataclass(frozen=True)
class Split:
    """How data are split.

    kind: one of KINDS. alpha: of ``dirichlet``.
    server_share: of all sequences, drawn at random, that the server holds.
    """

    kind: str = "iid"
    alpha: float = 1.0
    server_share: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.server_share < 1:
            raise InputError(
                f"server_share = {self.server_share:g}: expected a share of the sequences, 0 to 1"
            )

    @classmethod
    def of(cls, text: str, server_share: float = 0.0) -> Split:
        """Reads "iid", "blocks" or "dirichlet:0.3".

        >>> Split.of("dirichlet:0.3").alpha
        0.3

        Raises:
            InputError: it is none of these.
        """
        kind, given, number = text.partition(":")
        expected = "iid, blocks or dirichlet:ALPHA, with a positive number ALPHA"
        if kind not in KINDS or bool(given) != (kind == "dirichlet"):
            raise InputError(f"split = {text!r}: expected {expected}")
        if kind != "dirichlet":
            return cls(kind, server_share=server_share)
        try:
            alpha = float(number)
        except ValueError:
            alpha = math.nan
        if not 0 < alpha < math.inf:
            raise InputError(f"split = {text!r}: expected {expected}")
        return cls(kind, alpha, server_share)


@dataclasses.dataclass(frozen=True)
class Holdings:
    """Who holds what: (sequences, length) tokens of each client, and of the server."""

    clients: tuple[torch.Tensor, ...]
    server: torch.Tensor


def split(tasks: Sequence[torch.Tensor], clients: int, how: Split, seed: int) -> Holdings:
    """Splits tasks' sequences.

    Args:
        tasks: (sequences, length) tokens of each.

    Raises:
        InputError: there are fewer sequences than clients, or one task for ``dirichlet``.
    """
    if how.kind == "dirichlet" and len(tasks) < 2:
        raise InputError("split = dirichlet: expected at least two tasks, the domains")
    every = torch.cat(list(tasks))
    drawn = generator("split", seed)
    server = np.zeros(len(every), bool)
    if how.server_share:
        number = max(1, round(how.server_share * len(every)))
        server[drawn.permutation(len(every))[:number]] = True
    left = np.flatnonzero(~server)
    if len(left) < clients:
        raise InputError(
            f"clients = {clients}: expected at most {len(left)}, the sequences that there are"
        )
    if how.kind == "dirichlet":
        domain = np.repeat(np.arange(len(tasks)), [len(task) for task in tasks])[left]
        parts = _by_domain(left, domain, clients, how, drawn)
    else:
        order = drawn.permutation(left) if how.kind == "iid" else left
        parts = np.array_split(order, clients)
    return Holdings(tuple(every[np.sort(part)] for part in parts), every[server])


def _by_domain(
    places: np.ndarray, domain: np.ndarray, clients: int, how: Split, drawn: np.random.Generator
) -> list[np.ndarray]:
    parts: list[list[int]] = [[] for _ in range(clients)]
    for each in np.unique(domain):
        members = drawn.permutation(places[domain == each])
        shares = drawn.dirichlet([how.alpha] * clients)
        cuts = np.round(np.cumsum(shares)[:-1] * len(members)).astype(int)
        for part, some in zip(parts, np.split(members, cuts), strict=True):
            part.extend(int(place) for place in some)
    # Who got nothing takes a sequence from who has most: a client without data is none.
    for part in parts:
        if not part:
            part.append(max(parts, key=len).pop())
    return [np.array(part) for part in parts]
