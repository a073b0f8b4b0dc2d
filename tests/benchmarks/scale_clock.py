"""Clocks on the parts of an iteration, and what nodes have put into their object stores.

Runs in the process of a trial, as a callback of RLlib's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import ray
from ray._private.internal_api import node_stats
from ray.rllib.callbacks.callbacks import RLlibCallback


class Clock(RLlibCallback):
    """Puts ``clock`` into each result: seconds of each part, bytes, and nodes with runners."""

    def on_algorithm_init(self, *, algorithm: Any, **kwargs: Any) -> None:
        self._seconds: dict[str, float] = {}
        group, learners = algorithm.env_runner_group, algorithm.learner_group
        learners.update = self._timed(learners.update, "learning")
        group.sync_weights = self._timed(group.sync_weights, "sync")
        algorithm.training_step = self._timed(algorithm.training_step, "all")
        nodes = group.foreach_env_runner(
            lambda runner: ray.get_runtime_context().get_node_id(), local_env_runner=False
        )
        self._nodes = len(set(nodes))

    def on_train_result(self, *, algorithm: Any, result: dict[str, Any], **kwargs: Any) -> None:
        parts = {name: self._seconds.pop(name, 0.0) for name in ("all", "learning", "sync")}
        parts["sampling"] = parts["all"] - parts["learning"] - parts["sync"]
        result["clock"] = {**parts, "store_bytes": _stored(), "nodes": self._nodes}

    def _timed(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                spent = time.perf_counter() - began
                self._seconds[name] = self._seconds.get(name, 0.0) + spent

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
