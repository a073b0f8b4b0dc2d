"""Radio: rates and delays of uploads and downloads, eq. (1) to (8).

Every function takes and returns arrays of shape (B, N): B environments, N UEs. Uplink and
downlink run at once (FDD), each on its own bandwidth, shared equally (FDMA).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rllib_mec.system.base_scenario import BaseScenario
from rllib_mec.system.scenario import Scenario

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.intp]


def noise_w_per_hz(scenario: BaseScenario) -> float:
    """Noise density sigma^2 in W/Hz.

    >>> f"{noise_w_per_hz(Scenario()):.3e}"
    '3.981e-21'
    """
    return 10 ** ((scenario.noise_dbm_per_hz - 30) / 10)


def path_gain(scenario: BaseScenario, distance_m: Floats) -> Floats:
    """Mean channel power gain at ``distance_m`` metres, a pure number.

    >>> bool(np.isclose(path_gain(Scenario(), np.array(100.0)), 1e-7))
    True
    """
    return 10 ** (scenario.gain_at_1m_db / 10) * distance_m**-scenario.path_loss_exponent


def shannon_rate(bandwidth_hz: Floats, power_w: Floats, gain: Floats, noise: float) -> Floats:
    """Rate W log2(1 + p h / (sigma^2 W)) in bit/s, eq. (2) and (6)."""
    return bandwidth_hz * np.log2(1.0 + power_w * gain / (noise * bandwidth_hz))


def upload_delay(
    scenario: Scenario, server: Bools, data_mb: Floats, power_w: Floats, gain: Floats
) -> Floats:
    """Seconds each UE takes to upload its data, 0 where it trains locally, eq. (1) to (3).

    Args:
        server: z, whether the UE trains on the server, (B, N).
        data_mb: D, (B, N) in MB.
        power_w: p, (B, N) in W.
        gain: h, (B, N).
    """
    return _uplink_delay(scenario, server, data_mb, power_w, gain)


def adapter_delay(
    scenario: Scenario, server: Bools, local: Bools, power_w: Floats, gain: Floats
) -> tuple[Floats, Floats]:
    """Seconds for the adapters to reach the UEs, after server training, and to leave them.

    Args:
        server, local: which UEs trained where, (B, N).
        power_w: p, (B, N) in W.
        gain: h, (B, N).

    Returns:
        down and up, (B, N) each: 0 where nothing is sent.
    """
    assert scenario.adapter is not None
    size_mb = scenario.adapter.adapter_mb
    down = _downlink_delay(scenario, server, server, size_mb / 1e3, np.array(1.0), gain)
    return down, _uplink_delay(scenario, local, np.array(size_mb), power_w, gain)


def download_delay(
    scenario: Scenario, server: Bools, switch: Bools, retention: Floats, gain: Floats
) -> Floats:
    """Seconds each UE takes to download its emulator, 0 where it need not, eq. (4) to (7).

    Args:
        server: z, (B, N).
        switch: whether E differs from the cached emulator, (B, N); downloads are
            ``switch & ~server``, the indicator I of eq. (4).
        retention: E, (B, N).
        gain: h, (B, N).
    """
    downloads = switch & ~server
    sharing = downloads if scenario.downlink_sharing == "downloading" else switch & server
    return _downlink_delay(scenario, downloads, sharing, scenario.model_size_gb, retention, gain)


def uplink_rate(scenario: BaseScenario, count: Ints, power_w: Floats, gain: Floats) -> Floats:
    """Rate in bit/s of a UE while ``count`` UEs share the uplink; arrays broadcast."""
    bandwidth = scenario.uplink_bandwidth_hz / count
    return shannon_rate(bandwidth, power_w, gain, noise_w_per_hz(scenario))


def downlink_rate(scenario: BaseScenario, count: Ints, gain: Floats) -> Floats:
    """Rate in bit/s to a UE while ``count`` UEs share bandwidth and power; arrays broadcast."""
    bandwidth, power = scenario.downlink_bandwidth_hz / count, scenario.downlink_power_w / count
    return shannon_rate(bandwidth, power, gain, noise_w_per_hz(scenario))


def _uplink_delay(
    scenario: Scenario, sending: Bools, size_mb: Floats, power_w: Floats, gain: Floats
) -> Floats:
    """Seconds to send ``size_mb`` while ``sending`` UEs share the bandwidth, (B, N)."""
    count = np.maximum(sending.sum(axis=-1, keepdims=True), 1)
    rate = uplink_rate(scenario, count, power_w, gain)
    return sending * (size_mb * (1e6 * scenario.bits_per_byte)) / rate


def _downlink_delay(
    scenario: Scenario,
    receiving: Bools,
    sharing: Bools,
    size_gb: float,
    part: Floats,
    gain: Floats,
) -> Floats:
    """Seconds to receive a ``part`` of ``size_gb``, (B, N).

    Meanwhile all that are ``sharing`` share the bandwidth and the power.
    """
    count = np.maximum(sharing.sum(axis=-1, keepdims=True), 1)
    size_bits = size_gb * 1e9 * scenario.bits_per_byte
    return receiving * part * size_bits / downlink_rate(scenario, count, gain)
