"""What policies decide on ``field``, and how that differs between the studies of one file.

Studies of one file that differ in what decisions bring, as in the curve that says how good an
emulator is, are compared by what HMPPO decides in each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rllib_mec.experiment.report.policies import Group, groups_of, interval, mean, values
from rllib_mec.experiment.report.results import Study
from rllib_mec.experiment.report.statistics import welch_difference
from rllib_mec.experiment.study.results import TRAINED
from rllib_mec.system import DECISIONS

DECIDED = (*DECISIONS, "emulator_changes", "perplexity", "total_delay_min")
"""Columns of a study's own table: the decisions, and what they lead to."""

COMPARED = (*DECISIONS, "emulator_changes")
"""What is compared between studies."""

VARIANT = "HMPPO"
"""Whose decisions are compared."""

Row = dict[str, Any]


def decision_rows(groups: Sequence[Group]) -> list[Row]:
    """Returns a row for each policy whose decisions are known.

    Each of DECIDED has its ``mean`` and ``ci95``, or is None: who sends all to the server trains
    with no retention.
    """
    return [
        {
            **_about(group),
            "policy": group[0].variant,
            "kind": group[0].kind,
            **{metric: _entry(group, metric) for metric in DECIDED},
        }
        for group in groups
        if any(values(group, metric) for metric in DECISIONS)
    ]


def comparisons(studies: Sequence[Study]) -> dict[str, list[Row]]:
    """Returns, by the name of the study that others are compared with, the rows of its table.

    Studies are compared that belong to the same file and have a trained HMPPO on the same number of
    UEs; with the one that comes first in the file. Each of COMPARED has ``mean`` and ``ci95``, and
    in all rows but the first the ``difference`` to that study's, a mean and Welch's interval.
    """
    files: dict[tuple[tuple[str, ...], int], list[tuple[Study, Group]]] = {}
    for study in studies:
        together = tuple(study.origin.together)
        for (variant, num_ues), group in groups_of(study).items():
            known = any(values(group, metric) for metric in DECISIONS)
            if study.name in together and variant == VARIANT and known:
                files.setdefault((together, num_ues), []).append((study, group))
    found: dict[str, list[Row]] = {}
    for (together, _), members in files.items():
        if len(members) < 2:
            continue
        members.sort(key=lambda member: together.index(member[0].name))
        reference, theirs = members[0]
        found.setdefault(reference.name, []).extend(
            {
                **_about(group),
                "study": study.name,
                **{metric: _compared(group, theirs, metric) for metric in COMPARED},
            }
            for study, group in members
        )
    return found


def _about(group: Group) -> Row:
    is_trained = group[0].kind == TRAINED
    return {"num_ues": group[0].num_ues, "seeds": len(group) if is_trained else None}


def _entry(group: Group, metric: str) -> Row | None:
    if not values(group, metric):
        return None
    return {"mean": mean(group, metric), "ci95": interval(group, metric)}


def _compared(ours: Group, theirs: Group, metric: str) -> Row | None:
    entry = _entry(ours, metric)
    if entry is None or ours is theirs or not values(theirs, metric):
        return entry and {**entry, "difference": None}
    return {**entry, "difference": welch_difference(values(ours, metric), values(theirs, metric))}
