"""Small federations: a GPT-2 of six layers, so of four in the middle, and tokens that rise."""

from __future__ import annotations

import torch
from small_models import LENGTH, gpt2

from rllib_mec.emulator.training import Training
from rllib_mec.federated.cases import Case
from rllib_mec.federated.clock import Devices
from rllib_mec.federated.costs import Costs
from rllib_mec.federated.draws import Participation
from rllib_mec.federated.rounds import Federation, Rules
from rllib_mec.federated.splits import Split, split
from rllib_mec.federated.tuning import Ground

RETENTIONS = (0.5, 0.75)
COSTS = {
    retention: Costs(step_seconds=retention, memory_bytes=int(1000 * retention), frozen_bytes=each)
    for retention, each in ((0.5, 500), (0.75, 750), (1.0, 1000))
}
"""Made up, to be found again."""

DEVICES = Devices((8.0, 8.0), (8.0, 8.0), (2.0, 2.0))
"""A megabyte per second both ways, and half as fast."""


def tokens(count: int = 60) -> torch.Tensor:
    start = torch.arange(count)[:, None] * 5
    return (start + torch.arange(LENGTH)) % 256


def federation(
    case: str = "fedpeat",
    clients: int = 3,
    per_round: int | None = None,
    dropout: float = 0.0,
    seed: int = 0,
    server_share: float = 0.0,
    **rules: object,
) -> Federation:
    asked = {"retentions": RETENTIONS, "devices": DEVICES, **rules}
    return Federation(
        Ground(
            gpt2(6),
            Case(case),
            split([tokens()], clients, Split("iid", server_share=server_share), seed),
        ),
        Rules(Participation(clients, per_round, dropout), Training(2, 4, 1e-2), **asked),
        COSTS,
        tokens(10) + 1,
        seed,
    )


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether weights are the same, bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[each], other[each]) for each in one)
