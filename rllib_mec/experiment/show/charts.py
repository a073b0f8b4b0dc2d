"""The panels of an episode as inline SVG, in the coordinates of steps and UEs.

A drawing is as wide as it has steps and is stretched to the width of the page; only shapes are in
it. Texts are HTML beside it, so that they are as large on a phone as on a screen.
"""

from __future__ import annotations

import html
from collections.abc import Iterable

import numpy as np

from rllib_mec.experiment.report.wording import number
from rllib_mec.experiment.show.colours import shade_index
from rllib_mec.experiment.show.ticks import step_ticks, ticks_of
from rllib_mec.experiment.show.view import (
    BUSY,
    DOWNLOAD,
    FORCED,
    IDLE,
    LOCAL,
    Bools,
    Floats,
    Lanes,
    Line,
)

TOP, WIDTH = 0.1, 0.86
"""Of a lane, which is 1 high, what is left free above; of a step, what its bar takes."""

LINE_HEIGHT_PX = 104
"""Of the panel of a line."""

_MOST_LABELS = 24


def lane_height_px(num_ues: int) -> int:
    """Returns how high a lane is: less, the more there are."""
    return max(11, min(30, 900 // num_ues))


def lanes(panel: Lanes) -> str:
    """Returns a panel with a lane for each UE."""
    num_steps, num_ues = panel.level.shape
    bottom = bottom_of(panel)
    shapes = [_path("track", [_bar(0, ue, num_steps, bottom, bottom) for ue in range(num_ues)])]
    for kind, where in panel.bars.items():
        if kind == LOCAL and panel.shade is not None:
            shades = shade_index(np.where(where, panel.shade, 0.0))
            for shade in np.unique(shades[where]):
                shapes.append(_bars(f"local e{shade}", where & (shades == shade), panel, bottom))
        elif kind == IDLE:
            shapes.append(_path(kind, [_dash(t, ue, bottom) for t, ue in np.argwhere(where)]))
        else:
            shapes.append(_bars(kind, where, panel, bottom))
    if panel.held is not None:
        shades = shade_index(np.nan_to_num(panel.held))
        for shade in np.unique(shades[~np.isnan(panel.held)]):
            where = ~np.isnan(panel.held) & (shades == shade)
            shapes.append(_path(f"local e{shade}", _runs(where)))
    for kind, where in panel.marks.items():
        draw = _MARKS[kind]
        shapes.append(_path(kind, [draw(t, ue, bottom) for t, ue in np.argwhere(where)]))
    height = lane_height_px(num_ues) * num_ues
    every = -(-num_ues // _MOST_LABELS)
    labels = [(100 * (ue + 0.5) / num_ues, f"UE {ue}") for ue in range(0, num_ues, every)]
    legend = "".join(
        f'<li><i class="{kind}"></i>{html.escape(label)}</li>' for kind, label in panel.legend
    )
    drawing = _svg(f"0 0 {num_steps} {num_ues}", panel.title, panel.text, shapes)
    return _figure(
        panel.title,
        panel.note,
        f'<ul class="legend">{legend}</ul>',
        _plot("lanes", height, labels, drawing),
    )


def line(panel: Line, policy: str) -> str:
    """Returns a panel with a number of each step, and that of hold."""
    ticks = ticks_of(panel)
    low, high = ticks[0], ticks[-1]

    def place(values: Floats) -> Floats:
        return 100 * (high - values) / (high - low)

    places = [float(at) for at in place(np.array(ticks))]
    shapes = [_path("grid", [f"M0 {_n(at)}H{len(panel.values)}" for at in places])]
    shapes.append(_path("own", [_steps(place(panel.values))]))
    legend = f'<li><i class="own"></i>{html.escape(policy)}</li>'
    if panel.hold is not None:
        shapes.append(_path("hold", [_steps(place(panel.hold))]))
        legend += '<li><i class="hold"></i>hold, in the same episode</li>'
    labels = [(at, _tick(tick, ticks)) for at, tick in zip(places, ticks, strict=True)]
    drawing = _svg(f"0 0 {len(panel.values)} 100", panel.title, panel.text, shapes)
    return _figure(
        panel.title,
        panel.note,
        f'<ul class="legend">{legend}</ul>',
        _plot("line", LINE_HEIGHT_PX, labels, drawing),
    )


def axis(num_steps: int, step: str) -> str:
    """Returns the numbers of the steps, below a panel."""
    spans = "".join(
        f'<span style="left:{_n(100 * (t + 0.5) / num_steps)}%">{t}</span>'
        for t in step_ticks(num_steps)
    )
    return f'<div class="axis" aria-hidden="true"><b>{step}</b><div>{spans}</div></div>'


def bottom_of(panel: Lanes) -> float:
    """Where bars stand in a lane that is 1 high: above the line of the emulator, if any."""
    return 0.94 if panel.held is None else 0.74


def _bars(kind: str, where: Bools, panel: Lanes, bottom: float) -> str:
    places = np.argwhere(where & (panel.level > 0))
    bars = [_bar(t, ue, WIDTH, (bottom - TOP) * panel.level[t, ue], bottom) for t, ue in places]
    return _path(kind, bars)


def _bar(t: int, ue: int, width: float, height: float, bottom: float) -> str:
    """A bar that stands on the bottom of a lane; a whole lane if it is as wide as all steps."""
    left = t + (1 - width) / 2 if width < 1 else t
    top = max(bottom - height, TOP)
    return f"M{_n(left)} {_n(ue + top)}h{_n(width)}v{_n(bottom - top)}h-{_n(width)}z"


def _runs(where: Bools) -> Iterable[str]:
    """Lines below the lanes, each as long as it is the same emulator's shade."""
    for ue in range(where.shape[1]):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], where[:, ue].astype(int), [0]])))
        for start, end in edges.reshape(-1, 2):
            yield f"M{start} {_n(ue + 0.79)}h{end - start}v.13h-{end - start}z"


