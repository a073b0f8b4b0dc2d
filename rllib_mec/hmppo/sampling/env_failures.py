"""Environments that fail: what is logged and counted, and when a runner gives up."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from ray.rllib.env.env_errors import StepFailedRecreateEnvError
from ray.rllib.env.env_runner import NUM_ENV_STEP_FAILURES_LIFETIME

logger = logging.getLogger("ray.rllib")

MOST_WITHOUT_A_STEP = 3
"""Failures in a row, without one completed step in between, that end a runner."""

MOST_WITHOUT_A_SAMPLE = 100
"""Failures in a row, without one step in between that was kept, that end a runner.

An environment that never gets to the end of an episode would go on for ever otherwise.
"""


class EnvFailures:
    """Counts the failures of one runner's environments."""

    def __init__(self) -> None:
        self._total = 0
        self._without_a_step = 0
        self._without_a_sample = 0

    def failed(self, error: Exception, runner: Any) -> None:
        """Notes a failure.

        Raises:
            Exception: ``error`` itself, if there have been too many in a row.
        """
        self._total += 1
        self._without_a_step += 1
        self._without_a_sample += 1
        runner.metrics.log_value(NUM_ENV_STEP_FAILURES_LIFETIME, 1, reduce="lifetime_sum")
        if (
            self._without_a_step >= MOST_WITHOUT_A_STEP
            or self._without_a_sample >= MOST_WITHOUT_A_SAMPLE
        ):
            raise error
        # RLlib's error for environments that ask to be made anew: nothing is wrong.
        if not isinstance(error, StepFailedRecreateEnvError):
            logger.error(
                "The environments of runner %s failed and are made anew; the steps since their "
                "last reset or sample are dropped. The error: %r",
                runner.worker_index,
                error,
                exc_info=error,
            )

    def stepped(self) -> None:
        """Notes a completed step."""
        self._without_a_step = 0

    def kept(self) -> None:
        """Notes that steps have become part of a sample."""
        self._without_a_sample = 0

    def seed(self, seed: int | None) -> int | None:
        """Returns the seed of the environments to come, given the runner's own.

        After a failure it is another one: the same episode would fail in the same way.
        """
        if seed is None or not self._total:
            return seed
        stream = np.random.SeedSequence([seed, self._total])
        return int(stream.generate_state(1)[0]) >> 1  # environments take 31 bits
