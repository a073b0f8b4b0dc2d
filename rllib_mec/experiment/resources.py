"""Whether Ray has what a trial asks for, and what is said while it has not.

A Ray of our own never grows: what it lacks is an error at once. A cluster may be about to get
nodes, and one with an autoscaler gets them because a trial asks.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import ray
import torch
from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
from ray._raylet import (  # type: ignore[attr-defined]
    GCS_AUTOSCALER_STATE_NAMESPACE,
    GCS_AUTOSCALER_V2_ENABLED_KEY,
)
from ray.experimental.internal_kv import _internal_kv_get
from ray.tune import Callback

from rllib_mec.errors import InputError
from rllib_mec.experiment import fitting, interrupt, placement
from rllib_mec.experiment.plan import Plan
from rllib_mec.experiment.progress import duration, label
from rllib_mec.source import KeyPath

SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_BETWEEN_LINES = 60.0

_ADVICE = {
    "CPU": "lower config.num_env_runners or num_learners, or give --num-cpus",
    "GPU": "set config.num_gpus_per_learner to 0",
}


@dataclasses.dataclass(frozen=True)
class Node:
    """A machine of a cluster: its address, and all of its resources, in use or not."""

    address: str
    resources: dict[str, float]


def nodes() -> list[Node]:
    """Returns the nodes that are alive."""
    return [
        Node(node["NodeManagerAddress"], node["Resources"]) for node in ray.nodes() if node["Alive"]
    ]


def check_own(plan: Plan) -> None:
    """Refuses a trial for which a Ray of our own is too small: it would wait for ever.

    Raises:
        InputError: it is, or there are no CUDA devices.
    """
    there = nodes()
    present = ray.cluster_resources()
    for config in plan.configs:
        request = _request(plan, config)
        needed = request.required_resources
        for resource, amount in needed.items():
            if amount > present.get(resource, 0):
                raise InputError(
                    f"{plan.experiment.name}: a trial needs {amount:g} {resource}, Ray has "
                    f"{present.get(resource, 0):g}: "
                    + _ADVICE.get(resource, "start Ray with it, and give --address")
                )
        if (missing := _missing(request, there)) is not None:
            raise InputError(
                f"{plan.experiment.name}: a trial needs {missing}: give --address of a cluster"
            )
        if needed.get("GPU") and not torch.cuda.is_available():
            raise InputError(
                f"{plan.experiment.name}: a trial needs {needed['GPU']:g} GPU, and torch finds no "
                "CUDA device: set config.num_gpus_per_learner to 0"
            )


def check_cluster(
    plan: Plan,
    seconds: float,
    look: Callable[[], Sequence[Node]] = nodes,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Waits until a cluster's nodes can hold each of a plan's trials, by themselves.

    Where there is an autoscaler nothing is waited for: it adds nodes when a trial asks for them.

    Args:
        seconds: how long to wait at most.
        look: returns the cluster's nodes.
        sleep: waits for some seconds.

    Raises:
        InputError: it cannot, and the time is over.
    """
    waited = 0.0
    said = False
    for config in plan.configs:
        request = _request(plan, config)
        while (missing := _missing(request, there := look())) is not None:
            needs = (
                f"a trial needs {missing} (it needs {placement.in_words(config, request)}"
                f"; the cluster has {_in_words(there, request)})"
            )
            if has_autoscaler():
                interrupt.say(f"{plan.experiment.name}: {needs}: left to the cluster's autoscaler")
                break
            if waited >= seconds:
                raise InputError(
                    f"{plan.experiment.name}: {needs}; waited {duration(waited)} for it "
                    "(--wait-for-resources)"
                )
            if not said:
                interrupt.say(f"{plan.experiment.name}: waiting {duration(seconds)}: {needs}")
                said = True
            sleep(SECONDS_BETWEEN_LOOKS)
            waited += SECONDS_BETWEEN_LOOKS
            if interrupt.requested():
                return


class PendingTrials(Callback):
    """Says every minute which trial waits for what, when trials should run and none can.

    Trials that wait for others of the same run to end are the rule in a search, and not told.

    Args:
        config: the trials' algorithm config.
        searched: where the trials' configs differ.
        look: returns the cluster's nodes.
        clock: the time in seconds.
    """

    def __init__(
        self,
        config: Any,
        searched: Sequence[KeyPath] = (),
        look: Callable[[], Sequence[Node]] = nodes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._searched = list(searched)
        self._look = look
        self._clock = clock
        self._since: dict[str, float] = {}
        self._begun: set[str] = set()
        self._said = -math.inf

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Notes which trials were running once."""
        self._begun.add(trial.trial_id)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Says a line about the trial that waits longest, if it should not."""
        now = self._clock()
        pending = {trial.trial_id: trial for trial in trials if trial.status == trial.PENDING}
        self._since = {name: self._since.get(name, now) for name in pending}
        if not any(trial.status == trial.RUNNING for trial in trials):
            stuck = list(pending)
        else:
            stuck = [name for name in pending if name in self._begun]
        if not stuck:
            return
        longest = min(stuck, key=self._since.__getitem__)
        waited = now - self._since[longest]
        if min(waited, now - self._said) < SECONDS_BETWEEN_LINES:
            return
        self._said = now
        interrupt.say(self._line(pending[longest], waited))

    def _line(self, trial: Any, waited: float) -> str:
        request, there = trial.placement_group_factory, self._look()
        missing = _missing(request, there)
        needs = placement.in_words(self._config, request)
        return (
            f"{label(trial, self._searched)} has waited {duration(waited)}: it needs {needs}; "
            f"the cluster has {_in_words(there, request)}"
            + (f": missing is {missing}" if missing else ", in use by others")
        )


def has_autoscaler() -> bool:
    """Tells whether the cluster that this process is connected to adds nodes by itself.

    On every cluster a monitor reports the types of its nodes. Without an autoscaler each node is
    a type of its own, called after its id.
    """
    status = _internal_kv_get(DEBUG_AUTOSCALING_STATUS)
    types = _reported_types(json.loads(status)) if status else set()
    if _internal_kv_get(GCS_AUTOSCALER_V2_ENABLED_KEY, namespace=GCS_AUTOSCALER_STATE_NAMESPACE):
        from ray.autoscaler.v2.sdk import get_cluster_status

        now = get_cluster_status(ray.get_runtime_context().gcs_address)
        types |= {node.ray_node_type_name for node in (*now.active_nodes, *now.idle_nodes)}
    ids = {f"node_{node['NodeID']}" for node in ray.nodes()}
    return bool(types - ids)


def _reported_types(status: Any) -> set[str]:
    report = status.get("autoscaler_report") or {}
    return {*(report.get("active_nodes") or {}), *(report.get("pending_launches") or {})}


def _request(plan: Plan, config: Any) -> Any:
    return placement.request_of(config, plan.experiment.form.env_runners_per_node)


def _missing(request: Any, there: Sequence[Node]) -> str | None:
    """Returns what the nodes lack for a request."""
    bundles = placement.bundles_of(request)
    return fitting.why_not(bundles, [node.resources for node in there], request.strategy)


def _in_words(there: Sequence[Node], request: Any) -> str:
    """Returns what each node has, of what counts."""
    names = {"CPU": 0, "GPU": 0, **request.required_resources}
    every = [
        f"{node.address} " + fitting.words({name: node.resources.get(name, 0) for name in names})
        for node in there
    ]
    counted = [
        line if every.count(line) == 1 else f"{every.count(line)} x {line}"
        for line in dict.fromkeys(every)
    ]
    return "; ".join(counted) or "no nodes"
