"""The three cases: what a client holds, what it tunes and what travels.

| case      | a client holds            | each round          | once, or when it changes |
|-----------|---------------------------|---------------------|--------------------------|
| `fedpeat` | an emulator, an adapter   | the adapter         | the emulator             |
| `fl-peft` | the whole model, adapter  | the adapter         | the rest of the model    |
| `fl`      | the whole model           | all weights         | -                        |

What travels each round goes both ways: the global one down, the client's own up.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping

import torch
from torch import nn
from transformers import PreTrainedModel

from rllib_mec.emulator.adapters import Adapter, State, adapter_weights, check_state, plug_in
from rllib_mec.emulator.emulators import make_emulator
from rllib_mec.emulator.training import perplexity
from rllib_mec.errors import InputError, unknown_name

CASES = ("fedpeat", "fl-peft", "fl")

COMPRESSIONS = ("layer_drop", "pruning")


@dataclasses.dataclass(frozen=True)
class Tunable:
    """A model that a client, or the server, tunes.

    weights: those that are tuned and travel, by name.
    frozen_bytes: of all others.
    """

    model: PreTrainedModel
    weights: dict[str, nn.Parameter]
    frozen_bytes: int

    def state(self) -> State:
        """Returns a copy of the tuned weights, on the CPU."""
        return {name: weight.detach().cpu().clone() for name, weight in self.weights.items()}

    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Sets the tuned weights.

        Raises:
            InputError: they do not fit; nothing has been set then.
        """
        check_state(self.weights, state, "tuned")
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(state[name])


@dataclasses.dataclass(frozen=True)
class Case:
    """One of the cases.

    name: one of CASES. adapter: of ``fedpeat`` and ``fl-peft``.
    compression: of ``fedpeat``'s emulators, one of COMPRESSIONS.
    """

    name: str
    adapter: Adapter = dataclasses.field(default_factory=Adapter)
    compression: str = "layer_drop"

    def __post_init__(self) -> None:
        if self.name not in CASES:
            raise unknown_name("case", self.name, CASES)
        if self.compression not in COMPRESSIONS:
            raise InputError(
                f"compression = {self.compression!r}: expected one of {', '.join(COMPRESSIONS)}"
            )

    @property
    def tuned(self) -> str:
        """What travels each round: ``adapter`` or ``model``."""
        return "model" if self.name == "fl" else "adapter"

    @property
    def frozen(self) -> str | None:
        """What travels once: ``emulator``, ``model`` or nothing."""
        return {"fedpeat": "emulator", "fl-peft": "model"}.get(self.name)

    def held(self, retention: float) -> float:
        """Returns the retention that a client holds whose emulator would have ``retention``."""
        return retention if self.name == "fedpeat" else 1.0

    def build(self, whole: PreTrainedModel, retention: float = 1.0, seed: int = 0) -> Tunable:
        """Returns what a client tunes; the server's is that of retention 1.

        The weights that are tuned are its own; the others are shared with ``whole``.

        Args:
            seed: of LoRA's first matrices.

        Raises:
            InputError: the retention or the adapter does not fit the model.
        """
        if self.name == "fl":
            model = copy.deepcopy(whole).requires_grad_(True)
            # Tied weights come once.
            return Tunable(model, dict(model.named_parameters()), 0)
        emulator = make_emulator(
            whole, self.adapter, self.held(retention), self.compression, seed=seed
        )
        weights = adapter_weights(emulator.model, self.adapter)
        return Tunable(emulator.model, weights, emulator.frozen_bytes)

    def perplexity(
        self, whole: PreTrainedModel, state: Mapping[str, torch.Tensor], sequences: torch.Tensor
    ) -> float:
        """Returns the perplexity of the whole model with the tuned weights in it.

        Args:
            sequences: (sequences, length) tokens.
        """
        if self.name != "fl":
            return perplexity(plug_in(whole, self.adapter, state), sequences)
        tunable = self.build(whole)
        tunable.load(state)
        return perplexity(tunable.model, sequences)
