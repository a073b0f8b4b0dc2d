"""What the figure and the page show of an episode, whatever its environment.

T steps, N UEs. A view is made by :mod:`rllib_mec.experiment.show.mec_view` or
:mod:`rllib_mec.experiment.show.fedpeat_view` and drawn by the modules beside it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_mec.experiment.report.wording import NOTHING, number

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

SERVER, LOCAL, IDLE = "server", "local", "idle"
DELAY, SLOWEST, BATTERY, SHARE = "delay", "slowest", "battery", "share"
"""Kinds of bars, each with a colour of its own; that of LOCAL has shades."""

DOWNLOAD, FORCED, BUSY = "download", "forced", "busy"
"""Kinds of marks: two on bars, BUSY above them."""


@dataclasses.dataclass(frozen=True, eq=False)
class Lanes:
    """A lane for each UE, with a bar for each step.

    text: the panel in words, for who does not see it. bars: where there is one of each kind,
    (T, N). level: how high bars are, (T, N) in [0, 1]. shade: of LOCAL bars, (T, N) in [0, 1].
    held: shade of the emulator that a UE holds, (T, N), NaN for none; None: it is not shown.
    marks: where there is one of each kind, (T, N). legend: kinds of bars and marks, with labels.
    """

    title: str
    note: str
    text: str
    bars: dict[str, Bools]
    level: Floats
    shade: Floats | None = None
    held: Floats | None = None
    marks: dict[str, Bools] = dataclasses.field(default_factory=dict)
    legend: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Line:
    """A number of each step, (T,), NaN for none; ``hold``: the same of ``hold``, or None."""

    title: str
    note: str
    text: str
    values: Floats
    hold: Floats | None
    from_zero: bool = False


Cells = tuple[tuple[str, Sequence[str]], ...]
"""Columns of a table: their heads and cells."""


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """All that is shown.

    policy: its name. step: "task" or "round". sentences: what it did, the first in short.
    tiles: label, value and what ``hold`` has, or None. lanes, lines: the panels.
    ues: T N cells each, UE after UE and step after step. steps: T cells each.
    """

    policy: str
    step: str
    num_steps: int
    num_ues: int
    sentences: tuple[str, ...]
    tiles: tuple[tuple[str, str, str | None], ...]
    lanes: tuple[Lanes, ...]
    lines: tuple[Line, ...]
    ues: Cells
    steps: Cells


def slowest(delay_s: Floats) -> Bools:
    """Where a UE's delay is the step's longest, and not 0; (T, N)."""
    return (delay_s == delay_s.max(axis=1, keepdims=True)) & (delay_s > 0)


def delay_lanes(delay_s: Floats, at: Bools, step: str) -> Lanes:
    """Returns the panel of the UEs' delays; ``at``: where a UE is the slowest, (T, N)."""
    most = float(delay_s.max())
    return Lanes(
        "Delay of each UE",
        f"a full bar is {number(most, 1)} s",
        f"The longest delay of a UE in a {step} is {number(most, 1)} s.",
        {DELAY: (delay_s > 0) & ~at, SLOWEST: at},
        delay_s / (most or 1.0),
        legend=((SLOWEST, f"slowest of its {step}"), (DELAY, "others")),
    )


def relative(retention: Floats, bounds: tuple[float, float]) -> Floats:
    """Where in its range a retention is, in [0, 1]; NaN for 0, which is none."""
    low, high = bounds
    shade = np.clip((retention - low) / ((high - low) or 1.0), 0, 1)
    return np.where(retention > 0, shade, np.nan)


def in_decibel(gain: Floats) -> Floats:
    """A linear gain in dB."""
    return 10 * np.log10(gain)


def digits(values: Any, places: int) -> list[str]:
    """Returns numbers as text, NaN as a dash; row after row."""
    return [number(None if np.isnan(value) else float(value), places) for value in np.ravel(values)]


def words(values: Any, word: Callable[[Any], str]) -> list[str]:
    """Returns a word for each value, row after row."""
    return [word(value) for value in np.ravel(values)]


def yes(value: Any) -> str:
    """Returns "yes", or a dash."""
    return "yes" if value else NOTHING


def index_cells(num_steps: int, num_ues: int, step: str) -> Cells:
    """Returns the columns that say which step and UE a row is about."""
    steps, ues = np.indices((num_steps, num_ues))
    return ((step, digits(steps, 0)), ("UE", digits(ues, 0)))
