"""The one training loop: of a model from nothing, of adapters, of emulators by distillation."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from rllib_mec.errors import InputError

Loss = Callable[[PreTrainedModel, torch.Tensor], torch.Tensor]
"""Of a model and sequences of tokens, (sequences, length); a number."""


@dataclasses.dataclass(frozen=True)
class Training:
    """How a model is trained: AdamW, a short warm-up, then a linear decay to 0.

    steps: of the optimiser. batch: sequences per step. lr: the highest learning rate.
    weight_decay: as in AdamW.
    """

    steps: int
    batch: int
    lr: float
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "lr"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise InputError(f"{name} = {value}: expected a positive number")

    @property
    def warmup(self) -> int:
        """Steps until the highest learning rate, at most 100."""
        return min(100, max(1, self.steps // 10))

    def lr_at(self, step: int) -> float:
        """Returns the learning rate of a step, counted from 0."""
        return self.lr * min((step + 1) / self.warmup, 1.0) * (1 - step / self.steps)


@dataclasses.dataclass
class Progress:
    """What a training has come to: all that is needed to go on with it.

    step: steps taken. loss: of the last. seconds: of each step.
    """

    step: int = 0
    loss: float = math.nan
    seconds: list[float] = dataclasses.field(default_factory=list)


def language_loss(model: PreTrainedModel, tokens: torch.Tensor) -> torch.Tensor:
    """The mean negative log-likelihood of each token given those before it, nats."""
    logits = model(input_ids=tokens).logits
    return functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), tokens[:, 1:].flatten())


def perplexity(model: PreTrainedModel, sequences: torch.Tensor, batch: int = 32) -> float:
    """Returns exp of the mean negative log-likelihood of the sequences' tokens but the first.

    Args:
        sequences: (sequences, length) tokens.
    """
    device = next(model.parameters()).device
    total = 0.0
    with torch.inference_mode():
        for part in sequences.split(batch):
            total += float(language_loss(model, part.to(device))) * len(part)
    mean = total / len(sequences)
    return math.exp(mean) if mean < 700 else math.inf


class Trainer:
    """Trains some parameters of a model on sequences drawn with a seed.

    The model has neither dropout nor other randomness (``eval``), so that the same seed gives the
    same weights.

    Attributes:
        progress: what has been done.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        parameters: Sequence[nn.Parameter],
        training: Training,
        seed: int,
        loss: Loss = language_loss,
    ) -> None:
        self.model = model.eval()
        self.training = training
        self.progress = Progress()
        self._loss = loss
        self._parameters = list(parameters)
        self._optimiser = torch.optim.AdamW(
            self._parameters, lr=training.lr, weight_decay=training.weight_decay, fused=True
        )
        self._generator = torch.Generator().manual_seed(seed)
        self._device = self._parameters[0].device

    def step(self, sequences: torch.Tensor) -> None:
        """Takes a step on sequences drawn from (sequences, length).

        Raises:
            InputError: the loss is not finite any more.
        """
        began = time.perf_counter()
        drawn = torch.randint(len(sequences), (self.training.batch,), generator=self._generator)
        loss = self._loss(self.model, sequences[drawn].to(self._device))
        for group in self._optimiser.param_groups:
            group["lr"] = self.training.lr_at(self.progress.step)
        self._optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._optimiser.step()
        self.progress.loss = float(loss.detach())
        if not math.isfinite(self.progress.loss):
            raise InputError(
                f"the loss is {self.progress.loss} after {self.progress.step + 1} steps: expected "
                f"a smaller lr than {self.training.lr:g}"
            )
        self.progress.step += 1
        self.progress.seconds.append(time.perf_counter() - began)

    def run(self, sequences: torch.Tensor, after_step: Callable[[], None] | None = None) -> None:
        """Takes all steps that are left.

        Args:
            after_step: called after each, for example to draw a progress bar.
        """
        while self.progress.step < self.training.steps:
            self.step(sequences)
            if after_step is not None:
                after_step()

    def state(self) -> dict[str, object]:
        """Returns all that :meth:`load_state` needs to go on, as tensors and plain values."""
        return {
            "parameters": [weight.detach() for weight in self._parameters],
            "optimiser": self._optimiser.state_dict(),
            "generator": self._generator.get_state(),
            "progress": dataclasses.asdict(self.progress),
        }

    def load_state(self, state: dict[str, object]) -> None:
        """Goes back to where :meth:`state` was taken."""
        parameters, progress = state["parameters"], state["progress"]
        optimiser, generator = state["optimiser"], state["generator"]
        assert isinstance(parameters, list)
        assert isinstance(progress, dict)
        assert isinstance(optimiser, dict)
        assert isinstance(generator, torch.Tensor)
        with torch.no_grad():
            for weight, value in zip(self._parameters, parameters, strict=True):
                weight.copy_(value)
        self._optimiser.load_state_dict(optimiser)
        self._generator.set_state(generator)
        self.progress = Progress(**progress)
