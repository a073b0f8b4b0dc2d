"""An episode as a figure, for print: the panels of the page, one below the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rllib_mec.experiment.report.figures import COLOURS, REFERENCES, STYLE, png, svg
from rllib_mec.experiment.show import charts
from rllib_mec.experiment.show.colours import LIGHT, SHADES_LIGHT, shade_index
from rllib_mec.experiment.show.ticks import step_ticks
from rllib_mec.experiment.show.view import (
    BUSY,
    DOWNLOAD,
    FORCED,
    IDLE,
    LOCAL,
    Bools,
    Lanes,
    Line,
    View,
)

_WIDTH, _LEFT, _RIGHT, _HEAD, _FOOT = 11.5, 0.8, 0.15, 0.35, 0.55
_LINE_HEIGHT, _ABOVE_LANES, _ABOVE_LINE = 1.1, 0.62, 0.42
"""Inches; above a panel are its title and legend."""

_MARKERS = {DOWNLOAD: "v", FORCED: "D"}
_MOST_LABELS = 20


def draw(view: View, title: str) -> dict[str, bytes]:
    """Returns ``episode.svg`` and ``episode.png``."""
    import matplotlib as mpl

    # Of a user's own style, nothing gets in.
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        figure = _figure(view, title)
        return {"episode.svg": svg(figure), "episode.png": png(figure)}


def _figure(view: View, title: str) -> Any:
    from matplotlib.figure import Figure

    panels = [(_ABOVE_LANES, _lane_height(view.num_ues) * view.num_ues)] * len(view.lanes)
    panels += [(_ABOVE_LINE, _LINE_HEIGHT)] * len(view.lines)
    # Not constrained_layout, whose solver does not give the same last digits each time.
    total = _HEAD + sum(map(sum, panels)) + _FOOT
    figure = Figure(figsize=(_WIDTH, total))
    figure.text(_LEFT / _WIDTH, 1 - 0.15 / total, title, va="top", fontsize=12, fontweight="bold")
    axes: list[Any] = []
    top = total - _HEAD
    for above, height in panels:
        top -= above + height
        place = (_LEFT / _WIDTH, top / total, 1 - (_LEFT + _RIGHT) / _WIDTH, height / total)
        axes.append(figure.add_axes(place, sharex=axes[0] if axes else None))
        axes[-1].tick_params(axis="x", labelbottom=False)
    for panel, each in zip(view.lanes, axes, strict=False):
        _lanes(each, panel)
    for line, each in zip(view.lines, axes[len(view.lanes) :], strict=True):
        _line(each, line, view.policy)
    axes[-1].tick_params(axis="x", labelbottom=True)
    axes[-1].set_xlabel(view.step)
    axes[-1].set_xticks([t + 0.5 for t in step_ticks(view.num_steps)], step_ticks(view.num_steps))
    axes[-1].set_xlim(0, view.num_steps)
    return figure


def _lane_height(num_ues: int) -> float:
    return max(0.06, min(0.3, 5 / num_ues))


def _lanes(axes: Any, panel: Lanes) -> None:
    _, num_ues = panel.level.shape
    bottom = charts.bottom_of(panel)
    for kind, where in panel.bars.items():
        if kind == IDLE:
            continue  # a lane that is empty says it here
        if kind == LOCAL and panel.shade is not None:
            shades = shade_index(np.where(where, panel.shade, 0.0))
            for shade in np.unique(shades[where]):
                _bars(axes, panel, where & (shades == shade), SHADES_LIGHT[shade], bottom)
        else:
            _bars(axes, panel, where, LIGHT[kind], bottom)
    if panel.held is not None:
        held = ~np.isnan(panel.held)
        steps, ues = np.nonzero(held)
        colours = [SHADES_LIGHT[shade] for shade in shade_index(panel.held[held])]
        axes.bar(steps, 0.13, 1.0, ues + 0.79, align="edge", color=colours, linewidth=0)
    for kind, where in panel.marks.items():
        steps, ues = np.nonzero(where)
        if kind == BUSY:
            axes.bar(steps, 0.07, 1.0, ues + 0.02, align="edge", color=LIGHT[BUSY], linewidth=0)
            continue
        mark = {"marker": _MARKERS[kind], "color": "white", "edgecolor": "black", "linewidth": 0.6}
        axes.scatter(
            steps + 0.5, ues + bottom - 0.22, s=55 * _lane_height(num_ues), **mark, zorder=3
        )
    every = -(-num_ues // _MOST_LABELS)
    axes.set_yticks(
        [ue + 0.5 for ue in range(0, num_ues, every)],
        [f"UE {ue}" for ue in range(0, num_ues, every)],
    )
    axes.set_ylim(num_ues, 0)
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.set_title(f"{panel.title} ({panel.note})", pad=20)
    _legend(axes, _lane_handles(panel), "left")


def _bars(axes: Any, panel: Lanes, where: Bools, colour: str, bottom: float) -> None:
    steps, ues = np.nonzero(where)
    if steps.size:
        heights = (bottom - charts.TOP) * panel.level[where]
        place = {"x": steps + 0.5, "bottom": ues + bottom - heights}
        axes.bar(**place, height=heights, width=charts.WIDTH, color=colour, linewidth=0)


def _lane_handles(panel: Lanes) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = []
    for kind, label in panel.legend:
        if kind in _MARKERS:
            marker = Line2D([], [], marker=_MARKERS[kind], linestyle="", label=label)
            marker.set(markerfacecolor="white", markeredgecolor="black")
            handles.append(marker)
        elif kind == IDLE:
            handles.append(Patch(facecolor="white", edgecolor=LIGHT[IDLE], label=label))
        else:
            colour = SHADES_LIGHT[-3] if kind == LOCAL else LIGHT[kind]
            handles.append(Patch(facecolor=colour, label=label))
    return handles


def _line(axes: Any, line: Line, policy: str) -> None:
    _stairs(axes, line.values, {"color": COLOURS[0], "linewidth": 2, "zorder": 3}, policy)
    if line.hold is not None:
        _stairs(axes, line.hold, {**REFERENCES["hold"], "zorder": 4}, "hold, in the same episode")
    if line.from_zero:
        axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.locator_params(axis="y", nbins=4)
    axes.set_title(f"{line.title} ({line.note})")
    _legend(axes, axes.get_legend_handles_labels()[0], "right")


def _stairs(axes: Any, values: Any, look: dict[str, Any], label: str) -> None:
    edges = np.arange(len(values) + 1)
    axes.stairs(values, edges, baseline=None, label=label, **look)


def _legend(axes: Any, handles: Sequence[Any], side: str) -> None:
    """Above the panel: at the left below its title, or at the right beside it."""
    axes.legend(
        handles=handles,
        loc=f"lower {side}",
        bbox_to_anchor=(int(side == "right"), 1),
        ncols=len(handles),
        frameon=False,
        fontsize=8,
        borderaxespad=0.2,
        handlelength=1.4,
        columnspacing=1.2,
    )
