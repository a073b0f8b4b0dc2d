"""How physical quantities become the numbers that the agents see: the formulas.

They hold for any leading axes, so that one step and whole episodes are scaled by the same code. For
what the numbers are see :mod:`rllib_mec.envs.observations`.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import numpy as np

from rllib_mec.system import Scenario
from rllib_mec.system.compute import local_energy, training_work
from rllib_mec.system.radio import Floats, path_gain, upload_delay
from rllib_mec.system.tasks import Devices, Tasks

_MOST = 3.0
"""Of numbers that are shares of something middling, less 1."""


class Scaling:
    """The formulas with the constants of a scenario.

    Gains of ``tasks`` are everywhere those of the finished tasks, which have been measured.

    Args:
        names: of the numbers that are seen.
    """

    def __init__(self, scenario: Scenario, names: Container[str]) -> None:
        self.scenario = scenario
        self._sees_local = "local" in names
        self._sees_battery = "battery" in names
        typical_distance = np.sqrt(np.prod(scenario.distance_m))
        self._typical_gain_db = 10 * np.log10(path_gain(scenario, typical_distance))

    def given(self, tasks: Tasks, devices: Devices) -> dict[str, Floats]:
        """Returns the numbers that no action changes, (…, B, N) or (B, N) each."""
        scenario = self.scenario
        # Deep fades go to minus infinity in dB; 60 dB below typical is as good as none.
        gain_db = 10 * np.log10(np.maximum(tasks.gain, 1e-300)) - self._typical_gain_db
        numbers = {
            "gain": np.maximum(gain_db / 10, -6.0),
            "complexity": scaled(tasks.complexity, scenario.complexity),
            "data": scaled(tasks.data_mb, scenario.data_size_mb),
        }
        if scenario.observation == "paper":
            return numbers
        numbers["power"] = scaled(tasks.power_w, scenario.uplink_power_w)
        numbers["upload"] = self._uploads(tasks)
        if scenario.compute is not None:
            assert tasks.tokens is not None
            assert devices.tflops is not None
            numbers["tokens"] = scaled(tasks.tokens, scenario.compute.tokens)
            speeds = np.log(scenario.compute.ue_tflops)
            numbers["tflops"] = scaled(np.log(devices.tflops), (speeds.min(), speeds.max()))
        if scenario.memory is not None:
            assert devices.most_retention is not None
            numbers["memory"] = scaled(devices.most_retention, scenario.retention)
        if scenario.domains is not None:
            assert tasks.domain is not None
            for name, of_domains in (
                ("level", scenario.domains.levels),
                ("sensitivity", scenario.domains.sensitivities),
            ):
                by_domain = scaled(np.array(of_domains), (min(of_domains), max(of_domains)))
                numbers[name] = by_domain[tasks.domain]
        if scenario.arrivals is not None:
            assert tasks.active is not None
            numbers["active"] = np.where(tasks.active, 1.0, -1.0)
        return numbers

    def changing(
        self,
        cached: Floats,
        battery_kj: Floats | None,
        tasks_left: int | Floats,
        devices: Devices,
        local: Floats | None,
    ) -> dict[str, Floats]:
        """Returns the numbers that hang on what was decided before, (B, N) each.

        Args:
            cached, battery_kj: as in :class:`~rllib_mec.system.step.Situation`.
            tasks_left: tasks that are still to come, >= 1.
            local: of :meth:`local_training`, (B, N).
        """
        numbers = {"cached": scaled(cached, self.scenario.retention)}
        if local is not None:
            largest: Any = devices.most_retention
            if largest is None:
                largest = self.scenario.retention[1]
            # Without an emulator: the largest that fits.
            held = np.where(cached > 0, cached, largest)
            numbers["local"] = np.minimum(local * held - 1, _MOST)
        if self._sees_battery and battery_kj is not None:
            share = battery_kj / (tasks_left * self._middling_kj)
            numbers["battery"] = np.minimum(share - 1, _MOST)
        return numbers

    def local_training(self, tasks: Tasks, devices: Devices) -> Floats | None:
        """What training a whole model would take, over a middling task on a middling emulator.

        (…, B, N), or None where nobody sees it.
        """
        compute = self.scenario.compute
        if compute is None or not self._sees_local:
            return None
        assert tasks.tokens is not None
        assert devices.tflops is not None
        seconds = training_work(compute, tasks.tokens) / devices.tflops
        tokens = np.array(np.mean(compute.tokens))
        middling = training_work(compute, tokens) / np.exp(np.log(compute.ue_tflops).mean())
        return seconds / (middling * np.mean(self.scenario.retention))

    def _uploads(self, tasks: Tasks) -> Floats:
        """What each UE's upload would take if all did and channels stayed, over a middling one."""
        scenario, gain = self.scenario, tasks.gain
        everybody = np.ones(gain.shape, dtype=bool)
        seconds = upload_delay(scenario, everybody, tasks.data_mb, tasks.power_w, gain)
        middling = upload_delay(
            scenario,
            everybody[0],
            np.full(gain.shape[1:], np.mean(scenario.data_size_mb)),
            np.full(gain.shape[1:], np.mean(scenario.uplink_power_w)),
            np.full(gain.shape[1:], 10 ** (self._typical_gain_db / 10)),
        )
        return np.minimum(seconds / middling - 1, _MOST)

    @property
    def _middling_kj(self) -> float:
        """Energy of a task of middling size on a middling emulator."""
        energy, compute = self.scenario.energy, self.scenario.compute
        assert energy is not None
        if compute is None:
            return 1.0
        work = training_work(compute, np.array(np.mean(compute.tokens)))
        return float(local_energy(energy, np.array(np.mean(self.scenario.retention)), work))


def scaled(x: Floats, bounds: tuple[float, float]) -> Floats:
    """Returns x scaled to a range: -1 at its low end, 1 at its high one."""
    low, high = bounds
    # A range of one point carries no information: centre it, keep the unit.
    width = (high - low) or 2.0
    return (x * 2 - (low + high)) / width
