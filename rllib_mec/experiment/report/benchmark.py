"""The table of a study without UEs: what algorithms reach on a task, beside what others report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rllib_mec.experiment.report.policies import Group, values
from rllib_mec.experiment.report.results import NO_UES, Curve, Study
from rllib_mec.experiment.report.statistics import (
    Values,
    iqm,
    iqm_interval,
    normal_interval,
    welch_difference,
)
from rllib_mec.experiment.study.results import EXPLORED, TRAINED

REFERENCE = "HMPPO"
"""The algorithm whose first variant the others are compared with, or else the first trained."""

Row = dict[str, Any]


def is_benchmark(study: Study) -> bool:
    """Whether a study is of an environment without UEs."""
    return all(run.num_ues == NO_UES for run in study.runs)


def unit(study: Study) -> str:
    """Returns the metric in which others report returns; without any, the reward."""
    published = study.origin.spec.get("published") or {}
    return str(published.get("metric", "reward"))


def published(study: Study) -> list[Row]:
    """Returns what others report: ``algorithm``, ``value``, ``steps`` and ``source`` each."""
    return list((study.origin.spec.get("published") or {}).get("returns", ()))


def benchmark_table(study: Study) -> dict[str, Any]:
    """Returns the table as JSON holds it.

    ``metrics``: their names. ``unit``: of ``published``, see :func:`unit` and :func:`published`.
    ``reference``: the policy that others are compared with, or None. ``rows``: ``policy``,
    ``algorithm``, ``kind``, ``seeds``, ``steps``, ``episodes``, and for each metric ``iqm``,
    ``mean`` and ``ci95``, after training and over seeds (the IQM's bootstrap interval); of what is
    not trained over episodes. ``sooner``: the same of training episodes, after as many ``steps``
    as the policy with the fewest has; none if all have as many. ``differences``: ``policy``, the
    reference, ``less`` another one, the ``seeds`` and ``steps`` of both, and for each metric
    ``mean`` and ``ci95`` (Welch's): on unseen episodes after training, or, where one has fewer
    steps, on the training episodes after as many, as ``episodes`` says.
    """
    metrics = study.origin.names.metrics
    groups: dict[str, Group] = {}
    for run in study.runs:
        groups[run.variant] = [*groups.get(run.variant, ()), run]
    trained = {name: group for name, group in groups.items() if group[0].kind == TRAINED}
    reference = _reference(trained)
    steps = {name: _steps(group) for name, group in trained.items()}
    return {
        "study": study.name,
        "env": study.origin.spec.get("env"),
        "command": study.origin.command,
        "versions": study.origin.versions,
        "metrics": list(metrics),
        "unit": unit(study),
        "reference": reference,
        "rows": [_row(group, metrics) for group in groups.values()],
        "sooner": _sooner(study, steps) if len(set(steps.values())) > 1 else [],
        "published": published(study),
        "differences": [
            _difference(study, trained[reference], group)
            for name, group in trained.items()
            if reference is not None and name not in (reference, reference + EXPLORED)
        ],
    }


def curves_of(study: Study, variant: str) -> list[Curve]:
    """Returns the training curves of a variant's seeds."""
    return [curve for curve in study.curves if curve.variant == variant]


def at_steps(curve: Curve, metric: str, steps: int) -> float:
    """Returns a metric of the training episodes after so many steps, between two points linear."""
    return float(np.interp(steps, curve.steps, curve.metrics[metric]))


def _reference(trained: dict[str, Group]) -> str | None:
    named = [name for name, group in trained.items() if group[0].algorithm == REFERENCE]
    return next(iter([*named, *trained]), None)


def _steps(group: Group) -> int:
    """The steps of a policy's seeds, of which each has as many."""
    return max(run.steps or 0 for run in group)


def _row(group: Group, metrics: Sequence[str]) -> Row:
    first = group[0]
    is_trained = first.kind == TRAINED
    return {
        "policy": first.variant,
        "algorithm": first.algorithm,
        "kind": first.kind,
        "seeds": len(group) if is_trained else None,
        "steps": _steps(group) if is_trained else None,
        "episodes": first.episodes,
        **{metric: _entry(group, metric) for metric in metrics},
    }


def _entry(group: Group, metric: str) -> Row | None:
    found = values(group, metric)
    if not found:
        return None
    if group[0].kind == TRAINED:
        return _over_seeds(found)
    mean = found[0]
    return {"iqm": mean, "mean": mean, "ci95": normal_interval(mean, group[0].errors[metric])}


def _over_seeds(found: Values) -> Row:
    return {"iqm": float(iqm(found)), "mean": float(np.mean(found)), "ci95": iqm_interval(found)}


def _sooner(study: Study, steps: dict[str, int]) -> list[Row]:
    fewest = min(steps.values())
    rows = []
    for name in steps:
        curves = curves_of(study, name)
        if not curves:  # explored ones have none
            continue
        found = {
            metric: _over_seeds([at_steps(curve, metric, fewest) for curve in curves])
            for metric in study.origin.names.metrics
        }
        rows.append({"policy": name, "seeds": len(curves), "steps": fewest, **found})
    return rows


def _difference(study: Study, ours: Group, theirs: Group) -> Row:
    names = ours[0].variant, theirs[0].variant
    metrics = study.origin.names.metrics
    steps = min(_steps(ours), _steps(theirs))
    alike = _steps(ours) == _steps(theirs)
    found: Row = {}
    for metric in metrics:
        if alike:
            x, y = values(ours, metric), values(theirs, metric)
        else:
            x, y = ([at_steps(c, metric, steps) for c in curves_of(study, n)] for n in names)
        found[metric] = welch_difference(x, y) if x and y else None
    return {
        "policy": names[0],
        "less": names[1],
        "seeds": [len(ours), len(theirs)],
        "steps": steps,
        "episodes": "unseen" if alike else "training",
        **found,
    }
