"""Sampling ahead: remote runners sample the next batch while the learners learn from this one.

Iteration k asks for batch k + 1 and then learns from batch k. A request carries the weights that
its batch is to be sampled with, those of before this iteration's update. So from the second
iteration on the learners learn from a batch that the policy of one update ago has sampled; the
first batch has to be waited for, and is sampled by the policy that learns from it.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import ray
from ray.rllib.core import COMPONENT_ENV_TO_MODULE_CONNECTOR, COMPONENT_MODULE_TO_ENV_CONNECTOR

from rllib_mec.hmppo.sampling.weights import load_weights

_TAG = "sample_ahead"

logger = logging.getLogger(__name__)


@dataclasses.dataclass
class Sample:
    """What the runners have answered to one request; empty if none of them has.

    episodes: RLlib's episodes, or a TeamBatch for each answer.
    metrics, connector_states: one entry for each answer.
    """

    episodes: list[Any] = dataclasses.field(default_factory=list)
    metrics: list[Any] = dataclasses.field(default_factory=list)
    connector_states: list[Any] = dataclasses.field(default_factory=list)


class SampleAhead:
    """The batch in flight at the remote environment runners.

    A batch that is not collected is not counted either: its metrics come with it.
    """

    def __init__(self, runners: Any, config: Any, weights: Callable[[], dict[str, Any]]) -> None:
        """Asks for nothing yet.

        Args:
            runners: RLlib's ``EnvRunnerGroup``, with one request in flight per runner at most.
            config: the algorithm's: size of a batch, and how long to wait for samples.
            weights: returns the weights that the next batch is to be sampled with.
        """
        self._runners, self._config, self._weights = runners, config, weights
        self._number = 0
        self._request: dict[str, Any] | None = None

    def request(self) -> None:
        """Asks for the next batch, to be sampled with the present weights."""
        self._number += 1
        self._request = {"number": self._number, "weights": ray.put(self._weights())}
        self._ask_the_idle()

    def collect(self) -> Sample:
        """Waits for the batch that was asked for last, and asks for it if none was.

        As without sampling ahead, the runners sample another round, with the same weights, until
        the batch is full, and each round is waited for ``sample_timeout_s`` at most. What comes
        later than that is thrown away.
        """
        if self._request is None:
            self.request()
        sample, steps = Sample(), 0
        while steps < self._config.total_train_batch_size:
            self._ask_the_idle()
            answers = self._runners.fetch_ready_async_reqs(
                tags=_TAG, timeout_seconds=self._config.sample_timeout_s
            )
            self._warn_of_late_ones()
            if not answers:
                break
            for _, (number, episodes, metrics, connector_state) in answers:
                if number != self._number:
                    continue
                sample.episodes.extend(episodes)
                sample.metrics.append(metrics)
                sample.connector_states.append(connector_state)
                # "env_steps" or "agent_steps", which are also the names of the methods.
                steps += sum(getattr(e, self._config.count_steps_by)() for e in episodes)
        return sample

    def discard(self) -> None:
        """Throws the batch in flight away; the next one is sampled with the weights of then."""
        self._request = None

    def _ask_the_idle(self) -> None:
        # RLlib passes over runners with a request in flight. So one that was restarted, or has
        # answered too late, is asked when its turn comes.
        self._runners.foreach_env_runner_async(_sample, tag=_TAG, kwargs=self._request)

    def _warn_of_late_ones(self) -> None:
        late = self._runners.num_in_flight_async_reqs(tag=_TAG)
        if late:
            logger.warning(
                f"{late} environment runner(s) gave no sample within sample_timeout_s = "
                f"{self._config.sample_timeout_s:g} s: the iteration goes on without them"
            )


def _sample(runner: Any, *, number: int, weights: dict[str, Any]) -> tuple[Any, ...]:
    """What a runner does at a request: all in one call, so that no part of it is lost."""
    load_weights(runner, weights)
    episodes = runner.sample()
    connectors = [COMPONENT_ENV_TO_MODULE_CONNECTOR, COMPONENT_MODULE_TO_ENV_CONNECTOR]
    return number, episodes, runner.get_metrics(), runner.get_state(components=connectors)
