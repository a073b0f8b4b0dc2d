"""Distillation: an emulator's middle layers learn to do what all middle layers do.

As in Offsite-Tuning (arXiv 2302.04870), the loss is that of the language model plus 30 times the
mean squared difference of the hidden states after the middle layers, in units of the teacher's
root mean square. All other layers are frozen.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

import torch
from torch import nn
from transformers import PreTrainedModel

from rllib_mec.emulator.models import layers_of
from rllib_mec.emulator.training import Trainer, Training, language_loss

WEIGHT = 30.0
"""Of the hidden states' difference."""


@dataclasses.dataclass(frozen=True)
class Distillation:
    """How to distil: on which sequences, (sequences, length) tokens, how long, with which seed."""

    sequences: torch.Tensor
    training: Training
    seed: int = 0


def distil(
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    adapter_layers: int,
    distillation: Distillation,
) -> None:
    """Trains a student's middle layers in place.

    Args:
        adapter_layers: A, layers at either end that are not trained.
    """
    layers = layers_of(student)
    student.requires_grad_(False)
    middle = layers[adapter_layers : len(layers) - adapter_layers]
    middle.requires_grad_(True)

    def loss(model: PreTrainedModel, tokens: torch.Tensor) -> torch.Tensor:
        with torch.no_grad(), hidden_state(teacher, adapter_layers) as aim:
            teacher(input_ids=tokens)
        with hidden_state(model, adapter_layers) as state:
            language = language_loss(model, tokens)
        return language + WEIGHT * hidden_difference(state[0], aim[0])

    trainer = Trainer(
        student, list(middle.parameters()), distillation.training, distillation.seed, loss
    )
    trainer.run(distillation.sequences)
    student.requires_grad_(False)


def hidden_difference(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """The mean squared difference of hidden states, over the teacher's mean square.

    >>> float(hidden_difference(torch.tensor([2.0, 2.0]), torch.tensor([1.0, 3.0])))
    0.20000000298023224
    """
    return (student - teacher).square().mean() / teacher.square().mean()


@contextlib.contextmanager
def hidden_state(model: nn.Module, adapter_layers: int) -> Iterator[list[torch.Tensor]]:
    """Gives the hidden states after the middle layers of the model's forward passes, as a list."""
    states: list[torch.Tensor] = []

    def note(module: nn.Module, args: object, output: object) -> None:
        state = output[0] if isinstance(output, tuple) else output
        assert isinstance(state, torch.Tensor)
        states.append(state)

    last = layers_of(model)[-adapter_layers - 1]
    handle = last.register_forward_hook(note)
    try:
        yield states
    finally:
        handle.remove()
