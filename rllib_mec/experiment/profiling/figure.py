"""The figure of a profile: its tasks' curves, and their shape beside the paper's quadratic."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from rllib_mec.experiment.profiling.summary import full, points
from rllib_mec.experiment.report.figures import COLOURS, STYLE
from rllib_mec.system import Scenario
from rllib_mec.system.profile import Profile
from rllib_mec.system.quality import Fit

_CURVES = (
    ("plug_in", "plug-in", COLOURS[0], "o"),
    ("tuned", "emulator, tuned", COLOURS[3], "s"),
)


def draw(profile: Profile, compression: str) -> bytes:
    """Returns an SVG: a panel for each task, and one for the shape of all curves.

    Markers are means over seeds, bands reach from the lowest to the highest seed.
    """
    import matplotlib as mpl

    # Of a user's own style, nothing gets in.
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        tasks = profile.tasks
        figure = Figure(figsize=(3.4 * (len(tasks) + 1), 3.4), layout="constrained")
        FigureCanvasSVG(figure)
        *panels, last = np.atleast_1d(figure.subplots(1, len(tasks) + 1))
        for panel, task in zip(panels, tasks, strict=True):
            _task(panel, profile, task, compression)
        panels[0].set_ylabel("perplexity")
        _shape(last, profile, compression)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
        image = io.BytesIO()
        figure.savefig(image, format="svg", metadata={"Date": None})
    return image.getvalue()


def _task(panel: Any, profile: Profile, task: str, compression: str) -> None:
    curve = points(profile, task, compression)
    retention = [point.retention for point in curve]
    for name, label, colour, marker in _CURVES:
        low, mean, high = zip(*(getattr(point, name) for point in curve), strict=True)
        panel.fill_between(retention, low, high, color=colour, alpha=0.2, linewidth=0)
        panel.plot(retention, mean, color=colour, marker=marker, markersize=4, label=label)
    zero_shot = curve[-1].zero_shot[1]
    panel.axhline(zero_shot, color="black", linestyle=(0, (1, 2)), label="whole model, untuned")
    panel.axhline(
        full(profile, task)[1], color="black", linestyle=(0, (4, 2)), label="full fine-tuning"
    )
    panel.set_title(task)
    panel.set_xlabel("retention E")


def _shape(panel: Any, profile: Profile, compression: str) -> None:
    """Perplexities over that of the server, means over tasks; the paper's f(E) / f(1)."""
    paper = Fit(Scenario())
    grid = np.linspace(0.2, 1, 81)
    whole = float(paper.server(None))
    panel.plot(grid, paper.local(grid, None) / whole, color=COLOURS[1], label="paper, f(E) / f(1)")
    curves = [points(profile, task, compression) for task in profile.tasks]
    retention = [point.retention for point in curves[0]]
    for name, label, colour, marker in _CURVES:
        relative = [
            [getattr(point, name)[1] / curve[-1].tuned[1] for point in curve] for curve in curves
        ]
        mean = np.mean(relative, axis=0)
        panel.plot(retention, mean, color=colour, marker=marker, markersize=4, label=label)
    panel.set_title("over the server's, all tasks")
    panel.set_xlabel("retention E")
    panel.legend(frameon=False, fontsize=8)