def _dash(t: int, ue: int, bottom: float) -> str:
    middle = ue + (TOP + bottom) / 2
    return f"M{_n(t + 0.3)} {_n(middle - 0.04)}h.4v.08h-.4z"


def _arrow(t: int, ue: int, bottom: float) -> str:
    """Points down, at the foot of a bar."""
    return f"M{_n(t + 0.2)} {_n(ue + bottom - 0.34)}h.6l-.3 .26z"


def _diamond(t: int, ue: int, bottom: float) -> str:
    return f"M{_n(t + 0.5)} {_n(ue + bottom - 0.5)}l.3 .16l-.3 .16l-.3 -.16z"


def _lid(t: int, ue: int, bottom: float) -> str:
    """Lies on top of a lane."""
    return f"M{t} {_n(ue + 0.02)}h1v.07h-1z"


_MARKS = {DOWNLOAD: _arrow, FORCED: _diamond, BUSY: _lid}


def _steps(places: Floats) -> str:
    """A line that is level in each step; it has gaps where there is no number."""
    parts, drawn = [], False
    for t, place in enumerate(places):
        if np.isnan(place):
            drawn = False
            continue
        parts.append(f"V{_n(place)}h1" if drawn else f"M{t} {_n(place)}h1")
        drawn = True
    return "".join(parts)


def _svg(box: str, title: str, text: str, shapes: Iterable[str]) -> str:
    label = html.escape(f"{title}. {text}")
    return (
        f'<svg role="img" aria-label="{label}" viewBox="{box}" preserveAspectRatio="none">'
        f"{''.join(shapes)}</svg>"
    )


def _path(kind: str, parts: Iterable[str]) -> str:
    drawn = "".join(parts)
    return f'<path class="{kind}" d="{drawn}"/>' if drawn else ""


def _plot(kind: str, height: int, labels: Iterable[tuple[float, str]], drawing: str) -> str:
    texts = "".join(f'<span style="top:{_n(at)}%">{text}</span>' for at, text in labels)
    return (
        f'<div class="plot" style="height:{height}px"><div class="labels" aria-hidden="true">'
        f'{texts}</div><div class="area {kind}">{drawing}<div class="cursor"></div></div></div>'
    )


def _figure(title: str, note: str, legend: str, plot: str) -> str:
    caption = f"<b>{html.escape(title)}</b> <span>{html.escape(note)}</span>"
    return f"<figure><figcaption>{caption}{legend}</figcaption>\n{plot}\n</figure>"


def _tick(tick: float, ticks: list[float]) -> str:
    apart = ticks[1] - ticks[0]
    places = max(0, -int(np.floor(np.log10(apart) + 1e-9))) if apart < 1 else 0
    if apart * 10**places % 1 > 1e-6:  # 2.5 takes a place more
        places += 1
    return number(tick, places).replace("-", "\N{MINUS SIGN}")


def _n(value: float) -> str:
    """A number without more digits than can be seen."""
    text = f"{float(value):.3f}".rstrip("0").rstrip(".")
    return "0" if text in ("", "-0") else text
