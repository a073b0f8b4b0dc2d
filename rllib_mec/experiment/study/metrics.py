"""The metrics of an environment's episodes, which are columns of a study's results."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from rllib_mec.experiment import environments
from rllib_mec.system import DECISIONS, METRICS


@dataclasses.dataclass(frozen=True)
class MetricNames:
    """What is measured of an environment's episodes.

    metrics: those of every episode, the reward first. decisions: further ones, which an episode may
    lack and of which there are no training curves.
    """

    metrics: tuple[str, ...]
    decisions: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """Both."""
        return (*self.metrics, *self.decisions)


MEC = MetricNames(METRICS, DECISIONS)
"""Those of ``mec``, and of results that do not say what theirs are."""


def metric_names(env: str, env_config: Mapping[str, Any]) -> MetricNames:
    """Returns what an environment says of itself: its ``metric_names`` and ``decision_names``.

    Of one that says nothing there is the reward.

    Raises:
        InputError: there is no such environment, or it cannot be made.
    """
    made = environments.resolve(env).check(env_config)
    return MetricNames(
        tuple(getattr(made, "metric_names", ("reward",))),
        tuple(getattr(made, "decision_names", ())),
    )
