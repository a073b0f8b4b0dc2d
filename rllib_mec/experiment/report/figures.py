"""The figures of a table: the paper's Figure 2 anew, and every seed's score.

Colours are Okabe and Ito's, which the colour-blind tell apart; line styles, hatches and markers
tell variants apart in grey print.
"""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from rllib_mec.errors import InputError
from rllib_mec.experiment.report.results import Curve
from rllib_mec.experiment.report.statistics import Values, iqm, iqm_band
from rllib_mec.experiment.report.table import Row, Table
from rllib_mec.experiment.report.wording import LABELS
from rllib_mec.system import METRICS

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9")
LINES: tuple[Any, ...] = ("-", (0, (6, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (1, 1)), (0, (3, 1, 3, 3)))
HATCHES = ("", "///", "..", "xxx", "\\\\\\", "|||", "ooo")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

REFERENCES: dict[str, dict[str, Any]] = {
    "hold": {"color": "black", "linestyle": (0, (4, 2)), "linewidth": 1.2},
    "random": {"color": "black", "linestyle": (0, (1, 2)), "linewidth": 1.2},
}
"""Baselines that are drawn as lines."""

STYLE: Any = {
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "hatch.linewidth": 0.6,
    "svg.fonttype": "none",  # text stays text: a smaller file that can be searched
    "svg.hashsalt": "rllib_mec",
}

PAPERS_UES = 8
"""The paper's learning curves are of 8 UEs."""

POINTS = 80
"""On a curve: what a panel can show."""


def require_matplotlib(command: str = "report") -> None:
    """Refuses to go on with ``rllib command`` without something to draw with.

    Raises:
        InputError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError(f"rllib {command} needs matplotlib: pip install 'rllib_mec[plot]'")


def draw(table: Table) -> dict[str, bytes]:
    """Returns the figures by file name; ``scores.svg`` only where there are scores.

    Raises:
        InputError: the study has no training curves.
    """
    if not table.study.curves:
        file = table.study.path / "curves.parquet"
        raise InputError(f"{file}: expected the training curves of at least one seed")
    import matplotlib as mpl

    variants = list(dict.fromkeys(r["variant"] for r in table.own if r["kind"] == "trained"))
    # Of a user's own style, nothing gets in.
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        figure2 = _figure2(table, variants)
        files = {"figure2.svg": svg(figure2), "figure2.png": png(figure2)}
        if any(r["normalised_score"] for r in table.own if r["kind"] == "trained"):
            files["scores.svg"] = svg(_scores(table, variants))
    return files


def curves_ues(table: Table) -> int:
    """Returns the number of UEs of the learning curves: the paper's, or else the largest."""
    available = {curve.num_ues for curve in table.study.curves}
    return PAPERS_UES if PAPERS_UES in available else max(available)


def _figure2(table: Table, variants: Sequence[str]) -> Any:
    """Panels a to d: learning curves; e and f: bars over numbers of UEs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.5, 7), layout="constrained")
    axes = figure.subplots(2, 3).flat
    num_ues = curves_ues(table)
    for letter, metric, each in zip("abcd", METRICS, axes, strict=False):
        _curves(each, table, variants, metric, num_ues)
        each.set_title(f"({letter}) {LABELS[metric]}, {num_ues} UEs")
    for letter, metric, each in zip("ef", METRICS[1:3], axes[4:], strict=True):
        _bars(each, table, variants, metric)
        each.set_title(f"({letter}) {LABELS[metric]}, after training")
    _legend(figure, table, variants)
    return figure


def _legend(figure: Any, table: Table, variants: Sequence[str]) -> None:
    """One for all panels: a variant's line on a patch of its bars."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        (Patch(**bar_style(index), alpha=0.45), Line2D([], [], **line_style(index)))
        for index in range(len(variants))
    ]
    present = {row["algorithm"] for row in table.own}
    named = [name for name in REFERENCES if name in present]
    handles += [Line2D([], [], **REFERENCES[name]) for name in named]
    figure.legend(
        handles,
        [*variants, *named],
        loc="outside upper center",
        ncols=min(len(handles), 5),
        frameon=False,
        handlelength=3.2,
        handleheight=1.1,
    )


def _curves(axes: Any, table: Table, variants: Sequence[str], metric: str, num_ues: int) -> None:
    shown: list[Values] = []
    for index, variant in enumerate(variants):
        curves = [c for c in table.study.curves if (c.variant, c.num_ues) == (variant, num_ues)]
        if not curves:
            continue
        steps, values = _aligned(curves, metric)
        low, high = iqm_band(values)
        axes.plot(steps, iqm(values, axis=0), **line_style(index), zorder=3)
        axes.fill_between(steps, low, high, color=_colour(index), alpha=0.18, linewidth=0)
        shown += [low, high]
    for name, row in _reference_rows(table, num_ues, metric):
        axes.axhline(row[metric]["iqm"], **REFERENCES[name], zorder=2)
        shown.append([row[metric]["iqm"]])
    scale(axes, shown)
    # Most is learned in a small part of the training.
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(thousands)
    axes.set_xlabel("training steps")
    axes.margins(x=0.02)


def _aligned(curves: Sequence[Curve], metric: str) -> tuple[Values, np.ndarray]:
    """Returns steps, (P,), that all seeds have been through and the metric there, (S, P)."""
    first, last = max(c.steps[0] for c in curves), min(c.steps[-1] for c in curves)
    steps = np.geomspace(first, max(first, last), POINTS)
    return steps, np.stack([np.interp(steps, c.steps, c.metrics[metric]) for c in curves])


