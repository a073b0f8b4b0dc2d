"""The table of a study of another environment than ``mec``, as of ``fedpeat``.

All metrics that the environment measures and the time that training takes, policy by policy, and
what one algorithm has over each of the others, as in Figure 5 of FedPEAT (arXiv 2310.17491).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rllib_mec.experiment.report.policies import Group, interval, mean, values
from rllib_mec.experiment.report.results import Run, Study
from rllib_mec.experiment.report.statistics import (
    mean_interval,
    welch_difference,
    welch_difference_to,
)
from rllib_mec.experiment.study.results import EXPLORED, TRAINED
from rllib_mec.system import METRICS

ALGORITHM = "SABPPO"
"""Whose first variant the others are compared with; without it the first that is trained."""

TIMES = ("train_seconds", "steps_per_second")
"""Columns about the training of a seed."""

Row = dict[str, Any]


def is_control(study: Study) -> bool:
    """Whether a study is of an environment that does not measure what ``mec`` does."""
    return not set(METRICS) <= set(study.origin.metrics)


def control_table(study: Study) -> dict[str, Any]:
    """Returns the table as JSON holds it.

    ``metrics``: their names. ``reference``: the policy that others are compared with, or None.
    ``rows``, by number of UEs, highest reward first: ``policy``, ``algorithm``, ``kind``,
    ``trained_ues``, ``num_ues``, ``seeds``, ``steps``, ``episodes``, and for each metric and each
    of TIMES ``mean`` and ``ci95``, or None; over seeds (Student's t) where something is trained,
    else over episodes. ``differences``: ``policy``, the reference, ``less`` another one, ``seeds``
    of both, and the same entries with Welch's intervals.
    """
    groups = _groups(study)
    metrics = study.origin.names.all
    reference = _reference(study.runs)
    ordered = sorted(groups, key=lambda group: (group[0].num_ues, -mean(group, "reward")))
    ours = {_where(group[0]): group for group in groups if group[0].variant == reference}
    return {
        "study": study.name,
        "env": study.origin.spec.get("env"),
        "command": study.origin.command,
        "versions": study.origin.versions,
        "metrics": list(metrics),
        "reference": reference,
        "rows": [_row(group, metrics) for group in ordered],
        "differences": [
            _difference(own, group, metrics)
            for group in ordered
            if group[0].variant != reference and (own := _beside(group[0], ours))
        ],
    }


def _groups(study: Study) -> list[list[Run]]:
    """The runs of each policy, apart by what it was trained and evaluated on."""
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in study.runs:
        groups.setdefault((run.variant, *_where(run)), []).append(run)
    return list(groups.values())


def _where(run: Run) -> tuple[int | None, int]:
    return run.trained_ues, run.num_ues


def _reference(runs: Sequence[Run]) -> str | None:
    trained = [run for run in runs if run.kind == TRAINED]
    named = [run for run in trained if run.algorithm == ALGORITHM]
    return next((run.variant for run in [*named, *trained]), None)


def _beside(run: Run, ours: dict[tuple[int | None, int], list[Run]]) -> list[Run] | None:
    """The reference's runs that compare with a run; nothing with other training than its."""
    return ours.get((run.num_ues if run.trained_ues is None else run.trained_ues, run.num_ues))


def _row(group: Group, metrics: Sequence[str]) -> Row:
    first = group[0]
    is_trained = first.kind == TRAINED
    return {
        "policy": first.variant,
        "algorithm": first.algorithm,
        "kind": first.kind,
        "trained_ues": first.trained_ues,
        "num_ues": first.num_ues,
        "seeds": len(group) if is_trained else None,
        "steps": first.steps,
        "episodes": first.episodes,
        **{metric: _entry(group, metric) for metric in metrics},
        **{name: _over_seeds(of(group)) for name, of in _OF_TRAINING.items()},
    }


def _entry(group: Group, metric: str) -> Row | None:
    if not values(group, metric):
        return None
    return {"mean": mean(group, metric), "ci95": interval(group, metric)}


def _over_seeds(found: Sequence[float]) -> Row | None:
    return {"mean": float(np.mean(found)), "ci95": mean_interval(found)} if found else None


def _seconds(group: Group) -> list[float]:
    """Of each seed; none of what was evaluated a second time, with drawn actions."""
    if group[0].variant.endswith(EXPLORED):
        return []
    return [run.train_seconds for run in group if run.train_seconds is not None]


def _speeds(group: Group) -> list[float]:
    return [
        run.steps / run.train_seconds
        for run in group
        if run.steps and run.train_seconds and not run.variant.endswith(EXPLORED)
    ]


_OF_TRAINING: dict[str, Callable[[Group], list[float]]] = dict(
    zip(TIMES, (_seconds, _speeds), strict=True)
)


def _difference(ours: Group, theirs: Group, metrics: Sequence[str]) -> Row:
    return {
        "policy": ours[0].variant,
        "less": theirs[0].variant,
        "kind": theirs[0].kind,
        "trained_ues": ours[0].trained_ues,
        "num_ues": ours[0].num_ues,
        "seeds": [len(ours), len(theirs) if theirs[0].kind == TRAINED else None],
        **{metric: _less(ours, theirs, metric) for metric in metrics},
        **{name: _less_time(of(ours), of(theirs)) for name, of in _OF_TRAINING.items()},
    }


def _less(ours: Group, theirs: Group, metric: str) -> Row | None:
    x, y = values(ours, metric), values(theirs, metric)
    if not x or not y:
        return None
    if theirs[0].kind == TRAINED:
        return welch_difference(x, y)
    only = theirs[0]
    return welch_difference_to(x, y[0], only.errors[metric], only.episodes)


def _less_time(x: Sequence[float], y: Sequence[float]) -> Row | None:
    return welch_difference(x, y) if x and y else None
