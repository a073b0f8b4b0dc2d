"""Greedy: the best joint action for the reward of this step, the whole state known.

Greedy knows more than the agents do: the channels and powers of the coming tasks. It knows nothing
of later steps, so it neither saves a download for a better channel nor invests in an emulator
that pays back later, nor does it save its battery.

The best action is found within :data:`TOLERANCE`. A set of UEs to serve, of which all 2^N are
tried, fixes their cost and delay, the server's queue included, and that of adapters. Let at most d
of the others download, while sharing the downlink by d, under a cap tau on the delay. Then each has
its best E with a download and without (:mod:`rllib_mec.baselines.emulator_costs`), and those
download who gain most: the cost C(tau) is known, and never rises with tau. So on [s, t] no action
costs less than omega s + C(t), and branch and bound over tau, for all sets and d at once, finds the
least cost whatever the shape of the quality curves. Of d = 0 it need only be tried that nobody
feels a cap, unless smaller emulators are cut from what is cached (``emulator_download: missing``).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from rllib_mec.baselines.choices import NEVER, Choices
from rllib_mec.baselines.emulator_costs import EmulatorCosts
from rllib_mec.errors import InputError
from rllib_mec.system import Scenario
from rllib_mec.system.emulator import highest_useful_retention
from rllib_mec.system.radio import Bools, Floats, Ints
from rllib_mec.system.rows import Rows
from rllib_mec.system.step import Situation

MAX_UES = 12
"""The 2^N sets of UEs to serve are all tried."""

TOLERANCE = 1e-5
"""What the best action's reward may exceed the one found by at most; it hardly ever does."""

_CHUNK = 200_000
"""Numbers in the arrays of all sets, (situations, sets, UEs)."""

_NODES = 100_000
"""Intervals of caps that are split at once."""

_POLISH_ROUNDS, _POLISH_REACH = 45, 0.05
"""Thirds that are cut off around the best cap, and from how far, in parts of it."""


def check(scenario: Scenario) -> None:
    """Refuses scenarios in which the best action is not found as described.

    Raises:
        InputError: names the field, its value and what was expected.
    """
    if scenario.num_ues > MAX_UES:
        raise InputError(
            f"greedy: num_ues = {scenario.num_ues}: expected at most {MAX_UES} "
            "(greedy-coordinate takes any number)"
        )
    if scenario.downlink_sharing != "downloading":
        raise InputError(
            f"greedy: downlink_sharing = {scenario.downlink_sharing!r}: expected 'downloading'"
        )


