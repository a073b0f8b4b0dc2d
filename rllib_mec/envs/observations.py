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
is on all numbers but ``active``, the same for both agents. The formulas are in
:mod:`rllib_mec.envs.scaling`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from rllib_mec.envs.scaling import Scaling
from rllib_mec.system import Scenario, Simulator
from rllib_mec.system.radio import Floats
from rllib_mec.system.step import Situation
from rllib_mec.system.tasks import Episode

Observation = NDArray[np.float32]

PAPER = ("gain", "complexity", "data", "cached")
"""What agent 1 sees in the paper (section IV-A)."""

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
    """The scaled numbers of each UE, of a running system step by step, or of any situation.

    What no action changes is computed once per episode.

    Attributes:
        names: of the K numbers.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.names = numbers_of(scenario)
        self._index = {name: k for k, name in enumerate(self.names)}
        self._scaling = Scaling(scenario, self.names)
        self._episode: Episode | None = None
        self._given: Observation = np.empty(0, np.float32)
        self._noise: Floats | None = None
        self._local: Floats | None = None

    def of(self, situation: Situation, tasks_left: int | Floats) -> Observation:
        """Returns the numbers of a situation, (B, N, K), without noise.

        Args:
            situation: before the coming task, (B, N) each, but with the channels of the finished
                one: :attr:`Simulator.last_situation <rllib_mec.system.Simulator.last_situation>`.
            tasks_left: tasks of each UE that are still to come, one number or (B, 1).
        """
        tasks, devices = situation.tasks, situation.devices
        seen = np.zeros((*situation.cached.shape, len(self.names)), np.float32)
        local = self._scaling.local_training(tasks, devices)
        self._fill(seen, self._scaling.given(tasks, devices), None)
        changing = self._scaling.changing(
            situation.cached, situation.battery_kj, tasks_left, devices, local
        )
        self._fill(seen, changing, None)
        return seen

    def see(self, simulator: Simulator) -> Observation:
        """Returns the numbers before the coming task of running systems, (B, N, K)."""
        if simulator.episode is not self._episode:
            self._begin(simulator)
        t = simulator.t
        seen = self._given[t].copy()
        changing = self._scaling.changing(
            simulator.cached,
            simulator.battery_kj,
            max(self.scenario.num_tasks - t, 1),
            simulator.episode.devices,
            None if self._local is None else self._local[t],
        )
        self._fill(seen, changing, None if self._noise is None else self._noise[t])
        return seen

    def _begin(self, simulator: Simulator) -> None:
        episode = simulator.episode
        self._episode = episode
        gain = np.concatenate([episode.first_gain[None], episode.tasks.gain[:-1]])
        tasks = dataclasses.replace(episode.tasks, gain=gain)
        self._local = self._scaling.local_training(tasks, episode.devices)
        self._noise = None
        if self.scenario.observation_noise:
            noise = simulator.draw_noise(len(self.names))
            self._noise = self.scenario.observation_noise * noise
        self._given = np.zeros((*gain.shape, len(self.names)), np.float32)
        self._fill(self._given, self._scaling.given(tasks, episode.devices), self._noise)

    def _fill(self, seen: Observation, numbers: Mapping[str, Floats], noise: Floats | None) -> None:
        for name, values in numbers.items():
            index = self._index[name]
            if noise is not None and name != "active":
                values = values + noise[..., index]
            seen[..., index] = values
