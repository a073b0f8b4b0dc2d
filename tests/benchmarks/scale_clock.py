"""Clocks on the parts of an iteration, and what nodes have put into their object stores.

Wall time of each part, and of sampling the processor time of the trial's process, too: that is what
it does by itself for every runner and every step, and does not get less with more machines.

Runs in the process of a trial, as a callback of RLlib's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import ray
from ray._private.internal_api import node_stats
from ray.rllib.callbacks.callbacks import RLlibCallback

_PARTS = ("all", "learning", "sync")


class Clock(RLlibCallback):
    """Puts ``clock`` into each result: seconds of each part, bytes, and nodes with runners."""

    def on_algorithm_init(self, *, algorithm: Any, **kwargs: Any) -> None:
        self._seconds = dict.fromkeys(_PARTS, 0.0)
        self._busy = dict.fromkeys(_PARTS, 0.0)
        group, learners = algorithm.env_runner_group, algorithm.learner_group
        learners.update = self._timed(learners.update, "learning")
        group.sync_weights = self._timed(group.sync_weights, "sync")
        algorithm.training_step = self._timed(algorithm.training_step, "all")
        nodes = group.foreach_env_runner(
            lambda runner: ray.get_runtime_context().get_node_id(), local_env_runner=False
        )
        self._nodes = len(set(nodes))

    def on_train_result(self, *, algorithm: Any, result: dict[str, Any], **kwargs: Any) -> None:
        seconds, busy = self._seconds, self._busy
        seconds["sampling"] = seconds["all"] - seconds["learning"] - seconds["sync"]
        trial = busy["all"] - busy["learning"] - busy["sync"]
        result["clock"] = {
            **seconds,
            "trial": trial,
            "store_bytes": _stored(),
            "nodes": self._nodes,
        }
        self._seconds = dict.fromkeys(_PARTS, 0.0)
        self._busy = dict.fromkeys(_PARTS, 0.0)

    def _timed(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            began, busy = time.perf_counter(), time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self._seconds[name] += time.perf_counter() - began
                self._busy[name] += time.process_time() - busy

        return call


def _stored() -> int:
    """Bytes of all objects that any node's store has ever been given."""
    return sum(
        node_stats(
            node["NodeManagerAddress"], node["NodeManagerPort"]
        ).store_stats.cumulative_created_bytes
        for node in ray.nodes()
        if node["Alive"]
    )