def best_actions(scenario: Scenario, situation: Situation) -> tuple[Bools, Floats]:
    """Returns the server decisions z and the retentions E, (B, N) each.

    A UE that keeps its emulator gets E = its cached retention.
    """
    envs, ues = situation.cached.shape
    server = np.zeros((envs, ues), dtype=bool)
    retention = situation.cached.copy()
    chunk = max(_CHUNK // (ues << ues), 1)
    for start in range(0, envs, chunk):
        rows = slice(start, start + chunk)
        search = _Search(Choices(scenario, situation.take(rows)))
        served, chosen = search.run()
        held = np.where(situation.cached[rows] > 0, situation.cached[rows], search.emulators.low)
        server[rows] = served
        # What the UEs on the server are told changes nothing.
        idle = np.where(served, highest_useful_retention(scenario), held)
        retention[rows] = np.where(chosen > 0, chosen, idle)
    return server, retention


@dataclasses.dataclass(frozen=True, slots=True)
class _Nodes(Rows):
    """Intervals of caps, (n,) each.

    row: the situation. served: the set of UEs to serve. downloads: d, how many may download.
    low, high: of the cap in s. cost: C(high).
    """

    row: Ints
    served: Ints
    downloads: Ints
    low: Floats
    high: Floats
    cost: Floats


class _Search:
    """The search in B situations at once. Axes: b situation, m set of UEs to serve, i UE."""

    def __init__(self, choices: Choices) -> None:
        self.choices = choices
        self.emulators = EmulatorCosts(choices)
        envs, ues = choices.active.shape
        self.sets: Bools = (np.arange(1 << ues)[:, None] >> np.arange(ues) & 1).astype(bool)
        self._fixed()
        self.cost = np.full(envs, np.inf)
        self.server = np.zeros((envs, ues), dtype=bool)
        self.retention = np.zeros((envs, ues))  # of local training; 0: none
        self._place = [np.zeros(envs, dtype=np.intp) for _ in range(2)]  # of the best: m, d
        self._cap = np.full(envs, np.nan)

    def run(self) -> tuple[Bools, Floats]:
        """Returns z, and E where a UE trains locally, else 0, (B, N) each."""
        self._without_downloads()
        nodes = self._roots()
        # The ends may be the best caps (low is the server's delay); no interval has them inside.
        for start in range(0, len(nodes.row), _NODES):
            part = nodes.take(slice(start, start + _NODES))
            self._try(part, part.low)
            self._try(part, part.high)
        while len(nodes.row):
            nodes = self._split(nodes)
        self._polish()
        return self.server, self.retention

    def _fixed(self) -> None:
        """What the set of UEs to serve fixes, [b, m] each."""
        choices = self.choices
        served = self.sets[None] & choices.active[:, None]  # [b, m, i]
        self._local = ~served & choices.active[:, None]
        count, self._locals = served.sum(axis=-1), self._local.sum(axis=-1)
        rows = np.arange(len(served))[:, None]
        queue = np.where(served, choices.queue_s[:, None], 0.0)
        if choices.queue_shared:
            queue = queue.sum(axis=-1, keepdims=True)
        seconds = choices.served_s[rows, count] + queue
        self._served_s = np.where(served, seconds, 0.0).max(axis=-1)
        cost = np.where(served, choices.served_cost[rows, count], 0.0)
        self._base = (
            cost + np.where(self._local, choices.local_cost[rows, self._locals], 0.0)
        ).sum(axis=-1)
        # Sets that differ in UEs without a task are the same.
        self._base[(self.sets[None] & ~choices.active[:, None]).any(axis=-1)] = np.inf
        self._local_s = np.where(self._local, choices.local_s[rows, self._locals], 0.0)

    def _without_downloads(self) -> None:
        """All sets whose other UEs download nothing, and no cap."""
        choices, emulators = self.choices, self.emulators
        cost = self._base + np.where(self._local, emulators.kept_cost[:, None], 0.0).sum(axis=-1)
        seconds = np.where(self._local, emulators.kept_s[:, None], 0.0) + self._local_s
        cost += choices.delay_weight * np.maximum(self._served_s, seconds.max(axis=-1))
        chosen = cost.argmin(axis=-1)
        rows = np.arange(len(cost))
        self.cost = cost[rows, chosen]
        self.server = self.sets[chosen]
        self.retention = np.where(self._local[rows, chosen], emulators.kept, 0.0)

    def _roots(self) -> _Nodes:
        """The intervals of all sets and d that may hold something better."""
        choices, emulators = self.choices, self.emulators
        # Without any cap, those download who gain most.
        gain = np.maximum(emulators.kept_cost - emulators.best_cost, 0.0)
        gain = np.where(self._local, gain[:, None], 0.0)
        most = np.cumsum(-np.sort(-gain, axis=-1), axis=-1)
        kept = self._base + np.where(self._local, emulators.kept_cost[:, None], 0.0).sum(axis=-1)
        must = self._local & (emulators.kept_cost >= NEVER)[:, None]
        every = np.arange(len(self._base))
        parts = []
        for d in range(0 if emulators.cut else 1, self.sets.shape[-1] + 1):
            sharing = np.full(len(every), d)
            smallest = np.maximum(emulators.low, emulators.owned)
            seconds = emulators.seconds(smallest, sharing, every)[:, None]
            seconds = np.where(self._local, seconds + self._local_s, np.inf)
            # Some UE downloads, and those that cannot do without.
            low = np.where(must, seconds, seconds.min(axis=-1, keepdims=True)).max(axis=-1)
            if emulators.cut:
                soonest = (emulators.low * choices.train_s)[:, None] + self._local_s
                soonest = np.where(self._local, soonest, 0.0).max(axis=-1)
                low = np.maximum(low, soonest) if d else soonest
            enough = self._locals >= max(d, 1)
            low = np.where(enough, np.maximum(self._served_s, low), 0.0)
            cost = kept - most[..., d - 1] if d else kept
            bound = choices.delay_weight * low + cost
            row, served = np.nonzero(enough & (bound < self.cost[:, None] - TOLERANCE))
            local = self._local[row, served]
            longest = emulators.kept_s
            if d:
                best_s = emulators.seconds(emulators.best, sharing, every)
                longest = np.maximum(longest, best_s)
            high = np.where(local, longest[row] + self._local_s[row, served], 0.0).max(axis=-1)
            at = row, served
            high = np.maximum(high, low[at])
            parts.append(_Nodes(row, served, np.full(len(row), d), low[at], high, cost[at]))
        return _joined(parts)

    def _split(self, nodes: _Nodes) -> _Nodes:
        """Tries the middle of each interval; returns the halves that may hold something better."""
        parts = []
        for start in range(0, len(nodes.row), _NODES):
            part = nodes.take(slice(start, start + _NODES))
            middle = (part.low + part.high) / 2
            cost, seconds = self._try(part, middle)
            parts.append(dataclasses.replace(part, high=np.minimum(middle, seconds), cost=cost))
            parts.append(dataclasses.replace(part, low=middle))
        halves = _joined(parts)
        bound = self.choices.delay_weight * halves.low + halves.cost
        # Shorter intervals cannot be told apart by rounding.
        open_ = halves.high - halves.low > 1e-12 * halves.high
        return halves.take(open_ & (bound < self.cost[halves.row] - TOLERANCE))

    def _try(self, nodes: _Nodes, cap: Floats) -> tuple[Floats, Floats]:
        """Returns C(cap) and the delay there, (n,) each, and keeps what beats the best so far."""
        choices, row = self.choices, nodes.row
        at = row, nodes.served
        local, extra = self._local[at], self._local_s[at]
        room = cap[:, None] - extra
        own, kept = self.emulators.without_download(row, room)
        retention, new = self.emulators.with_download(row, room, nodes.downloads)
        gain = np.where(local, kept - new, 0.0)
        order = np.argsort(-gain, axis=-1)
        ranked = np.empty_like(order)
        np.put_along_axis(ranked, order, np.arange(order.shape[-1])[None], axis=-1)
        downloads = (gain > 0) & (ranked < nodes.downloads[:, None])
        cost = self._base[at] + np.where(local, np.where(downloads, new, kept), 0.0).sum(axis=-1)
        loading = self.emulators.seconds(retention, nodes.downloads, row)
        seconds = np.where(downloads, loading, own * choices.train_s[row]) + extra
        delay = np.maximum(self._served_s[at], np.where(local, seconds, 0.0).max(axis=-1))
        retention = np.where(downloads, retention, np.where(local, own, 0.0))
        self._offer(nodes, cap, cost + choices.delay_weight * delay, retention)
        return cost, delay

    def _offer(self, nodes: _Nodes, cap: Floats, total: Floats, retention: Floats) -> None:
        least = self.cost.copy()
        np.minimum.at(least, nodes.row, total)
        won = np.flatnonzero((total == least[nodes.row]) & (total < self.cost[nodes.row]))
        row, served = nodes.row[won], nodes.served[won]
        self.cost = least
        self.server[row], self.retention[row] = self.sets[served], retention[won]
        self._place[0][row], self._place[1][row] = served, nodes.downloads[won]
        self._cap[row] = cap[won]

    def _polish(self) -> None:
        """Narrows the best caps, which the search leaves as soon as it gains too little."""
        row = np.flatnonzero(self._cap > 0)
        if not len(row):
            return
        choices = self.choices
        served, downloads = (place[row] for place in self._place)
        reach = _POLISH_REACH * self._cap[row]
        low, high = self._cap[row] - reach, self._cap[row] + reach
        nodes = _Nodes(row, served, downloads, low, high, low)
        for _ in range(_POLISH_ROUNDS):
            third = (high - low) / 3
            left, right = low + third, high - third
            totals = []
            for cap in (left, right):
                cost, seconds = self._try(nodes, cap)
                totals.append(cost + choices.delay_weight * seconds)
            falls = totals[0] > totals[1]
            low, high = np.where(falls, left, low), np.where(falls, high, right)
        # Where a UE has its best emulator just in time.
        kinks = self.emulators.seconds(self.emulators.best[row], downloads, row)
        if self.emulators.cut:
            kinks = np.concatenate([kinks, self.emulators.kept_s[row]], axis=-1)
        extra = self._local_s[row, served]
        kinks += np.tile(extra, kinks.shape[-1] // extra.shape[-1])
        for kink in kinks.T:
            self._try(nodes, kink)


def _joined(parts: list[_Nodes]) -> _Nodes:
    columns = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in dataclasses.fields(_Nodes)
    }
    return _Nodes(**columns)
