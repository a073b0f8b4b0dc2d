"""The colours of an episode, for light and for dark backgrounds.

Hues are those of Okabe and Ito, which the colour-blind tell apart; what they say, heights of bars
say, too.
"""

from __future__ import annotations

import numpy as np

from rllib_mec.experiment.report.figures import COLOURS
from rllib_mec.experiment.show.view import (
    BATTERY,
    BUSY,
    DELAY,
    IDLE,
    LOCAL,
    SERVER,
    SHARE,
    SLOWEST,
    Floats,
)

LIGHT = {
    SERVER: COLOURS[0],
    LOCAL: COLOURS[1],
    IDLE: "#C9CDD2",
    DELAY: "#8A929B",
    SLOWEST: COLOURS[3],
    BATTERY: COLOURS[2],
    SHARE: "#A8578A",
    BUSY: "#30363D",
}
DARK = {
    SERVER: COLOURS[5],
    LOCAL: COLOURS[1],
    IDLE: "#3A4149",
    DELAY: "#78818B",
    SLOWEST: "#FF8A4C",
    BATTERY: "#2FC79A",
    SHARE: COLOURS[4],
    BUSY: "#D0D6DC",
}
"""By the kind of a bar or mark."""

SHADES_LIGHT = ("#FADFA4", "#F5CB72", "#EFB544", "#E69F00", "#CF8600", "#B56E00", "#985600")
SHADES_DARK = ("#5A3C06", "#7C5205", "#A06A04", "#C48302", "#E69F00", "#F7BC4A", "#FFDC94")
"""Of local training by retention: what is more stands out more from the background."""


def shade_index(shade: Floats) -> Floats:
    """Which of the shades, for a number in [0, 1]."""
    return np.minimum((shade * len(SHADES_LIGHT)).astype(np.intp), len(SHADES_LIGHT) - 1)
