"""What the agents see: numbers of each UE, scaled to be of order 1.

``x`` scaled to its range [low, high] is (2x - low - high) / (high - low): -1 at low, 1 at high.

| Number      | What it is                          | Unit    | Scaling                    |
|-------------|-------------------------------------|---------|----------------------------|
| gain        | h, channel of the finished task     | dB      | (dB - typical) / 10, >= -6 |
| complexity  | c, complexity of the coming task    | -       | range ``complexity``       |
| data        | D, data size of the coming task     | MB      | range ``data_size_mb``     |
| cached      | E, retention of the cached emulator | -       | range ``retention``        |
| power       | p, uplink power of the coming task  | W       | range ``uplink_power_w``   |
| tokens      | tokens of the coming task           | -       | range ``tokens``           |
| tflops      | speed of the UE's device            | TFLOP/s | range, its logarithm       |
| memory      | largest retention that fits the UE  | -       | range ``retention``        |
| battery     | battery per task left, see below    | -       | less 1, at most 2          |
| level       | level of the coming task's domain   | -       | range ``levels``           |
| sensitivity | sensitivity of that domain          | -       | range ``sensitivities``    |
| active      | whether the UE has a task           | -       | -1 no, 1 yes               |

With ``observation: paper`` agents see the first four at most. With ``full`` they see all numbers
that the parts of the scenario give a meaning. "Typical" is the gain at the geometric mean of
``distance_m``. A battery is measured by what a task of middling size takes on a middling emulator.
A UE that has nothing cached shows E = 0. With ``observation_noise`` Gaussian noise
is on all numbers but ``active``, the same for both agents.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_mec.system import Scenario, Simulator
from rllib_mec.system.compute import local_energy, training_work
from rllib_mec.system.radio import Floats, path_gain, upload_delay
from rllib_mec.system.tasks import Episode, Tasks

Observation = NDArray[np.float32]

PAPER = ("gain", "complexity", "data", "cached")
"""What agent 1 sees in the paper (section IV-A)."""

_MOST = 3.0
"""Of numbers that are shares of something middling, less 1."""

_OF_PARTS = {
    "compute": ("tokens", "tflops", "local"),
    "memory": ("memory",),
    "energy": ("battery",),
    "domains": ("level", "sensitivity"),
    "arrivals": ("active",),
}


def numbers_of(scenario: Scenario) -> tuple[str, ...]:
    """Returns the names of the numbers that are seen of each UE, in order."""
    if scenario.observation == "paper":
        return PAPER
    on = [part for part in _OF_PARTS if getattr(scenario, part) is not None]
    return (*PAPER, "power", "upload", *(number for part in on for number in _OF_PARTS[part]))


class Numbers:
    """The scaled numbers of each UE, step by step.

    What no action changes is computed once per episode.

    Attributes:
        names: of the K numbers.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.names = numbers_of(scenario)
        self._index = {name: k for k, name in enumerate(self.names)}
        typical_distance = np.sqrt(np.prod(scenario.distance_m))
        self._typical_gain_db = 10 * np.log10(path_gain(scenario, typical_distance))
        self._episode: Episode | None = None
        self._given: Observation = np.empty(0, np.float32)
        self._noise: Floats | None = None
        self._local: Floats | None = None

    def see(self, simulator: Simulator) -> Observation:
        """Returns the numbers before the coming task, (B, N, K)."""
        if simulator.episode is not self._episode:
            self._begin(simulator)
        seen = self._given[simulator.t].copy()
        self._fill(seen, "cached", _scaled(simulator.cached, self.scenario.retention), simulator.t)
        if self._local is not None:
            largest: Any = simulator.episode.devices.most_retention
            if largest is None:
                largest = self.scenario.retention[1]
            # Without an emulator: the largest that fits.
            held = np.where(simulator.cached > 0, simulator.cached, largest)
            local = np.minimum(self._local[simulator.t] * held - 1, _MOST)
            self._fill(seen, "local", local, simulator.t)
        if "battery" in self._index and simulator.battery_kj is not None:
            left = max(self.scenario.num_tasks - simulator.t, 1)
            share = simulator.battery_kj / (left * self._middling_kj)
            self._fill(seen, "battery", np.minimum(share - 1, _MOST), simulator.t)
        return seen

    def _fill(self, seen: Observation, name: str, values: Floats, t: int) -> None:
        index = self._index[name]
        if self._noise is not None:
            values = values + self._noise[t, ..., index]
        seen[..., index] = values

    def _begin(self, simulator: Simulator) -> None:
        scenario, episode = self.scenario, simulator.episode
        self._episode = episode
        self._local = self._local_training(episode)
        given = self._of_episode(episode)
        noise = None
        if scenario.observation_noise:
            noise = scenario.observation_noise * simulator.draw_noise(len(self.names))
        shape = (*episode.tasks.gain.shape, len(self.names))
        self._given = np.zeros(shape, np.float32)
        self._noise = noise
        for name, values in given.items():
            if noise is not None and name != "active":
                values = values + noise[..., self._index[name]]
            self._given[..., self._index[name]] = values

    def _of_episode(self, episode: Episode) -> dict[str, Floats]:
        """What no action changes, (T + 1, B, N) or (B, N) each."""
        scenario, tasks, devices = self.scenario, episode.tasks, episode.devices
        last_gain = np.concatenate([episode.first_gain[None], tasks.gain[:-1]])
        # Deep fades go to minus infinity in dB; 60 dB below typical is as good as none.
        gain_db = 10 * np.log10(np.maximum(last_gain, 1e-300)) - self._typical_gain_db
        numbers = {
            "gain": np.maximum(gain_db / 10, -6.0),
            "complexity": _scaled(tasks.complexity, scenario.complexity),
            "data": _scaled(tasks.data_mb, scenario.data_size_mb),
        }
        if scenario.observation == "paper":
            return numbers
        numbers["power"] = _scaled(tasks.power_w, scenario.uplink_power_w)
        numbers["upload"] = self._uploads(tasks, last_gain)
        if scenario.compute is not None:
            assert tasks.tokens is not None
            assert devices.tflops is not None
            numbers["tokens"] = _scaled(tasks.tokens, scenario.compute.tokens)
            speeds = np.log(scenario.compute.ue_tflops)
            numbers["tflops"] = _scaled(np.log(devices.tflops), (speeds.min(), speeds.max()))
        if scenario.memory is not None:
            assert devices.most_retention is not None
            numbers["memory"] = _scaled(devices.most_retention, scenario.retention)
        if scenario.domains is not None:
            assert tasks.domain is not None
            for name, of_domains in (
                ("level", scenario.domains.levels),
                ("sensitivity", scenario.domains.sensitivities),
            ):
                scaled = _scaled(np.array(of_domains), (min(of_domains), max(of_domains)))
                numbers[name] = scaled[tasks.domain]
        if scenario.arrivals is not None:
            assert tasks.active is not None
            numbers["active"] = np.where(tasks.active, 1.0, -1.0)
        return numbers

    def _local_training(self, episode: Episode) -> Floats | None:
        """What training a whole model would take, over a middling task on a middling emulator.

        (T + 1, B, N), or None where nobody sees it.
        """
        compute = self.scenario.compute
        if compute is None or "local" not in self._index:
            return None
        assert episode.tasks.tokens is not None
        assert episode.devices.tflops is not None
        seconds = training_work(compute, episode.tasks.tokens) / episode.devices.tflops
        tokens = np.array(np.mean(compute.tokens))
        middling = training_work(compute, tokens) / np.exp(np.log(compute.ue_tflops).mean())
        return seconds / (middling * np.mean(self.scenario.retention))

    def _uploads(self, tasks: Tasks, last_gain: Floats) -> Floats:
        """What each UE's upload would take if all did and channels stayed, over a middling one."""
        scenario = self.scenario
        everybody = np.ones(last_gain.shape, dtype=bool)
        seconds = upload_delay(scenario, everybody, tasks.data_mb, tasks.power_w, last_gain)
        middling = upload_delay(
            scenario,
            everybody[0],
            np.full(last_gain.shape[1:], np.mean(scenario.data_size_mb)),
            np.full(last_gain.shape[1:], np.mean(scenario.uplink_power_w)),
            np.full(last_gain.shape[1:], 10 ** (self._typical_gain_db / 10)),
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


def _scaled(x: Floats, bounds: tuple[float, float]) -> Floats:
    low, high = bounds
    # A range of one point carries no information: centre it, keep the unit.
    width = (high - low) or 2.0
    return (x * 2 - (low + high)) / width
