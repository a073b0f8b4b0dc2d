"""Learning curves of studies without UEs, a panel each, with published returns as lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rllib_mec.experiment.report.benchmark import curves_of
from rllib_mec.experiment.report.control_wording import label
from rllib_mec.experiment.report.figures import STYLE, line_style, svg
from rllib_mec.experiment.report.results import Curve, Study
from rllib_mec.experiment.report.statistics import iqm, iqm_band

POINTS = 80
"""On a curve: what a panel can show."""

DASHES: tuple[Any, ...] = ((0, (4, 2)), (0, (1, 2)), (0, (6, 2, 1, 2)))
"""Of published returns, which are black lines."""


def draw(studies: Sequence[tuple[Study, Mapping[str, Any]]]) -> bytes:
    """Returns an SVG: for each study the IQM over seeds after so many steps, and its interval.

    Args:
        studies: each with its table, see
            :func:`~rllib_mec.experiment.report.benchmark.benchmark_table`.
    """
    import matplotlib as mpl

    # In the order in which the studies name them, with one style in all panels.
    names = dict.fromkeys(curve.variant for study, _ in studies for curve in _in_order(study))
    styles = {name: line_style(index) for index, name in enumerate(names)}
    # Of a user's own style, nothing gets in.
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        from matplotlib.figure import Figure
        from matplotlib.lines import Line2D

        columns = min(len(studies), 3)
        lines = -(-len(studies) // columns)
        figure = Figure(figsize=(11.5, 0.6 + 3.6 * lines), layout="constrained")
        axes = list(figure.subplots(lines, columns, squeeze=False).flat)
        for each, (study, table) in zip(axes, studies, strict=False):
            _panel(each, study, table, styles)
        for each in axes[len(studies) :]:
            each.set_visible(False)
        handles = [Line2D([], [], **style) for style in styles.values()]
        figure.legend(
            handles,
            list(styles),
            loc="outside upper center",
            ncols=max(len(handles), 1),
            frameon=False,
            handlelength=3.2,
        )
        return svg(figure)


def _in_order(study: Study) -> list[Curve]:
    """All curves, in the order of the study's variants."""
    return [curve for run in study.runs for curve in curves_of(study, run.variant)]


def _panel(
    axes: Any, study: Study, table: Mapping[str, Any], styles: Mapping[str, dict[str, Any]]
) -> None:
    metric = table["unit"]
    for name, style in styles.items():
        curves = curves_of(study, name)
        if not curves:
            continue
        first, last = max(c.steps[0] for c in curves), min(c.steps[-1] for c in curves)
        steps = np.geomspace(first, max(first, last), POINTS)
        found = np.stack([np.interp(steps, c.steps, c.metrics[metric]) for c in curves])
        low, high = iqm_band(found)
        axes.fill_between(steps, low, high, color=style["color"], alpha=0.18, linewidth=0)
        axes.plot(steps, iqm(found, axis=0), **style, zorder=3)
    for index, each in enumerate(table["published"]):
        dashes = DASHES[index % len(DASHES)]
        said = f"{each['algorithm']}, {_millions(each['steps'], 0)} steps"
        line = axes.axhline(each["value"], color="black", linestyle=dashes, linewidth=1.2, zorder=2)
        line.set_label(said)
    if table["published"]:
        axes.legend(loc="lower right", frameon=False, title="published", fontsize=8)
    axes.set_title(study.name)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(_millions)
    axes.xaxis.set_minor_formatter("")
    axes.set_xlabel("training steps")
    axes.set_ylabel(label(metric))
    axes.margins(x=0.02)


def _millions(value: float, _: int) -> str:
    """A number of steps in short, "20M" or "100k"."""
    return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k"
