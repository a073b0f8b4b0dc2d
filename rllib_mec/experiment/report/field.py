"""The table of the scenario ``field``: rewards between the best fixed policy and full information.

On ``field`` no fixed policy is near the best, so that ``hold``, which other tables are normalised
by, is no goal. Here the scale is the *gap*: 0 is the best fixed policy, 1 is greedy with full
information. What a critic is worth is the difference to IPPO, with an interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rllib_mec.experiment.report.decisions import comparisons, decision_rows
from rllib_mec.experiment.report.policies import Group, Groups, groups_of, interval, mean, values
from rllib_mec.experiment.report.results import Study
from rllib_mec.experiment.report.statistics import welch_difference
from rllib_mec.experiment.study.results import BOUND, EXPLORED, TRAINED

FIXED = ("all-server", "hold")
"""Policies that do the same in every step, not chosen in hindsight."""

FULL_INFORMATION = ("greedy", "greedy-coordinate")
"""The best of one step with everything known; the second where there are too many UEs for it."""

Row = dict[str, Any]


def is_field(study: Study) -> bool:
    """Whether a study is of ``field`` and has what the scale needs: greedy and a fixed policy."""
    names = {run.algorithm for run in study.runs}
    scenario = study.origin.spec.get("config", {}).get("env_config", {}).get("scenario")
    if isinstance(scenario, dict):
        scenario = scenario.get("base")
    if not str(scenario).startswith("field"):
        return False
    return bool(names & set(FULL_INFORMATION)) and bool(names & set(FIXED))


def field_tables(studies: Sequence[Study]) -> list[dict[str, Any]]:
    """Returns the tables of those studies that are of ``field``, as JSON holds them.

    ``compared`` holds what :func:`~rllib_mec.experiment.report.decisions.comparisons` says about
    the studies that are compared with this one.
    """
    own = [study for study in studies if is_field(study)]
    compared = comparisons(own)
    return [{**field_table(study), "compared": compared.get(study.name, [])} for study in own]


def field_table(study: Study) -> dict[str, Any]:
    """Returns the table as JSON holds it.

    ``rows``: ``policy``; ``num_ues``; ``kind``; ``seeds``, None where nothing is trained;
    ``reward`` with its ``mean`` and ``ci95``, over seeds (Student's t) where something is trained
    and else over episodes; ``gap_closed``, for trained policies the share of the gap from the best
    fixed policy to greedy with full information, and ``bound_closed``, to the oracle's bound;
    ``differences``: of variants "HMPPO" and "IPPO", or of each pair "SETTING: HMPPO" and "SETTING:
    IPPO", HMPPO's reward less IPPO's (Welch's interval). ``decisions``: see
    :func:`~rllib_mec.experiment.report.decisions.decision_rows`.
    """
    groups = groups_of(study)
    rows, decisions = [], []
    for num_ues in sorted({ues for _, ues in groups}):
        own = [group for (_, ues), group in groups.items() if ues == num_ues]
        own.sort(key=lambda group: mean(group, "reward"))
        rows += _rows(own)
        decisions += decision_rows(own)
    return {
        "study": study.name,
        "command": study.origin.command,
        "versions": study.origin.versions,
        "rows": rows,
        "differences": _differences(groups),
        "decisions": decisions,
    }


def _rows(groups: Sequence[Group]) -> list[Row]:
    means = {
        group[0].algorithm: mean(group, "reward") for group in groups if group[0].kind != TRAINED
    }
    fixed = max((means[name] for name in FIXED if name in means), default=None)
    full = next((means[name] for name in FULL_INFORMATION if name in means), None)
    bound = next((mean(group, "reward") for group in groups if group[0].kind == BOUND), None)
    rows = []
    for group in groups:
        first = group[0]
        is_trained = first.kind == TRAINED
        rows.append(
            {
                "policy": first.variant,
                "num_ues": first.num_ues,
                "kind": first.kind,
                "critic": first.critic,
                "seeds": len(group) if is_trained else None,
                "episodes": first.episodes,
                "reward": {"mean": mean(group, "reward"), "ci95": interval(group, "reward")},
                "gap_closed": _share(group, fixed, full),
                "bound_closed": _share(group, fixed, bound),
            }
        )
    return rows


def _share(group: Group, low: float | None, high: float | None) -> Row | None:
    """What share of the way from ``low`` to ``high`` a trained policy goes, over its seeds."""
    if group[0].kind != TRAINED or low is None or high is None or high <= low:
        return None
    shares = [(reward - low) / (high - low) for reward in values(group, "reward")]
    limits = interval(group, "reward")
    ends = None if limits is None else [(end - low) / (high - low) for end in limits]
    return {"mean": float(np.mean(shares)), "ci95": ends, "worst": min(shares)}


def _differences(groups: Groups) -> list[Row]:
    """HMPPO less IPPO in each setting that has both."""
    differences = []
    for (variant, num_ues), ours in groups.items():
        setting, separator, name = variant.rpartition(": ")
        theirs = groups.get((f"{setting}{separator}IPPO", num_ues))
        if theirs is None or not name.startswith("HMPPO") or name.endswith(EXPLORED):
            continue
        x, y = values(ours, "reward"), values(theirs, "reward")
        difference = welch_difference(x, y)
        differences.append(
            {
                "setting": setting,
                "num_ues": num_ues,
                "policy": name,
                "seeds": [len(x), len(y)],
                "difference": difference["mean"],
                "ci95": difference["ci95"],
            }
        )
    return differences