def _bars(axes: Any, table: Table, variants: Sequence[str], metric: str) -> None:
    rows = {(row["variant"], row["num_ues"]): row for row in table.own if row[metric]}
    ues = sorted({num_ues for variant, num_ues in rows if variant in variants})
    width = 0.8 / len(variants)
    shown: list[Values] = []
    for index, variant in enumerate(variants):
        places = [place for place, n in enumerate(ues) if (variant, n) in rows]
        entries = [rows[variant, ues[place]][metric] for place in places]
        values = [entry["iqm"] for entry in entries]
        bounds = [entry["ci95"] or [entry["iqm"]] * 2 for entry in entries]
        errors = [
            [max(v - low, 0.0) for v, (low, _) in zip(values, bounds, strict=True)],
            [max(high - v, 0.0) for v, (_, high) in zip(values, bounds, strict=True)],
        ]
        centres = np.array(places) + (index + 0.5) * width - 0.4
        capsize = {"capsize": 2.5, "error_kw": {"elinewidth": 1}}
        axes.bar(centres, values, 0.92 * width, yerr=errors, **bar_style(index), **capsize)
        shown.append(values)
    for place, num_ues in enumerate(ues):
        for name, row in _reference_rows(table, num_ues, metric):
            value = row[metric]["iqm"]
            axes.plot([place - 0.45, place + 0.45], [value, value], **REFERENCES[name])
            shown.append([value])
    axes.set_xticks(range(len(ues)), [str(num_ues) for num_ues in ues])
    axes.grid(visible=False, axis="x")
    axes.set_xlabel("UEs")
    if scale(axes, shown):
        axes.set_ylim(bottom=10 ** np.floor(np.log10(min(map(min, shown)) / 1.5)))


def _scores(table: Table, variants: Sequence[str]) -> Any:
    """A panel for each number of UEs: all seeds as points, their IQM and its interval."""
    from matplotlib.figure import Figure

    rows = [r for r in table.own if r["kind"] == "trained" and r["normalised_score"]]
    ues = sorted({row["num_ues"] for row in rows})
    columns = min(len(ues), 4)
    height = 0.75 + 0.48 * len(variants)
    lines = -(-len(ues) // columns)
    figure = Figure(figsize=(11.5, 0.5 + height * lines), layout="constrained")
    axes = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False).flat
    for each, num_ues in zip(axes, ues, strict=False):
        for row in rows:
            if row["num_ues"] == num_ues:
                _strip(each, variants.index(row["variant"]), row["normalised_score"])
        each.axvline(1, **REFERENCES["hold"], zorder=1)
        each.set_title(f"{num_ues} UEs")
        each.margins(x=0.08)
        each.set_yticks(range(len(variants)), variants)
        each.grid(visible=True, axis="x")
        each.grid(visible=False, axis="y")
        each.set_ylim(len(variants) - 0.5, -0.5)
        each.locator_params(axis="x", nbins=5)
    for each in axes[len(ues) :]:
        each.set_visible(False)
    figure.supxlabel("normalised score of each seed: 0 random, 1 hold (dashed)", fontsize=10)
    return figure


def _strip(axes: Any, index: int, entry: Row) -> None:
    """The points one below the other, and below them what stands for all."""
    scores = entry["seeds"]
    places = index + (np.linspace(-0.32, 0.12, len(scores)) if len(scores) > 1 else np.zeros(1))
    below = index + 0.3
    if entry["ci95"]:
        axes.plot(entry["ci95"], [below, below], color="black", linewidth=1.2)
    axes.plot(entry["iqm"], below, color="black", marker="|", markersize=9, markeredgewidth=2)
    marker = {"marker": MARKERS[index % len(MARKERS)], "markersize": 5.5, "linestyle": ""}
    face = {"markerfacecolor": _colour(index), "markeredgecolor": "white", "markeredgewidth": 0.5}
    axes.plot(scores, places, **marker, **face, alpha=0.85, zorder=3)


def _reference_rows(table: Table, num_ues: int, metric: str) -> Iterable[tuple[str, Row]]:
    for row in table.own:
        if row["algorithm"] in REFERENCES and row["num_ues"] == num_ues and row[metric]:
            yield row["algorithm"], row


def scale(axes: Any, shown: Sequence[Values]) -> bool:
    """Makes the axis logarithmic where what is shown is positive and spans a factor of ten."""
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = min(map(np.min, shown)), max(map(np.max, shown))
    logarithmic = bool(low > 0 and high > 10 * low)
    if logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    return logarithmic


def thousands(value: float, _: int) -> str:
    """Returns a tick's label, "300k"."""
    return f"{value / 1000:g}k"


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def line_style(index: int) -> dict[str, Any]:
    """Later lines are drawn over earlier ones: the first is broad, so that it shows below them."""
    width = 1.6 if index else 3.2
    return {"color": _colour(index), "linestyle": LINES[index % len(LINES)], "linewidth": width}


def bar_style(index: int) -> dict[str, Any]:
    """Returns what tells a variant's bars from others'."""
    hatch = HATCHES[index % len(HATCHES)]
    return {"facecolor": _colour(index), "edgecolor": "white", "hatch": hatch, "linewidth": 0}


def svg(figure: Any) -> bytes:
    """Returns a file that says neither when nor by what it was made."""
    file = io.BytesIO()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(file, format="svg", metadata=metadata)
    return file.getvalue()


def png(figure: Any) -> bytes:
    """Returns a file that says no more than that, either."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=200, metadata={"Software": None})
    return file.getvalue()
