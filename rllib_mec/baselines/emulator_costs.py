"""The best emulators that a UE can train with in some time, for any quality curve.

Of an emulator E, a UE downloads E - O, where O is what it owns: 0 with ``emulator_download: whole``
and with ``missing`` the cached retention. While d UEs download it then takes d a (E - O) + E c
seconds, which grow with E, so a time is a limit on E. Without a download a UE trains, in E c
seconds, with the emulator that it has cached, or with ``missing`` also with any smaller one.
"""

from __future__ import annotations

import numpy as np

from rllib_mec.baselines.choices import NEVER, Choices
from rllib_mec.system.radio import Bools, Floats, Ints

GRID = 121
"""Retentions at which costs are tabulated where E is a number."""

_GOLDEN = (np.sqrt(5) - 1) / 2

_ROUNDS = 30
"""Of the golden section: it narrows two cells of the grid by a factor of 10^6."""


class EmulatorCosts:
    """The least costs of training locally, with and without a download.

    With ``layers`` they are exact. Else the curve's overall minimum is polished, and E at its limit
    is evaluated itself; minima before the overall one are those of the grid or, where curves bend
    too much for it, stationary points in its place.

    Attributes:
        low: the smallest E there is. able: which UEs can train with that one, [b, i].
        best: the best E of all, [b, i]. best_cost: its cost, [b, i]; NEVER where not able.
        cut: whether UEs cut smaller emulators from what they own. owned: O, [b, i].
        kept: the best E without a download, [b, i]. kept_cost: its cost, NEVER where there is none.
        kept_s: seconds it takes.
    """

    def __init__(self, choices: Choices) -> None:
        self._choices = choices
        scenario = choices.scenario
        self._layers = scenario.num_layers if scenario.emulator_action == "layers" else 0
        if self._layers:
            first, last = scenario.layer_bounds
            self.low = first / self._layers
            grid = np.broadcast_to(
                np.arange(first, last + 1) / self._layers,
                (*choices.most.shape, last - first + 1),
            )
        else:
            self.low = scenario.retention[0]
            self._width = np.maximum(choices.most - self.low, 0.0)
            grid = self.low + self._width[..., None] * np.linspace(0, 1, GRID)
        self.able: Bools = choices.most >= self.low * (1 - 1e-12)
        fits = self.able[..., None] & (grid <= choices.most[..., None] + 1e-9)
        cost = np.where(fits, self._at(grid), NEVER)
        if not self._layers:
            grid, cost = self._with_stationary(grid, cost)
        # Of each point of the grid: the least cost up to there, and where it is.
        self._least: Floats = np.minimum.accumulate(cost, axis=-1)
        places = np.where(cost == self._least, np.arange(grid.shape[-1]), 0)
        self._place: Ints = np.maximum.accumulate(places, axis=-1)
        self._grid, self._cost = grid, cost
        self.best, self.best_cost = self._first(self._place[..., -1]), self._least[..., -1].copy()
        if not self._layers:
            self._polish(grid)
        self.cut = scenario.emulator_download == "missing"
        self.owned: Floats = choices.cached if self.cut else np.zeros(choices.cached.shape)
        self.kept, self.kept_cost = choices.cached, choices.kept_cost
        if self.cut:
            every = np.arange(len(self.owned))
            self.kept, self.kept_cost = self._smaller(every, self.owned)
        self.kept_s = self.kept * choices.train_s

    def without_download(self, rows: Ints, room: Floats) -> tuple[Floats, Floats]:
        """Returns the best E to be had in ``room`` seconds without a download, and its cost.

        Args:
            rows: situations, (n,). room: (n, N).

        Returns:
            (n, N) each; the cost is NEVER where there is no such E.
        """
        whole = self.kept_s[rows] <= room * (1 + 1e-12)
        kept, cost = self.kept[rows], np.where(whole, self.kept_cost[rows], NEVER)
        if not self.cut or whole.all():
            return kept, cost
        # Only a UE that takes time for training is too slow and in time with a smaller one.
        train_s = self._choices.train_s[rows]
        smaller = np.divide(room, train_s, out=np.zeros_like(room), where=train_s > 0)
        smaller, less = self._smaller(rows, np.minimum(smaller, kept))
        return np.where(whole, kept, smaller), np.where(whole, cost, less)

    def with_download(self, rows: Ints, room: Floats, sharing: Ints) -> tuple[Floats, Floats]:
        """The same with a download, while ``sharing`` UEs download, (n,)."""
        load_s = sharing[:, None] * self._choices.download_s[rows]
        slowness, owned = load_s + self._choices.train_s[rows], self.owned[rows]
        if not self.cut:
            return self.up_to(rows, room / slowness)
        retention, cost = self.up_to(rows, (room + load_s * owned) / slowness)
        return retention, np.where(retention > owned, cost, NEVER)

    def seconds(self, retention: Floats, sharing: Ints, rows: Ints) -> Floats:
        """Seconds of a download of E > O and training, while ``sharing`` UEs download, (n, N)."""
        load_s = sharing[:, None] * self._choices.download_s[rows]
        slowness = load_s + self._choices.train_s[rows]
        return slowness * retention - load_s * self.owned[rows]

    def _smaller(self, rows: Ints, most: Floats) -> tuple[Floats, Floats]:
        """:meth:`up_to`, but no rounding makes E exceed ``most``: it would be a download."""
        retention, cost = self.up_to(rows, np.minimum(most, self._choices.most[rows]))
        return np.minimum(retention, most), cost

    def up_to(self, rows: Ints, most: Floats) -> tuple[Floats, Floats]:
        """Returns the best E of at most ``most`` and its cost, (n, N) each; NEVER where none is.

        Args:
            rows: situations, (n,). most: (n, N).
        """
        every = np.arange(most.shape[-1])
        if self._layers:
            index = np.floor(most * self._layers + 1e-9) - np.rint(self.low * self._layers)
            possible = index >= 0
        else:
            share = (most - self.low) / np.maximum(self._width[rows], 1e-12)
            index = np.floor(share * (GRID - 1))
            possible = most >= self.low * (1 - 1e-12)
        index = np.clip(index, 0, self._grid.shape[-1] - 1).astype(np.intp)
        cost = self._least[rows[:, None], every, index]
        retention = self._grid[rows[:, None], every, self._place[rows[:, None], every, index]]
        if not self._layers:
            # In the cell of the limit there may be a minimum below it.
            after = np.minimum(index + 1, self._grid.shape[-1] - 1)
            inside, inside_cost = (
                each[rows[:, None], every, after] for each in (self._grid, self._cost)
            )
            better = (inside <= most) & (inside_cost < cost)
            retention = np.where(better, inside, retention)
            cost = np.where(better, inside_cost, cost)
            limit = np.clip(most, self.low, self.low + self._width[rows])
            at_limit = self._at(limit, rows)
            retention = np.where(at_limit < cost, limit, retention)
            cost = np.minimum(cost, at_limit)
            # Else rounding takes a little off an E that is just in time.
            whole = limit >= self.best[rows] * (1 - 1e-12)
            retention = np.where(whole, self.best[rows], retention)
            cost = np.where(whole, self.best_cost[rows], cost)
        return retention, np.where(possible & self.able[rows], cost, NEVER)

    def _first(self, index: Ints) -> Floats:
        return np.take_along_axis(self._grid, index[..., None], axis=-1)[..., 0]

    def _with_stationary(self, grid: Floats, cost: Floats) -> tuple[Floats, Floats]:
        """Returns the grid with costs' stationary points in place of the points after them."""
        choices = self._choices
        weight = np.where(choices.weight > 0, choices.weight, np.inf)
        found = choices.quality.stationary(-choices.train_cost / weight, choices.domain)
        if found is None:
            return grid, cost
        grid, cost = grid.copy(), cost.copy()
        inside = (found >= self.low) & (found <= choices.most[..., None]) & self.able[..., None]
        found = np.where(inside, found, self.low)
        found_cost = np.where(inside, self._at(found), NEVER)
        share = (found - self.low) / np.maximum(self._width[..., None], 1e-12)
        place = np.clip(np.ceil(share * (GRID - 1)), 0, GRID - 1).astype(np.intp)
        for j in range(found.shape[-1]):
            at = place[..., j, None]
            point, least = found[..., j, None], found_cost[..., j, None]
            better = least < np.take_along_axis(cost, at, axis=-1)
            for table, value in ((grid, point), (cost, least)):
                before = np.take_along_axis(table, at, axis=-1)
                np.put_along_axis(table, at, np.where(better, value, before), axis=-1)
        return grid, cost

    def _polish(self, grid: Floats) -> None:
        """Golden section in the cells beside the best point of the grid."""
        index = self._place[..., -1]
        low = self._first(np.maximum(index - 1, 0))
        high = self._first(np.minimum(index + 1, grid.shape[-1] - 1))
        for _ in range(_ROUNDS):
            left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
            falls = self._at(left) > self._at(right)
            low, high = np.where(falls, left, low), np.where(falls, high, right)
        middle = (low + high) / 2
        cost = self._at(middle)
        better = self.able & (cost < self.best_cost)
        self.best = np.where(better, middle, self.best)
        self.best_cost = np.where(better, cost, self.best_cost)

    def _at(self, retention: Floats, rows: Ints | None = None) -> Floats:
        """Cost of E, (n, N) in ``rows``, or (B, N) or (B, N, K) in all situations."""
        choices = self._choices
        weight, train, domain = choices.weight, choices.train_cost, choices.domain
        if rows is not None:
            weight, train = weight[rows], train[rows]
            domain = None if domain is None else domain[rows]
        if retention.ndim == 3:
            weight, train = weight[..., None], train[..., None]
            domain = None if domain is None else domain[..., None]
        return weight * choices.quality.local(retention, domain) + train * retention
