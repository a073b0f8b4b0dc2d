"""Greedy: the best joint action for the reward of this step, the whole state known.

Greedy knows more than the agents do: the channels and powers of the coming tasks. It knows nothing
of later steps, so it neither saves a download for a better channel nor invests in an emulator
that pays back later.

The best action is found exactly. Every UE keeps its emulator, downloads one of retention E, or
trains on the server. With d UEs downloading, UE i downloads in a_i(d) E seconds; with k UEs
uploading, UE i uploads in u_i(k) seconds. Under a cap tau on the delay a downloader's best
retention is min(tau / a_i, E*), where E* is the best retention of all, and f decreases up to it.
So for each of the 2^N sets of downloaders the cost is convex in tau, and the servers are those who
gain most among the k at most that keep under the cap; tau need only be tried where the cost of
the downloads is stationary or has a kink (a_i E*), and at each u_i(k).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from rllib_mec.errors import InputError
from rllib_mec.system import Scenario
from rllib_mec.system.emulator import highest_useful_retention
from rllib_mec.system.quality import complexity_factor, perplexity_of_retention
from rllib_mec.system.radio import Bools, Floats, download_delay, upload_delay
from rllib_mec.system.tasks import Tasks

MAX_UES = 12
"""The 2^N sets of downloaders are all tried."""

_NEVER = 1e6
"""Cost of keeping an emulator that is not there."""

Ints = NDArray[np.intp]

_CHUNK = 4_000_000
"""Numbers in the largest array, (environments, sets, UEs)."""


def check(scenario: Scenario) -> None:
    """Refuses scenarios in which the best action is not found as described.

    Raises:
        InputError: names the field, its value and what was expected.
    """
    if scenario.num_ues > MAX_UES:
        raise InputError(f"greedy: num_ues = {scenario.num_ues}: expected at most {MAX_UES}")
    if scenario.downlink_sharing != "downloading":
        raise InputError(
            f"greedy: downlink_sharing = {scenario.downlink_sharing!r}: expected 'downloading'"
        )
    if scenario.perplexity_coefficients[0] <= 0:
        raise InputError(
            f"greedy: perplexity_coefficients = {list(scenario.perplexity_coefficients)}: "
            "expected a convex f(E), a > 0"
        )


def best_actions(scenario: Scenario, tasks: Tasks, cached: Floats) -> tuple[Bools, Floats]:
    """Returns the server decisions z and the retentions E, (B, N) each.

    A UE that keeps its emulator gets E = its cached retention.

    Args:
        tasks: the coming tasks, (B, N) each. cached: see :func:`rllib_mec.system.step.step`.
    """
    n = cached.shape[-1]
    server = np.zeros(cached.shape, dtype=bool)
    retention = cached.copy()
    open_rows = np.flatnonzero(_may_change(scenario, tasks, cached))
    chunk = max(_CHUNK // (n << n), 1)
    for start in range(0, len(open_rows), chunk):
        rows = open_rows[start : start + chunk]
        server[rows], retention[rows] = _Search(scenario, tasks.take(rows), cached[rows]).run()
    return server, retention


def _may_change(scenario: Scenario, tasks: Tasks, cached: Floats) -> Bools:
    """Tells where keeping every emulator may not be best, (B,): a bound that saves most searches.

    The most that all UEs together can gain is set against the shortest delay of a single change.
    """
    weight, kept, served = _perplexity_costs(scenario, tasks, cached)
    best = perplexity_of_retention(scenario, np.array(highest_useful_retention(scenario)))
    gain = np.maximum(kept - np.minimum(served, weight * best), 0.0).sum(axis=-1)
    alone = (tasks.data_mb, tasks.power_w, tasks.gain)
    upload = _shared_by(1, upload_delay, scenario, *alone).min(axis=-1)
    download = _shared_by(1, _full_download, scenario, tasks.gain).min(axis=-1)
    delay = np.minimum(upload, scenario.retention[0] * download)
    return gain > -scenario.delay_weight_per_s * delay


def _perplexity_costs(
    scenario: Scenario, tasks: Tasks, cached: Floats
) -> tuple[Floats, Floats, Floats]:
    """Cost of f = 1, of keeping the emulator and of the server, (B, N) each."""
    n = cached.shape[-1]
    weight = -scenario.perplexity_weight / n * complexity_factor(scenario, tasks.complexity)
    kept = np.where(cached > 0, weight * perplexity_of_retention(scenario, cached), _NEVER)
    return weight, kept, weight * perplexity_of_retention(scenario, np.array(1.0))


class _Search:
    """The search in B environments at once. UEs are in the order of what the server gains them.

    Costs are minus rewards. Axes: b environment, m set of downloaders, i UE.
    """

    def __init__(self, scenario: Scenario, tasks: Tasks, cached: Floats) -> None:
        self.scenario = scenario
        num_envs, n = cached.shape
        weight, kept, served = _perplexity_costs(scenario, tasks, cached)
        self.order = np.argsort(served - kept, axis=-1)
        self.weight, self.kept, self.cached = map(self._sorted, (weight, kept, cached))
        self.gain = self.kept - self._sorted(served)
        self.delay_weight = -scenario.delay_weight_per_s
        self.best_retention = highest_useful_retention(scenario)
        self.sets: Bools = (np.arange(1 << n)[:, None] >> np.arange(n) & 1).astype(bool)
        count = self.sets.sum(axis=-1)
        channel, power, data = map(self._sorted, (tasks.gain, tasks.power_w, tasks.data_mb))
        self.uploads = np.stack(
            [_shared_by(k, upload_delay, scenario, data, power, channel) for k in range(1, n + 1)]
        )  # [k, b, i]
        seconds = np.stack(
            [_shared_by(max(d, 1), _full_download, scenario, channel) for d in range(n + 1)], axis=1
        )
        self.seconds = seconds[:, count]  # [b, m, i], per unit of retention
        self.cost = np.full(num_envs, np.inf)
        self.server = np.zeros((num_envs, n), dtype=bool)
        self.retention = self.cached.copy()

    def run(self) -> tuple[Bools, Floats]:
        everywhere = np.arange(len(self.cost))
        n = self.cached.shape[-1]
        for cap in self._layer_caps() if self._layers else self._stationary_caps():
            self._try(everywhere, cap, range(n + 1))
        # No cost is below what each UE could have at best, and the delay.
        best_quality = self.weight * perplexity_of_retention(
            self.scenario, np.array(self.best_retention)
        )
        floor = np.minimum(np.minimum(self.kept, self.kept - self.gain), best_quality).sum(axis=-1)
        for k in range(1, n + 1):
            for ue in range(n):
                upload = self.uploads[k - 1, :, ue]
                rows = np.flatnonzero(floor + self.delay_weight * upload < self.cost)
                if len(rows):
                    cap = np.repeat(upload[rows, None], len(self.sets), axis=1)
                    self._try(rows, cap, range(k, k + 1))
        server, retention = np.empty_like(self.server), np.empty_like(self.retention)
        np.put_along_axis(server, self.order, self.server, axis=-1)
        np.put_along_axis(retention, self.order, self.retention, axis=-1)
        return server, retention

    @property
    def _layers(self) -> bool:
        return self.scenario.emulator_action == "layers"

    def _stationary_caps(self) -> Iterator[Floats]:
        """Where the cost of the downloads is stationary, if those from UE j on feel the cap."""
        low, best = self.scenario.retention[0], self.best_retention
        a, b, _ = self.scenario.perplexity_coefficients
        slowest = np.where(self.sets, self.seconds, 0.0).max(axis=-1)
        for ue in range(self.cached.shape[-1]):
            capped = self.sets & (self.seconds >= self.seconds[..., ue, None])
            per_second = np.where(capped, self.weight[:, None] / self.seconds, 0.0)
            linear = b * per_second.sum(axis=-1) + self.delay_weight
            square = 2 * a * (per_second / self.seconds).sum(axis=-1)
            with np.errstate(divide="ignore", invalid="ignore"):
                cap = np.where(square > 0, -linear / square, 0.0)
            yield np.clip(cap, low * slowest, best * slowest)
            # Where f still falls at the best retention, UE j's cost has a kink there.
            yield np.clip(best * self.seconds[..., ue], low * slowest, best * slowest)

    def _layer_caps(self) -> Iterator[Floats]:
        """Where a download's number of layers changes, and no delay at all."""
        low, high = self.scenario.layer_bounds
        yield np.zeros(self.seconds.shape[:2])
        for ue in range(self.cached.shape[-1]):
            for layers in range(low, high + 1):
                yield self.seconds[..., ue] * (layers / self.scenario.num_layers)

    def _try(self, rows: Ints, cap: Floats, servers: range) -> None:
        """Caps the delay of the environments ``rows`` at ``cap`` s, (rows, M).

        Args:
            servers: how many UEs at most may use the server, one number after the other.
        """
        cost, retention = self._downloads(rows, cap)
        cost += self.delay_weight * cap
        for k in servers:
            self._offer(rows, cap, cost, retention, k)

    def _downloads(self, rows: Ints, cap: Floats) -> tuple[Floats, Floats]:
        """Returns the perplexity's cost with no server, (rows, M), and retentions.

        It is infinite where even the lowest retention takes longer than the cap.
        """
        low = self.scenario.retention[0]
        retention = np.minimum(cap[..., None] / self.seconds[rows], self.best_retention)
        if self._layers:
            layers = self.scenario.num_layers
            # The small term forgives 13 / 32 = 12.999999999999998 / 32.
            retention = np.floor(retention * layers + 1e-9) / layers
            low = self.scenario.layer_bounds[0] / layers
        # A cap at the slowest one's lowest retention is feasible, whatever the rounding.
        late = np.any(self.sets & (retention < low * (1 - 1e-12)), axis=-1)
        retention = np.maximum(retention, low)
        quality = self.weight[rows, None] * perplexity_of_retention(self.scenario, retention)
        cost = np.where(self.sets, quality, self.kept[rows, None]).sum(axis=-1)
        return np.where(late, np.inf, cost), retention

    def _offer(self, rows: Ints, cap: Floats, cost: Floats, retention: Floats, k: int) -> None:
        """Adds the best ``k`` servers at most, and keeps what beats the best so far."""
        gain = self.gain[rows, None]
        able = ~self.sets & (gain > 0) & (self.uploads[max(k - 1, 0), rows, None] <= cap[..., None])
        able &= able.cumsum(axis=-1) <= k
        total = cost - np.where(able, gain, 0.0).sum(axis=-1)
        chosen = total.argmin(axis=-1)
        each = np.arange(len(rows))
        better = total[each, chosen] < self.cost[rows]
        each, chosen, rows = each[better], chosen[better], rows[better]
        self.cost[rows] = total[each, chosen]
        self.server[rows] = able[each, chosen]
        downloads = np.where(self.sets[chosen], retention[each, chosen], self.cached[rows])
        self.retention[rows] = np.where(self.server[rows], self.best_retention, downloads)

    def _sorted(self, values: Floats) -> Floats:
        return np.take_along_axis(values, self.order, axis=-1)


def _shared_by(
    count: int, delay: Callable[..., Floats], scenario: Scenario, *columns: Floats
) -> Floats:
    """Delay of each UE in s, (B, N), if it shares the bandwidth with ``count`` - 1 others.

    The delays of the system model count who shares; each UE is put among ``count`` equal ones.
    """
    num_envs, n = columns[0].shape
    copies = (np.broadcast_to(c.reshape(-1, 1), (num_envs * n, count)) for c in columns)
    everyone = np.ones((num_envs * n, count), dtype=bool)
    return delay(scenario, everyone, *copies)[:, 0].reshape(num_envs, n)


def _full_download(scenario: Scenario, everyone: Bools, gain: Floats) -> Floats:
    """Seconds to download the whole model, a retention of 1, (B, N)."""
    return download_delay(scenario, ~everyone, everyone, np.ones_like(gain), gain)
