"""The emulator a UE holds: how an action becomes a retention, and when it must be downloaded."""

from __future__ import annotations

import numpy as np

from rllib_mec.system.radio import Bools, Floats
from rllib_mec.system.scenario import Scenario

NOTHING_CACHED = 0.0
"""The cached retention of a UE that holds no emulator yet (E at step 0)."""


def read_retention(
    scenario: Scenario,
    retention: Floats,
    keep: Bools | None,
    cached: Floats,
    most: Floats | None = None,
) -> Floats:
    """Returns E, the retention each UE would train with locally, (B, N).

    Args:
        retention: the number that agent 2 chose, within ``scenario.retention``, (B, N).
        keep: with ``keep_or_retention``, whether the UE keeps what it has cached, (B, N); a UE
            that has nothing cached takes ``retention`` whatever it says. Else None.
        cached: retention of the cached emulator, or :data:`NOTHING_CACHED`, (B, N).
        most: the largest that fits the UE, see :func:`most_retention`, (B, N); None: no limit.
    """
    if scenario.emulator_action == "layers":
        low, high = scenario.layer_bounds
        retention = (
            np.clip(np.rint(retention * scenario.num_layers), low, high) / scenario.num_layers
        )
    if most is not None:
        retention = np.minimum(retention, most)
    if scenario.emulator_action == "keep_or_retention":
        return np.where(keep & (cached != NOTHING_CACHED), cached, retention)
    return retention


def new_layers(scenario: Scenario, retention: Floats, cached: Floats) -> tuple[Bools, Floats]:
    """Returns whether a UE that trains locally has to download, and how much, (B, N) each.

    With ``emulator_download: whole`` another retention than the cached one is another emulator,
    eq. (4). With ``missing`` a UE keeps all layers that it has ever downloaded: smaller emulators
    are cut from them, and for a larger one it downloads what it lacks.

    Args:
        retention: E to train with, (B, N). cached: (B, N).
    """
    if scenario.emulator_download == "missing":
        return retention > cached, np.maximum(retention - cached, 0.0)
    return retention != cached, retention


def most_retention(scenario: Scenario, memory_gb: Floats) -> Floats:
    """The largest allowed retention whose emulator fits into a UE's memory, in its shape.

    >>> scenario = Scenario.of({"model_size_gb": 5.4, "memory": True})
    >>> most_retention(scenario, np.array([2.0, 6.0])).round(3).tolist()
    [0.37, 0.8]
    """
    share = memory_gb / scenario.model_size_gb
    if scenario.emulator_action == "layers":
        share = np.floor(share * scenario.num_layers + 1e-9) / scenario.num_layers
        return np.minimum(share, scenario.layer_bounds[1] / scenario.num_layers)
    return np.minimum(share, scenario.retention[1])


def highest_useful_retention(scenario: Scenario) -> float:
    """The allowed retention of the lowest perplexity; of several, the smallest.

    >>> highest_useful_retention(Scenario())
    0.8
    >>> highest_useful_retention(Scenario(emulator_action="layers"))
    0.78125
    """
    from rllib_mec.system.quality import lowest, quality_of

    quality = quality_of(scenario)
    if scenario.emulator_action != "layers":
        return quality.least(*scenario.retention)
    low, high = scenario.layer_bounds
    allowed = np.arange(low, high + 1) / scenario.num_layers
    return float(allowed[lowest(quality.local(allowed, None))])
