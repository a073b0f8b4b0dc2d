"""The tables of studies of other environments than ``mec``, in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rllib_mec.experiment.report.control import TIMES
from rllib_mec.experiment.report.elements import Columns
from rllib_mec.experiment.report.wording import DIGITS, LABELS, NOTHING, in_brackets, number

CONTROL_METHOD = (
    "Means, of trained policies over seeds (in brackets Student's 95 % interval over seeds), of "
    "baselines over episodes; all on the same unseen episodes, trained ones with their most "
    "probable actions. Differences have Welch's 95 % interval. Training time: of one seed, by the "
    "clock, without evaluation; seeds that are trained as one stack share it, each has an equal "
    "part. It depends on the machine, and on what else that does."
)
"""How these tables are computed."""

_LABELS = LABELS | {"train_seconds": "training time, s", "steps_per_second": "steps/s"}
_DIGITS = DIGITS | {"train_seconds": 1, "steps_per_second": 0}


def label(metric: str) -> str:
    """Returns what people read of a metric."""
    return _LABELS.get(metric, metric.replace("_", " "))


def in_words(entry: Mapping[str, Any] | None, metric: str) -> str:
    """Returns "-707.47 [-708.10, -706.84]", with the digits of a metric."""
    if entry is None:
        return NOTHING
    digits = _DIGITS.get(metric, 3)
    return number(entry["mean"], digits) + in_brackets(entry["ci95"], digits)


def control_tables(
    control: Mapping[str, Any],
) -> list[tuple[str, Columns, Sequence[Mapping[str, Any]]]]:
    """Returns name, columns and rows of each table about a study; none is empty."""
    entries: Columns = tuple(
        (f"{label(metric)} [95 %]", _cell(metric)) for metric in (*control["metrics"], *TIMES)
    )
    ues: Columns = (("UEs", _ues),)
    rows: Columns = (
        *ues,
        ("policy", lambda row: row["policy"]),
        ("kind", lambda row: row["kind"]),
        ("seeds", lambda row: number(row["seeds"], 0)),
        ("steps", lambda row: number(row["steps"], 0)),
        *entries,
    )
    differences: Columns = (
        *ues,
        ("less", lambda row: row["less"]),
        ("seeds", lambda row: " / ".join(number(each, 0) for each in row["seeds"])),
        *entries,
    )
    study = control["study"]
    tables = [
        (study, rows, control["rows"]),
        (f"{study}, {control['reference']} less others", differences, control["differences"]),
    ]
    return [table for table in tables if table[-1]]


def findings(control: Mapping[str, Any]) -> list[str]:
    """Returns what the reference's rewards say, a sentence for each number of UEs."""
    lines = []
    for where in dict.fromkeys((r["trained_ues"], r["num_ues"]) for r in control["differences"]):
        own = [r for r in control["differences"] if (r["trained_ues"], r["num_ues"]) == where]
        verdicts: dict[str, list[str]] = {}
        for row in own:
            verdicts.setdefault(_verdict(row["reward"]), []).append(row["less"])
        said = ". ".join(f"{verdict} {'; '.join(names)}" for verdict, names in verdicts.items())
        lines.append(f"Reward of {control['reference']} with {_ues(own[0])} UEs, {said}.")
    return lines


def _verdict(difference: Mapping[str, Any]) -> str:
    if difference["ci95"] is None:
        return "one seed, no interval:"
    low, high = difference["ci95"]
    if low > 0:
        return "above that of:"
    return "below that of:" if high < 0 else "no difference beyond the interval:"


def _ues(row: Mapping[str, Any]) -> str:
    if row["trained_ues"] in (None, row["num_ues"]):
        return str(row["num_ues"])
    return f"{row['trained_ues']} → {row['num_ues']}"


def _cell(metric: str) -> Callable[[Any], str]:
    return lambda row: in_words(row[metric], metric)
