"""An upper bound on the reward of an episode, all its draws known, for any number of UEs.

Costs are minus rewards. A step costs the perplexity of each UE's task, and the delay of the
slowest UE, which alone ties the UEs together. Three inequalities untie them:

1. Let a set S of k UEs transmit on one link, UE i taking t_i(k). Its rate times k never falls with
   k: on the downlink it stays, for bandwidth and power are both shared, so that the SNR stays; on
   the uplink, where bandwidth alone is shared, it grows. So t_i(k) / k never rises, and

       max_S t_i(k) >= mean_S t_i(k) = sum_S t_i(k) / k >= sum_S t_i(N) / N:

   the link's delay is at least what its UEs would take if all N transmitted, summed, over N.
   (With ``downlink_sharing: printed`` UE i downloads in no less than t_i, which it takes alone,
   and which is t_i(N) there, for a download is not slowed by others; max_S t_i >= sum_S t_i / N.)
2. Uplink and downlink run at once: max(up, down) >= mu up + (1 - mu) down for any mu in [0, 1].
3. So whatever mu is in each step, an episode costs at least the sum over UEs of the least cost of
   one UE alone, which pays a price for each upload, and one proportional to E for each download.
   That least cost is found by dynamic programming over the emulator that the UE has cached.

Each choice of mu gives a bound. The bound is concave in mu, and the delay of the uploads less that
of the downloads is a subgradient; the ascent ends early, which costs nothing but tightness.

In ``layers``, E has a grid. Else the dynamic programming takes points at a distance d, and there
a perplexity lower than f by a (d / 2)^2, with a the square coefficient of f, or 0 if that is less.
This is a bound, too. While a UE holds E, it pays p E + W f(E), where p and W >= 0 add up prices
and weights. Between two points f is above its tangent in their middle, which at both points is
below f by a (d / 2)^2; and what is linear in E is least at one of the points. (If the square
coefficient is not positive, p E + W f(E) is concave: it is least at an end of the range.)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rllib_mec.errors import InputError
from rllib_mec.system import Scenario
from rllib_mec.system.emulator import highest_useful_retention
from rllib_mec.system.quality import complexity_factor, perplexity_of_retention
from rllib_mec.system.radio import Floats, download_delay, upload_delay
from rllib_mec.system.tasks import Episode, Tasks

_ROUNDS = 60
"""Steps of the ascent."""

_PERPLEXITY_LOSS = 5e-5
"""What the grid takes off f at most, in parts of its least value."""

_CHUNK = 4_000_000
"""Numbers in the largest array, (steps, environments, UEs, emulators)."""

_HALVING = 5
"""Rounds after which the steps of the ascent are half as long; after twice as many, a third."""


def upper_bound(scenario: Scenario, episode: Episode) -> Floats:
    """Returns what no policy's reward exceeds in each environment's episode, (B,).

    Args:
        episode: all draws, T and N being those of the scenario.

    Raises:
        InputError: the episode is not one of this scenario.
    """
    num_tasks, num_ues = scenario.num_tasks, scenario.num_ues
    steps, num_envs, ues = episode.tasks.gain.shape
    if (steps, ues) != (num_tasks + 1, num_ues):
        raise InputError(
            f"episode: {steps} tasks of {ues} UEs: expected {num_tasks + 1} of {num_ues}"
        )
    retention, perplexity = _grid(scenario)
    size = max(_CHUNK // (num_tasks * num_ues * (len(retention) + 1)), 1)
    bounds = np.empty(num_envs)
    for start in range(0, num_envs, size):
        rows = slice(start, start + size)
        tasks = episode.tasks.take((slice(None, -1), rows))
        bounds[rows] = -_Relaxation(scenario, tasks, retention, perplexity).least_cost()
    return bounds


def _grid(scenario: Scenario) -> tuple[Floats, Floats]:
    """Returns the retentions of the dynamic programming and their perplexities, (K,) each."""
    if scenario.emulator_action == "layers":
        low, high = scenario.layer_bounds
        retention = np.arange(low, high + 1) / scenario.num_layers
        return retention, perplexity_of_retention(scenario, retention)
    first, last = scenario.retention
    square = max(scenario.perplexity_coefficients[0], 0.0)
    least = perplexity_of_retention(scenario, np.array(highest_useful_retention(scenario)))
    cells = max(int(np.ceil((last - first) / 2 * np.sqrt(square / (_PERPLEXITY_LOSS * least)))), 1)
    retention = np.linspace(first, last, cells + 1)
    below = square * ((last - first) / cells / 2) ** 2
    return retention, perplexity_of_retention(scenario, retention) - below


class _Relaxation:
    """The UEs of B environments, each on its own. Axes: t step, b environment, i UE, e emulator.

    weight: cost of a perplexity of 1. server: cost of the perplexity on the server. upload: cost of
    an upload with mu = 1. download: cost of downloading the whole model with mu = 0. reached: what
    a policy costs; [b], the others [t, b, i].
    """

    def __init__(
        self, scenario: Scenario, tasks: Tasks, retention: Floats, perplexity: Floats
    ) -> None:
        n = scenario.num_ues
        all_ues = np.ones(tasks.gain.shape, dtype=bool)
        uploads = upload_delay(scenario, all_ues, tasks.data_mb, tasks.power_w, tasks.gain)
        downloads = download_delay(
            scenario, ~all_ues, all_ues, np.ones_like(tasks.gain), tasks.gain
        )
        self.retention, self.perplexity = retention, perplexity  # [e]
        self.upload = -scenario.delay_weight_per_s / n * uploads
        self.download = -scenario.delay_weight_per_s / n * downloads
        self.weight = (
            -scenario.perplexity_weight / n * complexity_factor(scenario, tasks.complexity)
        )
        self.server = self.weight * perplexity_of_retention(scenario, np.array(1.0))
        # Two policies, hold and all-server: the least cost of all is not above the better one's.
        best = highest_useful_retention(scenario)
        hold = self.weight.sum(axis=(0, 2)) * perplexity_of_retention(scenario, np.array(best))
        hold += best * n * self.download[0].max(axis=-1)
        all_server = self.server.sum(axis=(0, 2)) + n * self.upload.max(axis=-1).sum(axis=0)
        self.reached: Floats = np.minimum(hold, all_server)  # [b]

    def least_cost(self) -> Floats:
        """Returns the highest lower bound that the ascent over mu finds, (B,)."""
        uplink = np.zeros(self.weight.shape[:2])  # mu [t, b]
        highest = np.full(len(self.reached), -np.inf)
        for number in range(_ROUNDS):
            cost, slope = self._separate(uplink)
            highest = np.maximum(highest, cost)
            # Polyak's step, as if what the better of the two policies costs could be reached.
            square = (slope**2).sum(axis=0)
            length = np.divide(self.reached - cost, square, np.zeros_like(cost), where=square > 0)
            uplink = np.clip(uplink + length / (1 + number / _HALVING) * slope, 0.0, 1.0)
        return highest

    def _separate(self, uplink: Floats) -> tuple[Floats, Floats]:
        """Returns the sum of the UEs' least costs, (B,), and its slope in mu, (T, B)."""
        served = self.server + uplink[..., None] * self.upload
        price = (1 - uplink)[..., None] * self.download
        ahead, change, chosen = self._backwards(served, price)
        num_emulators = len(self.retention)
        cached = np.full(served.shape[1:], num_emulators)  # [b, i]
        slope = np.empty_like(uplink)
        for t in range(len(uplink)):
            later = np.take_along_axis(ahead[t + 1], cached[..., None], axis=-1)[..., 0]
            held = np.append(self.perplexity, 0.0)[cached]
            keep = np.where(cached < num_emulators, self.weight[t] * held + later, np.inf)
            serve = served[t] + later
            uploads = serve < np.minimum(keep, change[t])
            downloads = ~uploads & (change[t] < keep)
            sizes = downloads * self.retention[chosen[t]]
            slope[t] = (uploads * self.upload[t] - sizes * self.download[t]).sum(axis=-1)
            cached = np.where(downloads, chosen[t], cached)
        return ahead[0, ..., num_emulators].sum(axis=-1), slope

    def _backwards(self, served: Floats, price: Floats) -> tuple[Floats, Floats, NDArray[np.intp]]:
        """Returns the least costs from each step on, and the best downloads.

        Returns:
            the least cost with each emulator cached, [t, b, i, e], the last one being none; the
            least with a download in that step, [t, b, i]; and the emulator that is downloaded.
        """
        num_emulators = len(self.retention)
        ahead = np.zeros((len(served) + 1, *served.shape[1:], num_emulators + 1))
        change = np.empty_like(served)
        chosen = np.empty(served.shape, dtype=np.intp)
        for t in reversed(range(len(served))):
            local = self.weight[t, ..., None] * self.perplexity + ahead[t + 1, ..., :-1]
            new = local + price[t, ..., None] * self.retention
            chosen[t] = new.argmin(axis=-1)
            change[t] = np.take_along_axis(new, chosen[t][..., None], axis=-1)[..., 0]
            now = ahead[t]
            np.minimum(served[t, ..., None] + ahead[t + 1], change[t][..., None], out=now)
            np.minimum(now[..., :-1], local, out=now[..., :-1])
        return ahead, change, chosen
