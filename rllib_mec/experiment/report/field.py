"""The table of the scenario ``field``: rewards between the best fixed policy and full information.

On ``field`` no fixed policy is near the best, so that ``hold``, which other tables are normalised
by, is no goal. Here the scale is the *gap*: 0 is the best fixed policy, 1 is greedy with full
information. What a critic is worth is the difference to IPPO, with an interval.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from rllib_mec.experiment.report.results import Run, Study
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


def field_table(study: Study) -> dict[str, Any]:
    """Returns the table as JSON holds it.

    ``rows``: ``policy``; ``num_ues``; ``kind``; ``seeds``, None where nothing is trained;
    ``reward`` with its ``mean`` and ``ci95``, over seeds (Student's t) where something is trained
    and else over episodes; ``gap_closed``, for trained policies the share of the gap from the best
    fixed policy to greedy with full information, and ``bound_closed``, to the oracle's bound;
    ``differences``: of variants "HMPPO" and "IPPO", or of each pair "SETTING: HMPPO" and "SETTING:
    IPPO", HMPPO's reward less IPPO's (Welch's interval).
    """
    groups: dict[tuple[str, int], list[Run]] = {}
    for run in study.runs:
        groups.setdefault((run.variant, run.num_ues), []).append(run)
    rows = []
    for num_ues in sorted({ues for _, ues in groups}):
        own = [group for (_, ues), group in groups.items() if ues == num_ues]
        rows += _rows(own)
    return {
        "study": study.name,
        "command": study.origin.command,
        "versions": study.origin.versions,
        "rows": rows,
        "differences": _differences(groups),
    }


def _rows(groups: Sequence[Sequence[Run]]) -> list[Row]:
    means = {group[0].algorithm: _mean(group) for group in groups if group[0].kind != TRAINED}
    fixed = max((means[name] for name in FIXED if name in means), default=None)
    full = next((means[name] for name in FULL_INFORMATION if name in means), None)
    bound = next((_mean(group) for group in groups if group[0].kind == BOUND), None)
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
                "reward": {"mean": _mean(group), "ci95": _interval(group)},
                "gap_closed": _share(group, fixed, full),
                "bound_closed": _share(group, fixed, bound),
            }
        )
    return sorted(rows, key=lambda row: row["reward"]["mean"])


def _rewards(group: Sequence[Run]) -> list[float]:
    return [reward for run in group if (reward := run.means["reward"]) is not None]


def _mean(group: Sequence[Run]) -> float:
    return float(np.mean(_rewards(group)))


def _interval(group: Sequence[Run]) -> list[float] | None:
    """The 95 % interval: over seeds of what is trained, else over episodes."""
    mean, first = _mean(group), group[0]
    if first.kind == TRAINED:
        if len(group) < 2:
            return None
        error = stats.sem(_rewards(group))
        half = float(stats.t.ppf(0.975, len(group) - 1) * error)
    elif first.errors["reward"] is None:
        return None
    else:
        half = 1.96 * first.errors["reward"]
    return [mean - half, mean + half]


def _share(group: Sequence[Run], low: float | None, high: float | None) -> Row | None:
    """What share of the way from ``low`` to ``high`` a trained policy goes, over its seeds."""
    if group[0].kind != TRAINED or low is None or high is None or high <= low:
        return None
    shares = [(reward - low) / (high - low) for reward in _rewards(group)]
    interval = _interval(group)
    ends = None if interval is None else [(end - low) / (high - low) for end in interval]
    return {"mean": float(np.mean(shares)), "ci95": ends, "worst": min(shares)}


def _differences(groups: dict[tuple[str, int], list[Run]]) -> list[Row]:
    """HMPPO less IPPO in each setting that has both."""
    differences = []
    for (variant, num_ues), ours in groups.items():
        setting, separator, name = variant.rpartition(": ")
        theirs = groups.get((f"{setting}{separator}IPPO", num_ues))
        if theirs is None or not name.startswith("HMPPO") or name.endswith(EXPLORED):
            continue
        x, y = _rewards(ours), _rewards(theirs)
        differences.append(
            {
                "setting": setting,
                "num_ues": num_ues,
                "policy": name,
                "seeds": [len(x), len(y)],
                "difference": float(np.mean(x) - np.mean(y)),
                "ci95": _welch(x, y),
            }
        )
    return differences


def _welch(x: Sequence[float], y: Sequence[float]) -> list[float] | None:
    """The 95 % interval of the difference of two means of unlike variances."""
    if min(len(x), len(y)) < 2:
        return None
    a, b = (float(np.var(values, ddof=1)) / len(values) for values in (x, y))
    difference = float(np.mean(x) - np.mean(y))
    if a + b == 0:
        return [difference, difference]
    degrees = (a + b) ** 2 / (a**2 / (len(x) - 1) + b**2 / (len(y) - 1))
    half = float(stats.t.ppf(0.975, degrees)) * math.sqrt(a + b)
    return [difference - half, difference + half]
