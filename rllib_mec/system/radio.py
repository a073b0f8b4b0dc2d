"""Radio: rates and delays of uploads and downloads, eq. (1) to (8).

Every function takes and returns arrays of shape (B, N): B environments, N UEs. Uplink and
downlink run at once (FDD), each on its own bandwidth, shared equally (FDMA).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rllib_mec.system.scenario import Scenario

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def noise_w_per_hz(scenario: Scenario) -> float:
    """Noise density sigma^2 in W/Hz.

    >>> f"{noise_w_per_hz(Scenario()):.3e}"
    '3.981e-21'
    """
    return 10 ** ((scenario.noise_dbm_per_hz - 30) / 10)


def path_gain(scenario: Scenario, distance_m: Floats) -> Floats:
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
    uploading = np.maximum(server.sum(axis=-1, keepdims=True), 1)
    bandwidth = scenario.uplink_bandwidth_hz / uploading
    rate = shannon_rate(bandwidth, power_w, gain, noise_w_per_hz(scenario))
    return server * (data_mb * (1e6 * scenario.bits_per_byte)) / rate


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
    count = np.maximum(sharing.sum(axis=-1, keepdims=True), 1)
    rate = shannon_rate(
        scenario.downlink_bandwidth_hz / count,
        scenario.downlink_power_w / count,
        gain,
        noise_w_per_hz(scenario),
    )
    size_bits = scenario.model_size_gb * 1e9 * scenario.bits_per_byte
    return downloads * retention * size_bits / rate
