"""An episode as it was played, whatever its environment."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from rllib_mec.experiment.show import mec_steps
from rllib_mec.traces.schema import Column

HOLD = "hold"
"""What every policy is compared with."""

Array = NDArray[Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Played:
    """An episode of T steps and N UEs as a policy played it.

    policy: its name. scenario: of ``mec`` or ``fedpeat``. episode: all that was drawn.
    metrics: those of ``rllib evaluate``; NaN for one that the episode lacks.
    ues: (T, N) each, steps: (T,) each; by the names of ``columns``.
    """

    policy: str
    scenario: Any
    episode: Any
    metrics: Mapping[str, float]
    ues: Mapping[str, Array]
    steps: Mapping[str, Array]
    columns: tuple[Column, ...]

    @property
    def num_steps(self) -> int:
        return len(next(iter(self.steps.values())))

    @property
    def num_ues(self) -> int:
        return next(iter(self.ues.values())).shape[1]

    @property
    def of_mec(self) -> bool:
        """Whether it is of ``mec``, and not of ``fedpeat``."""
        return self.columns is mec_steps.COLUMNS
