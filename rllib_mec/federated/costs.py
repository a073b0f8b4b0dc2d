"""What a client's steps cost: measured once, before the first round, where the federation runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import torch
from transformers import PreTrainedModel

from rllib_mec.emulator.costs import step_costs
from rllib_mec.emulator.training import Trainer, Training
from rllib_mec.federated.cases import Case, Tunable

STEPS = 6
"""Of a measurement."""


@dataclasses.dataclass(frozen=True)
class Costs:
    """Of what is held with one retention.

    step_seconds: of a step on this machine. memory_bytes: most that a step takes.
    frozen_bytes: of what travels once.
    """

    step_seconds: float
    memory_bytes: int
    frozen_bytes: int


def measure_costs(
    cases: Sequence[Case],
    whole: PreTrainedModel,
    retentions: Iterable[float],
    tokens: torch.Tensor,
    fl_step_seconds: float | None = None,
) -> dict[str, dict[float, Costs]]:
    """Measures a step of each case and retention, the server's 1 among them.

    Args:
        tokens: of a step, (sequences, length).
        fl_step_seconds: of a step that tunes all weights; other steps' follow by their operations,
            so that they are the same everywhere. None: each is measured.

    Returns:
        Costs by a case's name, and by retention.
    """
    asked = [
        (case, retention)
        for case in cases
        for retention in sorted({case.held(each) for each in (*retentions, 1.0)})
    ]
    tunables = [case.build(whole, retention) for case, retention in asked]
    costs = [step_costs(each.model, list(each.weights.values()), tokens) for each in tunables]
    if fl_step_seconds is None:
        seconds = _seconds(tunables, tokens)
    else:
        full = Case("fl").build(whole)
        reference = step_costs(full.model, list(full.weights.values()), tokens).flops_per_token
        seconds = [fl_step_seconds * each.flops_per_token / reference for each in costs]
    found: dict[str, dict[float, Costs]] = {}
    for (case, retention), tunable, cost, each in zip(asked, tunables, costs, seconds, strict=True):
        by_retention = found.setdefault(case.name, {})
        by_retention[retention] = Costs(each, cost.memory_bytes, tunable.frozen_bytes)
    return found


def _seconds(tunables: Sequence[Tunable], tokens: torch.Tensor) -> list[float]:
    """The shortest step of each; they take turns, as other work on the machine comes and goes."""
    training = Training(steps=STEPS, batch=len(tokens), lr=1e-6)
    trainers = [
        Trainer(each.model, list(each.weights.values()), training, seed=0) for each in tunables
    ]
    for _ in range(STEPS):
        for trainer in trainers:
            trainer.step(tokens)
    return [min(trainer.progress.seconds) for trainer in trainers]
