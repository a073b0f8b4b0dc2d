"""Measured quality: curves through the points of a profile, one for each of its tasks.

``monotone`` takes what was measured to rise by chance alone where it rises with E: an isotonic
regression (Barlow et al., Statistical Inference under Order Restrictions, 1972) pools such points,
and a cubic goes through the pooled means without leaving their range between two of them (PCHIP;
Fritsch and Carlson, SIAM J. Numer. Anal. 17, 1980). ``smoothing_spline`` smooths by generalised
cross-validation and assumes no order. Both give cubics on intervals, and all tasks get the same
intervals, so that one look-up serves all.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from rllib_mec.errors import InputError
from rllib_mec.system.measured_part import MeasuredQuality, Points

if TYPE_CHECKING:
    from rllib_mec.system.radio import Floats, Ints

_ROUNDING = 1e-6
"""What a retention may be outside by rounding: of shares of layers, or of a trace."""


class Measured:
    """Curves of M tasks over what was measured of all of them, [low, 1].

    The server's perplexity is the curve at 1, where an emulator is the whole model.

    Args:
        by_task: whether the tasks are the domains; else their mean holds for all.

    Attributes:
        low: the smallest retention. levels, sensitivities: what
            :class:`~rllib_mec.system.parts.Domains` says of each task: the server's perplexity over
            the mean of all, and the mean of (local - server) / server on [low, 1] over that of all.

    >>> points = ((0.25, 40.0), (0.5, 20.0), (0.75, 21.0), (1.0, 10.0))
    >>> measured = Measured(MeasuredQuality(curves=(points,), server_perplexity=None))
    >>> measured.local(np.array([0.25, 0.5, 0.75, 1.0]), None).tolist()  # 20 and 21 are pooled
    [40.0, 20.5, 20.5, 10.0]
    """

    def __init__(self, part: MeasuredQuality, by_task: bool = True) -> None:
        self._by_task = by_task
        cubics = [_cubics(points, part.interpolation) for points in part.curves]
        server = [float(cubic(1.0)) for cubic in cubics]
        if min(server) <= 0:
            raise InputError(
                f"quality.interpolation = {part.interpolation!r}: the curve of task "
                f"{part.tasks[int(np.argmin(server))]} falls to 0: expected 'monotone'"
            )
        self.low = float(max(cubic.x[0] for cubic in cubics))
        knots = np.unique(np.concatenate([cubic.x for cubic in cubics]))
        self._knots: Floats = knots[knots >= self.low]
        self._left, self._width = self._knots[:-1], np.diff(self._knots)
        # Of each task and, last, of their mean: coefficients of (E - left)^n, [m, n, interval].
        table: Floats = np.array(
            [[cubic(self._left, n) / (1, 1, 2, 6)[n] for n in range(4)] for cubic in cubics]
        )
        if part.server_perplexity is not None:
            table *= part.server_perplexity / float(np.mean(server))
        self._table: Floats = np.concatenate([table, table.mean(axis=0, keepdims=True)])
        self._flat = [np.ascontiguousarray(self._table[:, n]).ravel() for n in range(4)]
        self._mean = len(cubics)
        self._whole = self._at(np.array(1.0), np.arange(self._mean + 1))
        self.levels, self.sensitivities = self._domains(part)

    def server(self, domain: Ints | None) -> Floats:
        """See :class:`~rllib_mec.system.quality.Quality`."""
        if domain is None or not self._by_task:
            return self._whole[self._mean]
        return self._whole[domain]

    def local(self, retention: Floats, domain: Ints | None) -> Floats:
        """See :class:`~rllib_mec.system.quality.Quality`.

        Raises:
            InputError: a retention is outside [low, 1]. 0 is taken for ``low``: it says that a UE
                has nothing cached, and nobody looks at what is returned for it.
        """
        retention = np.asarray(retention)
        if retention.min(initial=1.0) < self.low or retention.max(initial=0.0) > 1:
            retention = self._inside(retention)
        row = self._mean if domain is None or not self._by_task else domain
        return self._at(retention, row)

    def least(self, low: float, high: float) -> float:
        """See :class:`~rllib_mec.system.quality.Quality`."""
        turns = self.stationary(np.array(0.0), None)
        knots = np.concatenate([self._knots, turns[np.isfinite(turns)]])
        between = np.sort(knots[(knots > low) & (knots < high)])
        allowed = np.array([low, *between, high])
        return float(allowed[lowest(self.local(allowed, None))])

    def convexity(self, edges: Floats) -> Floats:
        """See :class:`~rllib_mec.system.quality.Quality`."""
        table = self._table[:-1] if self._by_task else self._table[-1:]
        low = np.maximum(edges[:-1, None], self._left)  # [cell, interval]
        high = np.minimum(edges[1:, None], self._knots[1:])
        c2, c3 = (table[:, n, None] for n in (2, 3))
        # Linear on an interval, the second derivative is greatest at one of the ends.
        ends = [2 * c2 + 6 * c3 * (end - self._left) for end in (low, high)]
        return np.where(low < high, np.maximum(*ends), 0.0).max(axis=-1).clip(min=0.0)

    def lowest_on(self, low: float) -> float:
        """The lowest perplexity of any task on [low, 1]."""
        every = np.arange(self._mean)
        turns = self.stationary(np.zeros(self._mean), every)
        turns = np.where(turns > low, turns, 1.0)  # NaN, too
        knots = np.append(self._knots[self._knots > low], low)
        on_knots = self._at(knots, every[:, None])
        return float(min(on_knots.min(), self._at(turns, every[:, None]).min()))

    def stationary(self, slope: Floats, domain: Ints | None) -> Floats:
        """See :class:`~rllib_mec.system.quality.Quality`."""
        row = self._mean if domain is None or not self._by_task else domain
        _, c1, c2, c3 = np.moveaxis(self._table[row], -2, 0)
        a, b, c = 3 * c3, 2 * c2, c1 - slope[..., None]
        with np.errstate(divide="ignore", invalid="ignore"):
            # The usual formula loses digits where b^2 is large.
            q = -(b + np.where(b < 0, -1.0, 1.0) * np.sqrt(b * b - 4 * a * c)) / 2
            roots = np.stack([q / a, c / q], axis=-1)
        inside = (roots >= 0) & (roots <= self._width[:, None])
        found = np.where(inside, self._left[:, None] + roots, np.nan)
        return found.reshape(*found.shape[:-2], -1)

    def _at(self, retention: Floats, row: Ints | int) -> Floats:
        interval = self._left[1:].searchsorted(retention, side="right")
        beyond = retention - self._left.take(interval)
        at = interval + row * len(self._left)
        c0, c1, c2, c3 = self._flat
        return ((c3.take(at) * beyond + c2.take(at)) * beyond + c1.take(at)) * beyond + c0.take(at)

    def _inside(self, retention: Floats) -> Floats:
        inside = np.clip(retention, self.low, 1.0)
        outside = (np.abs(inside - retention) > _ROUNDING) & (retention != 0)
        if outside.any():
            raise InputError(
                f"retention = {retention[outside].flat[0]:g}: expected within [{self.low:g}, 1], "
                "the range that was measured"
            )
        return inside

    def _domains(self, part: MeasuredQuality) -> tuple[tuple[float, ...], tuple[float, ...]]:
        whole = self._whole[:-1]
        powers = self._width[None] ** np.arange(1, 5)[:, None] / np.arange(1, 5)[:, None]
        mean = (self._table[:-1] * powers).sum(axis=(1, 2)) / (1 - self.low)
        missed = mean / whole - 1
        if missed.min() < -_ROUNDING:
            raise InputError(
                f"quality.interpolation = {part.interpolation!r}: the curve of task "
                f"{part.tasks[int(missed.argmin())]} is below the server's perplexity on the "
                "whole: expected 'monotone'"
            )
        missed = np.maximum(missed, 0.0)
        # If nothing is missed anywhere, all tasks are alike.
        relative = missed / missed.mean() if missed.mean() > _ROUNDING else np.ones(len(missed))
        return tuple((whole / whole.mean()).tolist()), tuple(relative.tolist())


@functools.lru_cache(maxsize=16)
def measured_of(part: MeasuredQuality) -> Measured:
    """Returns the curves, made once in a process."""
    return Measured(part)


def lowest(perplexities: Floats) -> int:
    """The first of the lowest ones, rounding apart."""
    least = perplexities.min()
    return int(np.argmax(perplexities <= least + 1e-12 * abs(least)))


def _cubics(points: Points, interpolation: str) -> Any:
    """Returns the scipy.interpolate.PPoly through, or near, the points."""
    # Not at the top: scipy takes a while, and few scenarios need it.
    from scipy import interpolate, optimize

    retention, perplexity = np.array(points).T
    if interpolation == "monotone":
        pooled = optimize.isotonic_regression(perplexity, increasing=False).x
        return interpolate.PchipInterpolator(retention, pooled)
    spline = interpolate.make_smoothing_spline(retention, perplexity)
    cubic = interpolate.PPoly.from_spline(spline)
    # The ends are repeated knots, and make intervals of no width.
    wide = np.diff(cubic.x) > 0
    first, last = np.flatnonzero(wide)[[0, -1]]
    return interpolate.PPoly(cubic.c[:, first : last + 1], cubic.x[first : last + 2])
