"""What a client's steps cost: measured once, before the first round, where the federation runs."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable

import torch
from transformers import PreTrainedModel

from rllib_mec.emulator.costs import step_costs
from rllib_mec.emulator.training import Trainer, Training
from rllib_mec.federated.cases import Case

STEPS = 5
"""Of a measurement; the median counts."""


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
    case: Case,
    whole: PreTrainedModel,
    retentions: Iterable[float],
    tokens: torch.Tensor,
    training: Training,
    fl_step_seconds: float | None = None,
) -> dict[float, Costs]:
    """Measures a step for each retention, the server's 1 among them.

    Args:
        tokens: of a step, (sequences, length).
        fl_step_seconds: of a step that tunes all weights; other steps' follow by their operations,
            so that they are the same everywhere. None: each is measured.
    """
    reference = None
    if fl_step_seconds is not None:
        full = Case("fl").build(whole)
        reference = step_costs(full.model, list(full.weights.values()), tokens).flops_per_token
    found = {}
    for retention in sorted({case.held(each) for each in (*retentions, 1.0)}):
        tunable = case.build(whole, retention)
        weights = list(tunable.weights.values())
        costs = step_costs(tunable.model, weights, tokens)
        if reference is not None and fl_step_seconds is not None:
            seconds = fl_step_seconds * costs.flops_per_token / reference
        else:
            trainer = Trainer(
                tunable.model, weights, dataclasses.replace(training, steps=STEPS), seed=0
            )
            trainer.run(tokens)
            seconds = statistics.median(trainer.progress.seconds)
        found[retention] = Costs(seconds, costs.memory_bytes, tunable.frozen_bytes)
    return found
