"""A study's results as rows: one for each variant and number of UEs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from rllib_mec.errors import InputError
from rllib_mec.experiment.report import paper
from rllib_mec.experiment.report.results import Run, Study
from rllib_mec.experiment.report.statistics import (
    Values,
    improvement_interval,
    iqm,
    iqm_interval,
    median_of_reached,
    normal_interval,
    normalised,
    probability_of_improvement,
    steps_to_score,
)
from rllib_mec.experiment.study.results import KINDS
from rllib_mec.system import METRICS

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class References:
    """Between what the scores of one number of UEs are normalised.

    random, hold: mean rewards. episodes: of their evaluation, the same ones for both.
    """

    random: float
    hold: float
    episodes: int

    def score(self, run: Run) -> float | None:
        """Returns the normalised score of a run; None where it played other episodes."""
        if run.episodes != self.episodes:
            return None
        return float(normalised(_reward(run), self.random, self.hold))


@dataclasses.dataclass(frozen=True)
class Table:
    """What a study says, as JSON holds it.

    reference: HMPPO's variant that the others are compared with: that of the default critic, or
        else the first; None where HMPPO was not trained.
    scales: for each number of UEs, between what scores are normalised; None where that is missing.
    rows: by number of UEs; first what was trained, then baselines, then bounds.
    improvements: the probability that the reference's seeds have more reward than others'.
    unlike: rows that would have one, but for other steps of training, or other episodes.
    """

    study: Study
    reference: str | None
    scales: dict[int, References | None]
    rows: list[Row]
    improvements: list[Row]
    unlike: list[Row]

    @property
    def own(self) -> list[Row]:
        """The rows on the number of UEs that was trained on, baselines and bounds included."""
        return [row for row in self.rows if not is_zero_shot(row)]

    def to_dict(self) -> dict[str, Any]:
        """Returns it for a JSON file."""
        return {
            "study": self.study.name,
            "command": self.study.origin.command,
            "versions": self.study.origin.versions,
            "rows": self.rows,
            "probability_of_improvement": self.improvements,
        }


def is_zero_shot(row: Row) -> bool:
    """Whether a row is of another number of UEs than was trained on."""
    return row["trained_ues"] not in (None, row["num_ues"])


def make_table(study: Study, with_paper: bool = False) -> Table:
    """Returns the table of a study.

    Args:
        with_paper: the paper's figures stand beside those of the same algorithm and UEs.

    Raises:
        InputError: the seeds of a variant do not have the same metrics.
    """
    scales = {ues: _references(study.runs, ues) for ues in sorted({r.num_ues for r in study.runs})}
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in study.runs:
        groups.setdefault((run.variant, run.trained_ues, run.num_ues), []).append(run)
    # Stable: within a kind, variants stay in the order of the study.
    ordered = sorted(groups.values(), key=lambda g: (g[0].num_ues, KINDS.index(g[0].kind)))
    rows = [_row(study, group, scales[group[0].num_ues], with_paper) for group in ordered]
    reference = _reference(study.runs)
    rewards = {_key(group[0]): [_reward(run) for run in group] for group in ordered}
    ours = {
        (row["trained_ues"], row["num_ues"]): row for row in rows if row["variant"] == reference
    }
    pairs, unlike = [], []
    for row in rows:
        if row["kind"] != "trained" or row["variant"] == reference:
            continue
        against = ours.get((row["trained_ues"], row["num_ues"]))
        if reference is None or against is None:
            continue
        if any(row[key] != against[key] for key in ("steps", "episodes")):
            unlike.append(row)
        else:
            pairs.append(_improvement(reference, row, rewards))
    return Table(study, reference, scales, rows, pairs, unlike)


def _key(run: Run) -> tuple[str, int | None, int]:
    return run.variant, run.trained_ues, run.num_ues


def _reward(run: Run) -> float:
    reward = run.means["reward"]
    assert reward is not None  # the column holds no null
    return reward


def _references(runs: Sequence[Run], num_ues: int) -> References | None:
    """Finds the one evaluation of random and the one of hold; None where that is not so."""
    found = {
        name: [run for run in runs if run.algorithm == name and run.num_ues == num_ues]
        for name in ("random", "hold")
    }
    if any(len(same) != 1 for same in found.values()):
        return None
    random, hold = found["random"][0], found["hold"][0]
    if random.episodes != hold.episodes or _reward(random) >= _reward(hold):
        return None
    return References(_reward(random), _reward(hold), hold.episodes)


def _reference(runs: Sequence[Run]) -> str | None:
    trained = [run for run in runs if run.kind == "trained" and run.algorithm == "HMPPO"]
    default = [run for run in trained if run.critic == "decision_point"]
    return next((run.variant for run in [*default, *trained]), None)


def _row(study: Study, group: Sequence[Run], scale: References | None, with_paper: bool) -> Row:
    first = group[0]
    return {
        "variant": first.variant,
        "algorithm": first.algorithm,
        "critic": first.critic,
        "kind": first.kind,
        "trained_ues": first.trained_ues,
        "num_ues": first.num_ues,
        "seeds": len(group) if first.kind == "trained" else None,
        "steps": first.steps and max(run.steps or 0 for run in group),
        "episodes": first.episodes,
        **{metric: _metric(study, group, metric) for metric in METRICS},
        "normalised_score": _scores(group, scale),
        "steps_to_095": _steps_to_good(study, group, scale),
        "paper": paper.figures(first.algorithm, first.num_ues)
        if with_paper and first.trained_ues in (None, first.num_ues)
        else None,
    }


def _metric(study: Study, group: Sequence[Run], metric: str) -> Row | None:
    """Over seeds; of what has none, the mean over episodes."""
    values = [mean for run in group if (mean := run.means[metric]) is not None]
    first = group[0]
    if len(values) not in (0, len(group)):
        message = f"{first.variant} with {first.num_ues} UEs: {metric}: expected all seeds or none"
        raise InputError(f"{study.path}: {message}")
    if not values:
        return None
    if first.kind == "trained":
        return _over_seeds(values)
    return {"iqm": values[0], "ci95": normal_interval(values[0], first.errors[metric])}


def _over_seeds(values: Values) -> Row:
    return {"iqm": float(iqm(values)), "ci95": iqm_interval(values)}


def _scores(group: Sequence[Run], scale: References | None) -> Row | None:
    scores = [s for run in group if scale is not None and (s := scale.score(run)) is not None]
    if len(scores) < len(group):
        return None
    if group[0].kind == "trained":
        return {**_over_seeds(scores), "worst": min(scores), "seeds": scores}
    return {"iqm": scores[0], "ci95": None, "worst": None, "seeds": None}


def _steps_to_good(study: Study, group: Sequence[Run], scale: References | None) -> Row | None:
    """None without scores, and where some seed has no curve of these UEs."""
    variant, trained_ues, num_ues = _key(group[0])
    if scale is None or trained_ues != num_ues:
        return None
    curves = {c.seed: c for c in study.curves if (c.variant, c.num_ues) == (variant, num_ues)}
    if any(run.seed not in curves for run in group):
        return None
    reached = []
    for run in group:
        curve = curves[run.seed or 0]
        scores = normalised(curve.metrics["reward"], scale.random, scale.hold)
        reached.append(steps_to_score(curve.steps, scores))
    worst = None if None in reached else max(steps for steps in reached if steps is not None)
    return {
        "median": median_of_reached(reached),
        "worst": worst,
        "reached": len(reached) - reached.count(None),
    }


def _improvement(reference: str, row: Row, rewards: dict[Any, list[float]]) -> Row:
    where = (row["trained_ues"], row["num_ues"])
    ours, theirs = rewards[(reference, *where)], rewards[(row["variant"], *where)]
    return {
        "variant": reference,
        "over": row["variant"],
        "trained_ues": row["trained_ues"],
        "num_ues": row["num_ues"],
        "probability": probability_of_improvement(ours, theirs),
        "ci95": improvement_interval(ours, theirs),
    }
