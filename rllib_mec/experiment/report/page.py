"""One page with everything: HTML that needs nothing but itself, neither scripts nor a network."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rllib_mec.experiment.progress import duration
from rllib_mec.experiment.report import (
    benchmark_page,
    elements,
    field_wording,
    figures,
    paper,
    wording,
)
from rllib_mec.experiment.report.figure5_page import figure5
from rllib_mec.experiment.report.markdown import headline
from rllib_mec.experiment.report.results import Study
from rllib_mec.experiment.report.table import Row, Table, is_zero_shot
from rllib_mec.system import METRICS

CSS = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, "Segoe UI", Helvetica, Arial, sans-serif; color: #1a1a1a;
  background: white; max-width: 80rem; margin: 0 auto; padding: 1.5rem; }
h1, h2, h3 { line-height: 1.2; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc; padding-bottom: 0.2rem; }
p, li { max-width: 55rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: #555; padding-bottom: 0.3rem; }
th, td { padding: 0.15rem 0.5rem; text-align: right; vertical-align: top; }
td { white-space: nowrap; }
small { color: #555; }
th.text, td.text { text-align: left; }
td.long { white-space: normal; overflow-wrap: anywhere; }
thead th { border-bottom: 2px solid #333; vertical-align: bottom; }
tbody + tbody { border-top: 1px solid #999; }
tbody tr:nth-child(even) { background: #f6f6f6; }
figure { margin: 1.5rem 0; }
figure svg { width: 100%; height: auto; }
figcaption { font-size: 0.9rem; color: #333; max-width: 55rem; }
pre { font-size: 0.8rem; white-space: pre-wrap; }
@media print {
  body { font-size: 10pt; max-width: none; padding: 0; }
  table { font-size: 7pt; }
  th, td { padding: 0.1rem 0.25rem; }
  figure, tr { break-inside: avoid; }
  .wide { overflow: visible; }
}
"""

_SCORE = "score, IQM / worst"
_METRIC_HEADS = tuple(wording.LABELS[metric] for metric in METRICS)


