"""Figure 5 of FedPEAT anew: what algorithms reach by metric, and how long they train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rllib_mec.experiment.report.control_wording import label
from rllib_mec.experiment.report.figures import STYLE, bar_style, line_style, svg, thousands
from rllib_mec.experiment.report.results import Curve, Study
from rllib_mec.experiment.study.results import EXPLORED, TRAINED

DASHES: tuple[Any, ...] = ((0, (4, 2)), (0, (1, 2)), (0, (6, 2, 1, 2)), (0, (2, 1)))
"""Of baselines, which are black lines."""

POINTS = 80
"""On a curve: what a panel can show."""

Row = Mapping[str, Any]


def draw(study: Study, control: Mapping[str, Any]) -> bytes:
    """Returns an SVG: learning curves by metric, rewards after training, and training times.

    Curves are means over seeds, bands go from the lowest to the highest seed; bars have 95 %
    intervals. All are of the largest number of UEs that was trained on.

    Args:
        control: the study's table, see :func:`~rllib_mec.experiment.report.control.control_table`.
    """
    import matplotlib as mpl

    num_ues = max(run.num_ues for run in study.runs if run.trained_ues in (None, run.num_ues))
    own = [row for row in control["rows"] if row["num_ues"] == num_ues]
    # In the order of the study, not of the rewards.
    variants = dict.fromkeys(run.variant for run in study.runs)
    rows = {v: row for v in variants for row in own if row["policy"] == v}
    trained = [v for v, row in rows.items() if _is_shown(row, num_ues)]
    baselines = [row for row in rows.values() if row["kind"] == "baseline"]
    metrics = [name for name in study.origin.metrics if name != "reward"]
    # Of a user's own style, nothing gets in.
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        from matplotlib.figure import Figure

        panels = 3 + len(metrics)
        columns = 3
        lines = -(-panels // columns)
        figure = Figure(figsize=(11.5, 0.6 + 3.3 * lines), layout="constrained")
        axes = list(figure.subplots(lines, columns, squeeze=False).flat)
        for place, metric in enumerate(("reward", *metrics)):
            curves = [c for c in study.curves if c.num_ues == num_ues]
            _curves(axes[place], curves, trained, baselines, metric)
            axes[place].set_title(f"({'abcdefghijk'[place]}) {label(metric)}")
        rewards, times = axes[panels - 2 : panels]
        _intervals(rewards, [rows[variant] for variant in trained], "reward", baselines)
        rewards.set_title(f"({'abcdefghijk'[panels - 2]}) reward after training")
        _intervals(times, [rows[variant] for variant in trained], "train_seconds")
        times.set_title(f"({'abcdefghijk'[panels - 1]}) {label('train_seconds')}, per seed")
        for each in axes[panels:]:
            each.set_visible(False)
        _legend(figure, trained, baselines)
        return svg(figure)


def _is_shown(row: Row, num_ues: int) -> bool:
    """Whether a row is of what was trained on these UEs, and takes its most probable actions."""
    return (
        row["kind"] == TRAINED
        and row["trained_ues"] == num_ues
        and not row["policy"].endswith(EXPLORED)
    )


def _curves(
    axes: Any,
    curves: Sequence[Curve],
    trained: Sequence[str],
    baselines: Sequence[Row],
    metric: str,
) -> None:
    for index, variant in enumerate(trained):
        own = [curve for curve in curves if curve.variant == variant]
        if not own:
            continue
        first, last = max(c.steps[0] for c in own), min(c.steps[-1] for c in own)
        steps = np.geomspace(first, max(first, last), POINTS)
        values = np.stack([np.interp(steps, c.steps, c.metrics[metric]) for c in own])
        style = line_style(index)
        axes.fill_between(
            steps,
            values.min(axis=0),
            values.max(axis=0),
            color=style["color"],
            alpha=0.15,
            linewidth=0,
        )
        axes.plot(steps, values.mean(axis=0), **style, zorder=3)
    for index, row in enumerate(baselines):
        if row[metric] is not None:
            axes.axhline(row[metric]["mean"], **_baseline_style(index), zorder=2)
    # Most is learned in a small part of the training.
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(thousands)
    axes.xaxis.set_minor_formatter("")
    axes.set_xlabel("training steps")
    axes.margins(x=0.02)


def _intervals(axes: Any, rows: Sequence[Row], name: str, baselines: Sequence[Row] = ()) -> None:
    """A point with its interval for each, and baselines as lines; a bar where 0 is a floor."""
    for index, row in enumerate(rows):
        entry = row[name]
        if entry is None:
            continue
        mean, (low, high) = entry["mean"], entry["ci95"] or [entry["mean"]] * 2
        reach = [[max(mean - low, 0.0)], [max(high - mean, 0.0)]]
        error = {"yerr": reach, "capsize": 3}
        if name == "reward":
            colour = line_style(index)["color"]
            axes.errorbar([index], [mean], **error, color=colour, marker="o", markersize=6)
        else:
            axes.bar([index], [mean], 0.8, **error, **bar_style(index), error_kw={"elinewidth": 1})
    for index, row in enumerate(baselines):
        axes.axhline(row[name]["mean"], **_baseline_style(index), zorder=1)
    if name != "reward":
        axes.set_ylim(bottom=0)
    axes.set_xlim(-0.6, len(rows) - 0.4)
    axes.set_xticks(range(len(rows)), [""] * len(rows))


def _baseline_style(index: int) -> dict[str, Any]:
    shade = ("black", "dimgray")[index // len(DASHES) % 2]
    return {"color": shade, "linestyle": DASHES[index % len(DASHES)], "linewidth": 1.2}


def _legend(figure: Any, trained: Sequence[str], baselines: Sequence[Row]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        (Patch(**bar_style(index), alpha=0.45), Line2D([], [], **line_style(index)))
        for index in range(len(trained))
    ]
    handles += [Line2D([], [], **_baseline_style(index)) for index in range(len(baselines))]
    figure.legend(
        handles,
        [*trained, *(row["policy"] for row in baselines)],
        loc="outside upper center",
        ncols=min(len(handles), 5),
        frameon=False,
        handlelength=3.2,
        handleheight=1.1,
    )
