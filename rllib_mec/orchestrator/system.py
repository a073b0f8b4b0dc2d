"""What the orchestrator knows of an environment: what is told to it, and what it decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rllib_mec.orchestrator.fields import Field
from rllib_mec.orchestrator.policy import Slots

Quantities = Mapping[str, NDArray[np.float64]]
"""Of B states with N UEs each: those of each UE, (B, N), and those of the whole, (B, 1)."""


class System(Protocol):
    """One environment with a given number of UEs."""

    @property
    def slots(self) -> Slots:
        """See :meth:`~rllib_mec.orchestrator.policy.ExportedPolicy.decide`."""

    def observations(self, quantities: Quantities) -> dict[str, Any]:
        """Returns what each agent observes, (B, …)."""

    def decisions(
        self, quantities: Quantities, actions: Mapping[str, Any]
    ) -> list[list[dict[str, Any]]]:
        """Returns what is decided of each UE of each state, in physical units."""


class Kind(Protocol):
    """One environment, whatever the number of UEs."""

    @property
    def fields(self) -> Sequence[Field]:
        """What is told of each UE."""

    @property
    def of_all(self) -> Sequence[Field]:
        """What is told of the whole state."""

    @property
    def active(self) -> str | None:
        """The field that says whether a UE has a task, or None where every UE has."""

    @property
    def decision(self) -> Mapping[str, Any]:
        """What is decided of a UE, as JSON schemas."""

    def system(self, num_ues: int) -> System:
        """Returns the environment with so many UEs."""


def db(gain: NDArray[np.float64]) -> NDArray[np.float64]:
    """A linear power gain in dB; the deepest fades that a number can hold are -3000 dB."""
    return 10 * np.log10(np.maximum(gain, 1e-300))


def linear(gain_db: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of :func:`db`."""
    return 10 ** (gain_db / 10)


def gain_field(gain_at_best: float, when: str) -> Field:
    """The field of a channel's gain.

    Args:
        gain_at_best: linear, at the least distance and without fading.
        when: of which step it is.
    """
    # Fading is hardly ever above 20 dB; a linear gain in place of decibels is above any.
    highest = float(db(np.array(gain_at_best))) + 40
    return Field(
        name="gain_db",
        unit="dB",
        meaning=f"channel power gain {when}",
        low=-3000.0,
        high=highest,
    )


def choice_field(name: str, unit: str, meaning: str, schema_type: str) -> dict[str, Any]:
    """Returns one quantity of a decision as JSON schema, null where it is not used."""
    text = meaning if unit == "-" else f"{meaning}, {unit}"
    return {name: {"type": [schema_type, "null"], "description": text}}
