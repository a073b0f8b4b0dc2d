"""The ascent over the weights and prices of :mod:`rllib_mec.bounds.relaxation`."""

from __future__ import annotations

import dataclasses

import numpy as np

from rllib_mec.system.radio import Bools, Floats

_ROUNDS = 120

_HALVING = 1.5
"""Rounds after which the steps of the ascent are half as long; after twice that, a third."""

_KJ = 0.02
"""Unit of the prices: how long their steps are beside those of the weights."""


@dataclasses.dataclass(frozen=True, slots=True)
class Used:
    """What the UEs do when each is alone: the supergradient of the bound.

    cost: the sum of their least costs, [b]. sums: of 1 to 3 in the module's docstring, times the
    cost of a second, [t, b, n + 2]. training_kj: of local training, [b, i].
    """

    cost: Floats
    sums: Floats
    training_kj: Floats


class Ascent:
    """Looks for the weights and prices of the highest bound.

    Attributes:
        weights: of the inequalities, [t, b, n + 2], not negative, with a sum of 1.
        per_kj: prices of the batteries' energy, [b, i]; 0 without batteries.
        highest: the highest bound so far, [b].
    """

    def __init__(self, active: Bools, battery_kj: Floats | None, reached: Floats) -> None:
        steps, envs, ues = active.shape
        self._reached = reached
        self._battery_kj = battery_kj
        # Inequality 3 says nothing of UEs without a task.
        self._may = np.concatenate([np.ones((steps, envs, 2), dtype=bool), active], axis=-1)
        self.weights: Floats = np.zeros(self._may.shape)
        self.weights[..., 1] = 1.0
        self.per_kj: Floats = np.zeros((envs, ues))
        self.highest: Floats = np.full(envs, -np.inf)
        self._round = 0

    @property
    def goes_on(self) -> bool:
        """Whether there are rounds left."""
        return self._round < _ROUNDS

    def step(self, used: Used) -> None:
        """Takes a step along the supergradient."""
        cost = used.cost
        if self._battery_kj is not None:
            cost = cost - (self.per_kj * self._battery_kj).sum(axis=-1)
        self.highest = np.maximum(self.highest, cost)
        slope = np.where(self._may, used.sums, 0.0)
        # Only what changes differences between the weights counts.
        slope -= slope.sum(axis=-1, keepdims=True) / self._may.sum(axis=-1, keepdims=True)
        slope = np.where(self._may, slope, 0.0)
        over = np.zeros_like(self.per_kj)
        if self._battery_kj is not None:
            over = used.training_kj - self._battery_kj
            over[(self.per_kj == 0) & (over < 0)] = 0.0
        square = (slope**2).sum(axis=(0, 2)) + ((over * _KJ) ** 2).sum(axis=-1)
        # Polyak's step, as if what the better of two policies costs could be reached.
        length = np.divide(self._reached - cost, square, np.zeros_like(square), where=square > 0)
        length /= 1 + self._round / _HALVING
        self.weights = _on_simplex(self.weights + length[:, None] * slope, self._may)
        self.per_kj = np.maximum(self.per_kj + length[:, None] * over * _KJ**2, 0.0)
        self._round += 1


def _on_simplex(points: Floats, may: Bools) -> Floats:
    """Returns the nearest points with entries >= 0 that sum to 1, and are 0 where not ``may``."""
    points = np.where(may, points, -np.inf)
    ordered = -np.sort(-points, axis=-1)
    ordered = np.where(np.isfinite(ordered), ordered, -1e9)
    count = np.arange(1, points.shape[-1] + 1)
    excess = (ordered.cumsum(axis=-1) - 1) / count
    last = (ordered > excess).sum(axis=-1, keepdims=True) - 1
    return np.maximum(points - np.take_along_axis(excess, last, axis=-1), 0.0)
