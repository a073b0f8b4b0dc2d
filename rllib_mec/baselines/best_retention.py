"""The best retentions to hold: one for each UE, all-local, chosen with the episode's draws known.

All UEs download in the first step, UE i in s_i E_i seconds while the others do so, too: the
downlink shares bandwidth and power equally, so neither the SNR nor s_i hangs on what the others
download. With W_i the sum of the weights of UE i's perplexities, the episode costs

    sum_i W_i f(E_i) + omega max_i s_i E_i.

Under a cap tau on the delay, the best E_i is min(tau / s_i, E*), E* being the best retention of
all, for f decreases up to it. What is left is convex in tau, and a parabola as long as the same UEs
feel the cap. So its minimum lies where one of these parabolas is stationary, or where UE i ceases
to feel the cap, tau = s_i E*, or at the lowest cap, where the slowest UE holds the lowest
retention. In ``layers``, tau need only be tried where it allows one UE one layer more.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rllib_mec.errors import InputError
from rllib_mec.system import Scenario
from rllib_mec.system.emulator import highest_useful_retention
from rllib_mec.system.parts import PARTS
from rllib_mec.system.quality import complexity_factor, perplexity_of_retention
from rllib_mec.system.radio import Floats, download_delay
from rllib_mec.system.tasks import Episode


def check(scenario: Scenario) -> None:
    """Refuses scenarios in which the best retentions are not found as described.

    Raises:
        InputError: names the field, its value and what was expected.
    """
    on = [part for part in (*PARTS, "quality") if getattr(scenario, part) is not None]
    if on:
        raise InputError(
            f"best-retention: scenario {scenario.name} has {', '.join(on)}: expected a scenario "
            "without such parts (hold takes any)"
        )
    if scenario.emulator_download != "whole":
        raise InputError(
            f"best-retention: emulator_download = {scenario.emulator_download!r}: expected 'whole'"
        )
    if scenario.perplexity_coefficients[0] <= 0:
        raise InputError(
            f"best-retention: perplexity_coefficients = {list(scenario.perplexity_coefficients)}: "
            "expected a convex f(E), a > 0"
        )


def best_retentions(scenario: Scenario, episode: Episode) -> Floats:
    """Returns the retention for each UE to hold, (B, N); see the module's docstring."""
    weight = -scenario.perplexity_weight / scenario.num_ues
    weights = weight * complexity_factor(scenario, episode.tasks.complexity[:-1]).sum(axis=0)
    gain = episode.tasks.gain[0]
    local = np.zeros(gain.shape, dtype=bool)
    seconds = download_delay(scenario, local, ~local, np.ones_like(gain), gain)
    best = np.full(gain.shape, np.nan)
    least = np.full(len(gain), np.inf)
    for caps in _caps(scenario, weights, seconds):
        retention = _under(scenario, caps[..., None] / seconds[:, None])  # [b, cap, i]
        cost = (weights[:, None] * perplexity_of_retention(scenario, retention)).sum(axis=-1)
        cost -= scenario.delay_weight_per_s * (seconds[:, None] * retention).max(axis=-1)
        chosen = cost.argmin(axis=-1)[:, None]
        cost = np.take_along_axis(cost, chosen, axis=-1)[:, 0]
        retention = np.take_along_axis(retention, chosen[..., None], axis=1)[:, 0]
        best = np.where((cost < least)[:, None], retention, best)
        least = np.minimum(cost, least)
    return best


def _under(scenario: Scenario, most: Floats) -> Floats:
    """Returns the best retention that is at most ``most``, or else the lowest."""
    low = scenario.retention[0]
    retention = np.minimum(most, highest_useful_retention(scenario))
    if scenario.emulator_action == "layers":
        layers = scenario.num_layers
        # The small term forgives 13 / 32 = 12.999999999999998 / 32.
        retention = np.floor(retention * layers + 1e-9) / layers
        low = scenario.layer_bounds[0] / layers
    return np.maximum(retention, low)


def _caps(scenario: Scenario, weights: Floats, seconds: Floats) -> Iterator[Floats]:
    """Yields caps on the delay in s, (B, N) each, among which is the best one."""
    best = highest_useful_retention(scenario)
    if scenario.emulator_action == "layers":
        low, high = scenario.layer_bounds
        for layers in range(low, high + 1):
            yield seconds * (layers / scenario.num_layers)
        return
    yield seconds * scenario.retention[0]
    yield seconds * best
    a, b, _ = scenario.perplexity_coefficients
    # Of UE i's parabola: those at least as slow as UE i feel the cap, [b, i, j].
    slower = seconds[:, None] >= seconds[..., None]
    per_second = np.where(slower, (weights / seconds)[:, None], 0.0)
    linear = b * per_second.sum(axis=-1) - scenario.delay_weight_per_s
    square = 2 * a * (per_second / seconds[:, None]).sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        yield np.where(square > 0, -linear / square, 0.0)
