"""Where an axis begins, ends and has its ticks."""

from __future__ import annotations

import numpy as np

from rllib_mec.experiment.show.view import Line


def ticks_of(line: Line, most: int = 4) -> list[float]:
    """Returns ticks of a line's values, the first and last of which are the axis's ends."""
    from matplotlib.ticker import MaxNLocator

    shown = np.concatenate([line.values, () if line.hold is None else line.hold])
    shown = shown[np.isfinite(shown)]
    low, high = (float(shown.min()), float(shown.max())) if shown.size else (0.0, 1.0)
    if line.from_zero:
        low = min(low, 0.0)
    if high - low < 1e-9 * max(abs(low), abs(high), 1.0):
        high = low + (abs(low) or 1.0) * 0.01
    locator = MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10], min_n_ticks=2)
    return [float(tick) for tick in locator.tick_values(low, high)]


def step_ticks(num_steps: int) -> list[int]:
    """Returns the steps that have a tick.

    >>> step_ticks(50), step_ticks(3), step_ticks(1)
    ([0, 10, 20, 30, 40, 49], [0, 1, 2], [0])
    """
    every = next(e for e in (1, 2, 5, 10, 20, 50, 100, 200, 500, 10**9) if num_steps / e <= 6)
    ticks = list(range(0, num_steps, every))
    last = num_steps - 1
    # The last step has one, too, in place of one that is too near to it.
    if last - ticks[-1] > every / 2:
        return [*ticks, last]
    return ticks
