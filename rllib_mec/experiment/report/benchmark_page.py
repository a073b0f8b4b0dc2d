"""The page's part about studies without UEs, and their tables in words."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rllib_mec.experiment.report import elements
from rllib_mec.experiment.report.control_wording import in_words, label
from rllib_mec.experiment.report.elements import Columns
from rllib_mec.experiment.report.wording import number

LEARNING = "learning.svg"
"""The file of the figure."""

METHOD = (
    "IQM over seeds with its 95 % bootstrap interval, each seed evaluated with its most probable "
    "actions on unseen episodes; of what is not trained the mean over episodes. Differences are of "
    "means over seeds, with Welch's 95 % interval. Where policies have been trained for unlike "
    "numbers of steps, a second table and the differences compare the training episodes, in which "
    "policies explore, after as many steps as the shorter training has. Published returns are "
    "those of the source named, in the units of the column that they stand in."
)
"""How these tables are computed."""

_CAPTION = (
    "Learning curves of the sampled training episodes, in which policies explore: IQM over seeds "
    "and its 95 % bootstrap interval. Lines in black: published returns, at the end of the "
    "training that their source reports."
)

Tables = list[tuple[str, Columns, Sequence[Mapping[str, Any]]]]


def benchmark_tables(table: Mapping[str, Any]) -> Tables:
    """Returns name, columns and rows of each table about a study; none is empty."""
    entries = _columns(table["metrics"], "iqm")
    numbers: Columns = (
        ("policy", lambda row: row["policy"]),
        ("seeds", lambda row: number(row["seeds"], 0)),
        ("steps", lambda row: number(row["steps"], 0)),
    )
    source: Columns = (("source", lambda row: row.get("source", "ours")),)
    differences: Columns = (
        ("less", lambda row: row["less"]),
        ("seeds", lambda row: " / ".join(number(each, 0) for each in row["seeds"])),
        ("after steps", lambda row: number(row["steps"], 0)),
        ("episodes", lambda row: row["episodes"]),
        *_columns(table["metrics"], "mean"),
    )
    study = table["study"]
    rows = [*table["rows"], *(_published(each, table) for each in table["published"])]
    tables: Tables = [
        (study, (*numbers, *entries, *source), rows),
        (f"{study}, training episodes after as many steps", (*numbers, *entries), table["sooner"]),
        (f"{study}, {table['reference']} less others", differences, table["differences"]),
    ]
    return [each for each in tables if each[-1]]


def returns(table: Mapping[str, Any]) -> list[list[str]]:
    """Returns a study's cells in short, as the README has them, published ones behind ours.

    They are study, policy, seeds, steps, return, and what the reference has more.
    """
    metric = table["unit"]
    more = {row["less"]: row[metric] for row in table["differences"]}
    cells = [
        [
            table["study"],
            row["policy"],
            number(row["seeds"], 0),
            number(row["steps"], 0),
            in_words(row[metric] and _middle(row[metric]), metric),
            in_words(more.get(row["policy"]), metric),
        ]
        for row in [*table["rows"], *(_published(each, table) for each in table["published"])]
    ]
    return cells


def findings(table: Mapping[str, Any]) -> list[str]:
    """Returns what the reference's returns say of the published ones, a sentence for each."""
    metric = table["unit"]
    ours = next((row for row in table["rows"] if row["policy"] == table["reference"]), None)
    if ours is None or ours[metric] is None:
        return []
    lines = []
    for each in table["published"]:
        low, high = ours[metric]["ci95"] or [ours[metric]["iqm"]] * 2
        found = "above" if low > each["value"] else "below" if high < each["value"] else "around"
        lines.append(
            f"{ours['policy']} after {number(ours['steps'], 0)} steps: "
            f"{in_words(_middle(ours[metric]), metric)}, {found} the {number(each['value'], 1)} "
            f"of {each['algorithm']} after {number(each['steps'], 0)} ({each['source']})."
        )
    return lines


def benchmarks(tables: Sequence[Mapping[str, Any]], drawings: Mapping[str, bytes]) -> list[str]:
    """Returns the elements about studies of environments without UEs."""
    if not tables:
        return []
    parts = ["<h2>Cooperative tasks of others</h2>", elements.p(METHOD)]
    if LEARNING in drawings:
        parts.append(elements.figure(drawings[LEARNING], "learning", _CAPTION))
    for table in tables:
        parts += [
            f"<h3>{html.escape(table['study'])} ({html.escape(str(table['env']))})</h3>",
            *([elements.bullets(found)] if (found := findings(table)) else []),
            *(elements.column_table(*each) for each in benchmark_tables(table)),
        ]
    return parts


def _published(entry: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    """A published return as a row of the table of ours."""
    found = dict.fromkeys(table["metrics"])
    value = {"iqm": entry["value"], "ci95": None}
    policy = f"{entry['algorithm']}, published"
    row = {"policy": policy, "seeds": None, "steps": entry["steps"], "source": entry["source"]}
    return row | found | {table["unit"]: value}


def _columns(metrics: Sequence[str], middle: str) -> Columns:
    def cell(metric: str) -> Callable[[Any], str]:
        return lambda row: in_words(row[metric] and _middle(row[metric], middle), metric)

    return tuple((f"{label(metric)} [95 %]", cell(metric)) for metric in metrics)


def _middle(entry: Mapping[str, Any], middle: str = "iqm") -> dict[str, Any]:
    return {"mean": entry[middle], "ci95": entry["ci95"]}
