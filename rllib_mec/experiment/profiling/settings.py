"""What is to be profiled, and how: checked before anything is trained."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from rllib_mec.emulator.emulators import COMPRESSIONS
from rllib_mec.emulator.layers import check_distinct, default_retentions, kept_layers
from rllib_mec.emulator.measure import Tuning, Unit
from rllib_mec.emulator.models import Foundation
from rllib_mec.emulator.texts import Text
from rllib_mec.emulator.tokens import Sequences, sequences_of
from rllib_mec.emulator.training import Training
from rllib_mec.errors import InputError


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the user asks for.

    retentions: None, some that are spread evenly from two layers to all.
    seeds: 0 to seeds - 1.
    length: of the sequences, tokens; None, the model's context but at most 512.
    distillation: how emulators are distilled.
    """

    tasks: tuple[str, ...]
    retentions: tuple[float, ...] | None
    compressions: tuple[str, ...]
    seeds: int
    tuning: Tuning
    distillation: Training
    length: int | None = None
    validation: int = 256

    def __post_init__(self) -> None:
        for name in ("tasks", "compressions", "retentions"):
            values = getattr(self, name)
            if values is not None and len(set(values)) < len(values):
                raise InputError(f"{name} = {', '.join(map(str, values))}: expected each once")
        for compression in self.compressions:
            if compression not in COMPRESSIONS:
                raise InputError(
                    f"compression = {compression!r}: expected one of {', '.join(COMPRESSIONS)}"
                )
        if self.length is not None and self.length < 2:
            raise InputError(f"length = {self.length}: expected at least 2 tokens")

    def retentions_of(self, foundation: Foundation) -> tuple[float, ...]:
        """Returns the retentions below 1, ascending.

        Raises:
            InputError: a retention is out of range, two keep the same layers, or the model has too
                few layers.
        """
        middle = len(self.tuning.adapter.middle(foundation.model))
        asked = self.retentions or default_retentions(middle)
        for retention in asked:
            kept_layers(middle, retention)
        if set(self.compressions) - {"pruning"}:
            check_distinct(middle, asked)
        below = tuple(sorted(retention for retention in asked if retention < 1))
        if len(below) < 2:
            raise InputError(
                f"retentions = {', '.join(f'{each:g}' for each in asked)}: expected at least two "
                f"below 1, of a model with {middle} middle layers"
            )
        return below

    def length_of(self, foundation: Foundation) -> int:
        """Returns the length of sequences.

        Raises:
            InputError: it is more than the model takes.
        """
        if self.length is None:
            return min(foundation.context, 512)
        if self.length > foundation.context:
            raise InputError(
                f"length = {self.length}: expected at most {foundation.context}, what the model "
                "takes"
            )
        return self.length

    def units(self, names: Sequence[str], retentions: Sequence[float]) -> Iterator[Unit]:
        """Yields what is to be measured, such that each task's first seed comes first."""
        for seed in range(self.seeds):
            for task in names:
                yield Unit(task, "server", seed)
                yield Unit(task, "full", seed)
                for compression in self.compressions:
                    for retention in retentions:
                        yield Unit(task, "local", seed, retention, compression)

    def tokenised(self, text: Text, foundation: Foundation) -> Sequences:
        """Returns the sequences of a text.

        Raises:
            InputError: the text is too short.
        """
        return sequences_of(
            text,
            foundation.tokenizer,
            self.length_of(foundation),
            num_validation=self.validation,
        )

    def about(
        self, foundation: Foundation, texts: Sequence[Text], general: Text | None
    ) -> dict[str, Any]:
        """Returns what decides about measurements, as JSON: results of others differ."""
        about: dict[str, Any] = {
            "model": foundation.name,
            "weights": digest_of(foundation.model.state_dict()),
            "middle_layers": len(self.tuning.adapter.middle(foundation.model)),
            "tuning": dataclasses.asdict(self.tuning),
            "length": self.length_of(foundation),
            "validation": self.validation,
            "texts": {text.name: text.digest for text in texts},
            "torch": version("torch").partition("+")[0],
        }
        if general is not None:
            about["distillation"] = {**dataclasses.asdict(self.distillation), "on": general.digest}
        return about


def digest_of(state: Mapping[str, Any]) -> str:
    """Returns 16 hexadecimal digits that tell weights apart."""
    whole = hashlib.sha256()
    for name in sorted(state):
        whole.update(name.encode())
        whole.update(state[name].detach().cpu().contiguous().numpy().tobytes())
    return whole.hexdigest()[:16]
