"""One measurement of a profile: an adapter is tuned on an emulator, and plugged in again."""

from __future__ import annotations

import copy
import dataclasses
import statistics
from collections.abc import Mapping

import torch
from torch import nn
from transformers import PreTrainedModel

from rllib_mec.emulator.adapters import Adapter, adapter_state, plug_in, to_bytes
from rllib_mec.emulator.costs import step_costs
from rllib_mec.emulator.emulators import make_emulator
from rllib_mec.emulator.layers import kept_layers
from rllib_mec.emulator.tokens import Sequences
from rllib_mec.emulator.training import Trainer, Training, perplexity
from rllib_mec.system.profile_rows import NO_COMPRESSION, Row


@dataclasses.dataclass(frozen=True)
class Unit:
    """What is measured.

    case: ``local``, tuned on an emulator of ``retention``; ``server``, the adapter is tuned on the
        whole model; ``full``, all its weights are tuned.
    """

    task: str
    case: str
    seed: int
    retention: float = 1.0
    compression: str = NO_COMPRESSION

    @property
    def name(self) -> str:
        """For files: "reference-layer_drop-0.5-seed0"."""
        what = self.case if self.case != "local" else f"{self.compression}-{self.retention:.6g}"
        return f"{self.task}-{what}-seed{self.seed}"


@dataclasses.dataclass(frozen=True)
class Tuning:
    """How all adapters of a profile are tuned.

    full_lr: the highest learning rate when all weights are tuned.
    """

    adapter: Adapter
    training: Training
    full_lr: float


def measure(
    unit: Unit,
    whole: PreTrainedModel,
    sequences: Sequences,
    tuning: Tuning,
    distilled: Mapping[str, torch.Tensor] | None = None,
) -> Row:
    """Tunes and measures; ``whole`` stays as it is, bit for bit.

    Args:
        distilled: the middle layers of a distilled emulator of this retention.

    Raises:
        InputError: the retention or adapter does not fit the model, or the training diverged.
    """
    if unit.case == "full":
        return _full(unit, whole, sequences, tuning)
    adapter, compression = tuning.adapter, unit.compression
    if unit.case == "server":
        compression = "layer_drop"  # of retention 1: the whole model
    emulator = make_emulator(whole, adapter, unit.retention, compression, distilled, unit.seed)
    zero_shot, seconds = _tune(
        emulator.model, emulator.trainable, sequences, tuning.training, unit.seed
    )
    tuned = perplexity(emulator.model, sequences.validation)
    state = adapter_state(emulator.model, adapter)
    plugged = tuned
    if unit.case == "local":
        plugged = perplexity(plug_in(whole, adapter, state), sequences.validation)
    costs = step_costs(emulator.model, emulator.trainable, sequences.train[: tuning.training.batch])
    return Row(
        task=unit.task,
        compression=unit.compression,
        seed=unit.seed,
        case=unit.case,
        retention=emulator.retention,
        kept_layers=len(emulator.kept),
        zero_shot=zero_shot,
        tuned=tuned,
        plug_in=plugged,
        emulator_bytes=emulator.frozen_bytes,
        adapter_bytes=len(to_bytes(state)),
        emulator_parameters=emulator.frozen_parameters,
        adapter_parameters=sum(weight.numel() for weight in state.values()),
        flops_per_token=costs.flops_per_token,
        seconds_per_step=seconds,
        peak_memory_bytes=costs.memory_bytes,
    )


def _full(
    unit: Unit,
    whole: PreTrainedModel,
    sequences: Sequences,
    tuning: Tuning,
) -> Row:
    model = copy.deepcopy(whole).requires_grad_(True)
    weights = list(model.parameters())
    training = dataclasses.replace(tuning.training, lr=tuning.full_lr)
    zero_shot, seconds = _tune(model, weights, sequences, training, unit.seed)
    tuned = perplexity(model, sequences.validation)
    costs = step_costs(model, weights, sequences.train[: training.batch])
    middle = len(tuning.adapter.middle(whole))
    return Row(
        task=unit.task,
        compression=unit.compression,
        seed=unit.seed,
        case=unit.case,
        retention=1.0,
        kept_layers=kept_layers(middle, 1.0),
        zero_shot=zero_shot,
        tuned=tuned,
        plug_in=tuned,
        emulator_bytes=0,
        adapter_bytes=sum(weight.numel() * weight.element_size() for weight in weights),
        emulator_parameters=0,
        adapter_parameters=sum(weight.numel() for weight in weights),
        flops_per_token=costs.flops_per_token,
        seconds_per_step=seconds,
        peak_memory_bytes=costs.memory_bytes,
    )


def _tune(
    model: PreTrainedModel,
    weights: list[nn.Parameter],
    sequences: Sequences,
    training: Training,
    seed: int,
) -> tuple[float, float]:
    """Returns the perplexity before, and the median seconds of a step."""
    zero_shot = perplexity(model, sequences.validation)
    trainer = Trainer(model, weights, training, seed)
    trainer.run(sequences.train)
    return zero_shot, statistics.median(trainer.progress.seconds)
