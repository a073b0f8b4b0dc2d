"""What federations are to be played, and how: checked before anything is trained."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from rllib_mec.emulator.adapters import Adapter
from rllib_mec.emulator.layers import check_distinct, kept_layers
from rllib_mec.emulator.models import Foundation
from rllib_mec.emulator.texts import Text
from rllib_mec.emulator.tokens import Sequences, sequences_of
from rllib_mec.errors import InputError
from rllib_mec.experiment.profiling.settings import digest_of
from rllib_mec.federated.cases import Case
from rllib_mec.federated.rounds import Rules
from rllib_mec.federated.splits import Split


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the user asks for.

    cases: of :data:`rllib_mec.federated.cases.CASES`. tasks: texts. seeds: 0 to seeds - 1.
    rounds: of each. rules: of all cases; full_lr: learning rate of ``fl`` in place of theirs.
    fl_step_seconds: None, or what the clock counts for a step of all weights.
    length: of the sequences, tokens; None, the model's context but at most 512.
    validation: sequences of each task to measure on.
    """

    cases: tuple[str, ...]
    tasks: tuple[str, ...]
    seeds: int
    rounds: int
    rules: Rules
    split: Split
    adapter: Adapter
    compression: str
    full_lr: float
    fl_step_seconds: float | None = None
    length: int | None = None
    validation: int = 256

    def __post_init__(self) -> None:
        for name in ("cases", "tasks"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise InputError(f"{name} = {', '.join(values)}: expected each once")
        for case in self.cases:
            self.case(case)
        for name in ("rounds", "seeds", "validation"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} = {getattr(self, name)}: expected at least 1")
        seconds = self.fl_step_seconds
        if seconds is not None and not 0 < seconds < math.inf:
            raise InputError(f"step_seconds = {seconds:g}: expected a positive number")
        if self.length is not None and self.length < 2:
            raise InputError(f"length = {self.length}: expected at least 2 tokens")

    def case(self, name: str) -> Case:
        """Returns a case by name."""
        return Case(name, self.adapter, self.compression)

    def rules_of(self, case: str) -> Rules:
        """Returns a case's rules."""
        if case != "fl":
            return self.rules
        training = dataclasses.replace(self.rules.training, lr=self.full_lr)
        return dataclasses.replace(self.rules, training=training)

    def tokenised(self, texts: Sequence[Text], foundation: Foundation) -> list[Sequences]:
        """Returns the sequences of texts, when all that is asked of the model has been checked.

        Raises:
            InputError: a retention or the length does not fit the model, or a text is too short.
        """
        middle = len(self.adapter.middle(foundation.model))
        asked = sorted(set(self.rules.retentions))
        for retention in asked:
            kept_layers(middle, retention)
        if self.compression == "layer_drop":
            check_distinct(middle, asked)
        length = self.length or min(foundation.context, 512)
        if length > foundation.context:
            raise InputError(
                f"length = {length}: expected at most {foundation.context}, what the model takes"
            )
        return [
            sequences_of(text, foundation.tokenizer, length, num_validation=self.validation)
            for text in texts
        ]

    def about(self, foundation: Foundation, texts: Sequence[Text]) -> dict[str, Any]:
        """Returns what decides about rounds, as JSON: those of others differ.

        Cases, seeds and rounds are not in it: there may be more of them later.
        """
        return {
            "model": foundation.name,
            "weights": digest_of(foundation.model.state_dict()),
            "texts": {text.name: text.digest for text in texts},
            "rules": dataclasses.asdict(self.rules),
            "split": dataclasses.asdict(self.split),
            "adapter": dataclasses.asdict(self.adapter),
            "compression": self.compression,
            "full_lr": self.full_lr,
            "step_seconds": self.fl_step_seconds,
            "length": self.length,
            "validation": self.validation,
            "torch": version("torch").partition("+")[0],
        }