def page(
    main: Table | None,
    further: Sequence[Table],
    drawings: Mapping[str, bytes],
    fields: Sequence[Mapping[str, Any]] = (),
    others: Sequence[Study] = (),
    controls: Sequence[Mapping[str, Any]] = (),
    federation: Mapping[str, Any] | None = None,
    benchmarks: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Returns the page as HTML.

    Args:
        main: the table that stands beside the paper's, if there is one.
        further: those of the other studies of ``mec``.
        drawings: the figures by file name.
        fields: what ``field_table`` returned for studies of the scenario ``field``.
        others: all studies but the main one.
        controls: what ``control_table`` returned for studies of other environments.
        federation: what ``federation_table`` returned for results of ``rllib fedtune``.
        benchmarks: what ``benchmark_table`` returned for studies of environments without UEs.
    """
    studies = [*([main.study] if main else []), *others]
    parts = [
        "<h1>Fine-tuning at the mobile edge: results</h1>",
        *(_main(main, drawings) if main else ()),
        *(part for field in fields for part in _field(field)),
        *(part for table in further for part in _further(table)),
        *benchmark_page.benchmarks(benchmarks, drawings),
        *figure5(controls, federation, drawings),
        *(_method() if main else ()),
        *(("<h2>Where the numbers come from</h2>", _origins(studies)) if studies else ()),
    ]
    head = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>rllib_mec: results</title>\n<style>{CSS}</style>\n</head>\n<body>\n"
    )
    return head + "\n".join(parts) + "\n</body>\n</html>\n"


def _main(main: Table, drawings: Mapping[str, bytes]) -> list[str]:
    """The study that stands beside the paper's Table I and Figure 2."""
    return [
        elements.p(
            "HMPPO and what it is compared with, in the environment of arXiv 2310.17492 "
            "(Table I and Figure 2 there). Values in brackets are 95 % intervals."
        ),
        "<h2>What the results say</h2>",
        elements.bullets(wording.answers(main)),
        "<h2>Table I: ours and the paper's</h2>",
        _headline(main),
        elements.p(wording.UNREACHABLE),
        "<h2>Figures</h2>",
        *_figures(main, drawings),
        "<h2>Baselines and bounds</h2>",
        _bounds(main),
        *(_zero_shot(main) if any(map(is_zero_shot, main.rows)) else ()),
    ]


def _method() -> list[str]:
    return ["<h2>How each number is computed</h2>", elements.bullets(wording.METHODS)]


def _headline(table: Table) -> str:
    steps_head = "steps to 0.95, median / slowest"
    papers = [f"paper: {wording.LABELS[metric]}" for metric in METRICS[:3]]
    heads = ["UEs", "variant", "seeds", *_METRIC_HEADS, _SCORE, steps_head, *papers]
    rows = headline(table)
    cells = [
        [
            str(row["num_ues"]),
            row["variant"],
            _count(row["seeds"]),
            *_metrics(row),
            wording.score(row),
            wording.steps_to_good(row),
            *(_papers(row, metric) for metric in METRICS[:3]),
        ]
        for row in rows
    ]
    note = f"† {paper.FROM_MARGINS} over IPPO" if any("†" in c[-1] for c in cells) else ""
    return elements.table(
        heads, cells, text=(1,), groups=[row["num_ues"] for row in rows], caption=note
    )


def _papers(row: Row, metric: str) -> str:
    if row["paper"] is None:
        return wording.NOTHING
    mark = "†" if row["paper"]["source"] == paper.FROM_MARGINS else ""
    return wording.number(row["paper"][metric], 2) + mark  # as printed


def _bounds(table: Table) -> str:
    rows = [row for row in table.rows if row["kind"] != "trained"]
    if not rows:
        return elements.p("This study evaluated none.")
    heads = ["UEs", "policy", "kind", "episodes", *_METRIC_HEADS, "score"]
    cells = [
        [
            str(row["num_ues"]),
            row["variant"],
            row["kind"],
            _count(row["episodes"]),
            *_metrics(row),
            wording.score(row),
        ]
        for row in rows
    ]
    return elements.table(heads, cells, text=(1, 2), groups=[row["num_ues"] for row in rows])


def _zero_shot(table: Table) -> list[str]:
    return [
        "<h2>Other numbers of UEs than trained on</h2>",
        _rows(table, [row for row in table.rows if is_zero_shot(row)]),
    ]


def _field(field: Mapping[str, Any]) -> list[str]:
    """A study of the scenario ``field``: its policies, what critics differ by, what they decide."""
    parts = [
        f"<h2>Field: {html.escape(field['study'])}</h2>",
        elements.p(field_wording.FIELD_METHOD),
    ]
    if field["decisions"]:
        parts.append(elements.p(field_wording.DECISIONS_METHOD))
    tables = field_wording.field_tables(field)
    return parts + [elements.column_table(*each) for each in tables]


def _further(table: Table) -> list[str]:
    found = wording.answers(table)
    return [
        f"<h2>Study: {html.escape(table.study.name)}</h2>",
        *([elements.bullets(found)] if found else []),
        _rows(table, table.rows),
    ]


def _rows(table: Table, rows: Sequence[Row]) -> str:
    """A study's rows with how probably the table's reference is better."""
    over = {
        (pair["over"], pair["trained_ues"], pair["num_ues"]): pair for pair in table.improvements
    }
    heads = ["UEs", "trained on", "variant", "seeds", "steps", *_METRIC_HEADS, _SCORE]
    if over:
        heads.append(f"P({table.reference} is better)")
    cells = []
    for row in rows:
        pair = over.get((row["variant"], row["trained_ues"], row["num_ues"]))
        entry = pair and {"iqm": pair["probability"], "ci95": pair["ci95"]}
        cells.append(
            [
                str(row["num_ues"]),
                _count(row["trained_ues"]),
                row["variant"],
                _count(row["seeds"]),
                _count(row["steps"]),
                *_metrics(row),
                wording.score(row),
                *([wording.with_interval(entry, 2)] if over else []),
            ]
        )
    return elements.table(heads, cells, text=(2,), groups=[row["num_ues"] for row in rows])


def _figures(table: Table, drawings: Mapping[str, bytes]) -> list[str]:
    num_ues = figures.curves_ues(table)
    captions = {
        "figure2.svg": "Figure 2, after the paper's. (a) to (d): learning curves with "
        f"{num_ues} UEs, the IQM over seeds of the sampled training episodes and its 95 % "
        "interval. (e), (f): the trained policies for each number of UEs, evaluated on unseen "
        "episodes. Lines in black: hold and random.",
        "scores.svg": "Every seed's normalised score, and below them the IQM with its 95 % "
        "interval.",
    }
    return [
        elements.figure(drawings[name], name.partition(".")[0], caption)
        for name, caption in captions.items()
        if name in drawings
    ]


def _origins(studies: Iterable[Study]) -> str:
    heads = ["study", "command", "time of all units", "steps each", "versions"]
    cells, specs = [], []
    for study in studies:
        origin = study.origin
        cells.append(
            [
                origin.name,
                origin.command,
                wording.NOTHING if origin.seconds is None else duration(origin.seconds),
                _count(origin.steps),
                ", ".join(f"{name} {number}" for name, number in sorted(origin.versions.items())),
            ]
        )
        spec = html.escape(json.dumps(origin.spec, indent=1, ensure_ascii=False))
        summary = f"The specification of {html.escape(origin.name)}"
        specs.append(f"<details><summary>{summary}</summary><pre>{spec}</pre></details>")
    return "\n".join([elements.table(heads, cells, text=(0, 1, 4), long=(1, 4)), *specs])


def _metrics(row: Row) -> list[str]:
    return [wording.with_interval(row[metric], wording.DIGITS[metric]) for metric in METRICS]


def _count(value: int | None) -> str:
    return wording.number(value, 0)
