"""How long a round takes: what travels over each client's link, and steps at its speed.

A client's time is

    bytes down / downlink + local steps x seconds per step x slowness + bytes up / uplink.

Seconds per step are those measured where the federation runs; a device is ``slowness`` times as
slow. All clients work at once, and so does the server: a round takes as long as its slowest.
"""

from __future__ import annotations

import dataclasses
import math

from rllib_mec.errors import InputError
from rllib_mec.federated.draws import generator

BITS_PER_BYTE = 8

Range = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Device:
    """A client's link, in Mbit/s, and how many times slower than this machine it is."""

    downlink_mbps: float
    uplink_mbps: float
    slowness: float

    def seconds(self, bytes_down: int, bytes_up: int, step_seconds: float) -> float:
        """Returns the time of a round, s.

        >>> Device(8.0, 1.0, 2.0).seconds(1_000_000, 250_000, 0.5)
        4.0

        Args:
            step_seconds: of all local steps on this machine.
        """
        down = bytes_down * BITS_PER_BYTE / (self.downlink_mbps * 1e6)
        up = bytes_up * BITS_PER_BYTE / (self.uplink_mbps * 1e6)
        return down + step_seconds * self.slowness + up


@dataclasses.dataclass(frozen=True)
class Devices:
    """Ranges that each client's device is drawn from, uniformly, once per run.

    downlink_mbps, uplink_mbps: Mbit/s; by default those of a phone in a loaded cell.
    slowness: times as slow as this machine.
    """

    downlink_mbps: Range = (20.0, 100.0)
    uplink_mbps: Range = (5.0, 20.0)
    slowness: Range = (1.0, 4.0)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            low, high = getattr(self, field.name)
            if not 0 < low <= high < math.inf:
                raise InputError(
                    f"{field.name} = {low:g},{high:g}: expected two positive numbers, the lowest "
                    "and the highest"
                )

    def device(self, seed: int, client: int) -> Device:
        """Returns a client's device."""
        drawn = generator("device", seed, client)
        return Device(
            **{
                field.name: float(drawn.uniform(*getattr(self, field.name)))
                for field in dataclasses.fields(self)
            }
        )
