"""Random draws of an episode: where the UEs stand, their channels, devices and tasks.

Each environment owns one random stream and draws a whole episode from it at once, so that
environment k of a batch sees the same episodes whatever the size of the batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from rllib_mec.errors import InputError
from rllib_mec.system.channel import branch_power, correlated_power, random_walk
from rllib_mec.system.emulator import most_retention
from rllib_mec.system.radio import Bools, Floats, Ints, path_gain
from rllib_mec.system.rows import Rows
from rllib_mec.system.scenario import Scenario

Seed = int | np.random.SeedSequence | None
Seeds = Seed | Sequence[Seed]
"""One seed for all environments, or one for each of several groups of equal size."""


@dataclasses.dataclass(frozen=True, slots=True)
class Tasks(Rows):
    """One task of each UE, or (with a leading axis) those of a whole episode; (B, N) each.

    gain: h, channel power gain while the task is transmitted.
    complexity: c. data_mb: D in MB. power_w: p, uplink power in W.
    tokens: tokens to train on; None without the part ``compute``.
    domain: index of the task's domain; None without ``domains``.
    active: whether the UE has a task at all; None without ``arrivals``: every UE has.
    """

    gain: Floats
    complexity: Floats
    data_mb: Floats
    power_w: Floats
    tokens: Floats | None = None
    domain: Ints | None = None
    active: Bools | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Devices(Rows):
    """The UEs' devices, for a whole episode; (B, N) each, None without the part in brackets.

    tflops: speed in TFLOP/s (``compute``). most_retention: the largest emulator that fits
    (``memory``). battery_kj: at the start, in kJ (``energy``).
    """

    tflops: Floats | None = None
    most_retention: Floats | None = None
    battery_kj: Floats | None = None


NO_DEVICES = Devices()
"""Those of a scenario without parts."""


@dataclasses.dataclass(frozen=True, slots=True)
class Episode:
    """All draws of an episode.

    tasks: (T + 1, B, N) each. The last row is never carried out: it is what the last observation
        shows.
    first_gain: channel of the task before the first, which the agents observe at the start, (B, N).
    devices: (B, N) each.
    """

    tasks: Tasks
    first_gain: Floats
    devices: Devices = NO_DEVICES

    def task(self, t: int) -> Tasks:
        """The tasks of step ``t``, (B, N) each."""
        return self.tasks.take(t)


def streams(seed: Seeds, num_envs: int, *key: int) -> list[np.random.Generator]:
    """Returns one random stream per environment; stream k does not depend on ``num_envs``.

    Args:
        key: tells apart several streams of the same environment.

    Raises:
        InputError: several seeds, but not as many environments for each.
    """
    if isinstance(seed, Sequence):
        if not seed or num_envs % len(seed):
            raise InputError(f"seed = {seed!r}: expected as many seeds as divide {num_envs}")
        return [rng for own in seed for rng in streams(own, num_envs // len(seed), *key)]
    root = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    return [
        np.random.Generator(
            np.random.PCG64(
                np.random.SeedSequence(root.entropy, spawn_key=(*root.spawn_key, index, *key))
            )
        )
        for index in range(num_envs)
    ]


def draw_episode(scenario: Scenario, rngs: Sequence[np.random.Generator]) -> Episode:
    """Draws an episode of every environment from its own stream.

    What lets channels vary and what the parts need comes last: from the same state of a stream come
    the same places, tasks and innovations of the fading, whatever else is switched on; and what
    one part draws does not hang on which others are on.
    """
    if not rngs:
        raise InputError("num_envs = 0: expected a whole number >= 1")
    steps, num_envs, ues = scenario.num_tasks + 1, len(rngs), scenario.num_ues
    rayleigh = scenario.fading == "rayleigh"
    walks = scenario.walk_m[1] > 0
    distance = np.empty((num_envs, ues))
    gain, phase = (np.empty((steps + 1, num_envs, ues)) for _ in range(2))
    complexity, data_mb, power_w, walk, turn = (np.empty((steps, num_envs, ues)) for _ in range(5))
    more = scenario.fading_branches - 1 if rayleigh else 0
    branches = np.empty((steps + 1, 2 * more, num_envs, ues))
    draws = _PartDraws(scenario, steps, num_envs)
    for env, rng in enumerate(rngs):
        distance[env] = rng.uniform(*scenario.distance_m, ues)
        gain[:, env] = rng.exponential(size=(steps + 1, ues)) if rayleigh else 1.0
        complexity[:, env] = rng.uniform(*scenario.complexity, (steps, ues))
        data_mb[:, env] = rng.uniform(*scenario.data_size_mb, (steps, ues))
        power_w[:, env] = rng.uniform(*scenario.uplink_power_w, (steps, ues))
        if scenario.fading_correlation:
            phase[:, env] = rng.uniform(0, 2 * np.pi, (steps + 1, ues))
        if walks:
            walk[:, env] = rng.uniform(*scenario.walk_m, (steps, ues))
            turn[:, env] = rng.uniform(0, 2 * np.pi, (steps, ues))
        if more:
            branches[:, :, env] = rng.standard_normal((steps + 1, 2 * more, ues))
        draws.draw(env, rng)
    if scenario.fading_correlation:
        gain = correlated_power(scenario.fading_correlation, gain, phase)
    if more:
        others = more * branch_power(scenario.fading_correlation, branches)
        gain = (gain + others) / scenario.fading_branches
    if walks:
        walk[0] = 0.0  # What is observed at the start and the first task share a place.
        distance = random_walk(scenario.distance_m, distance, walk, turn)
    gain *= path_gain(scenario, distance)  # Until here that of the fading alone.
    tasks = Tasks(
        gain[1:], complexity, data_mb, power_w, draws.tokens(), draws.domain(), draws.active()
    )
    return Episode(tasks, gain[0], draws.devices())


class _PartDraws:
    """The draws of the scenario's parts: uniform numbers on [0, 1), and what is made of them."""

    def __init__(self, scenario: Scenario, steps: int, num_envs: int) -> None:
        self.scenario = scenario
        drawn = (scenario.compute, scenario.memory, scenario.energy)
        changing = (scenario.compute, scenario.domains, scenario.arrivals)
        self.any = any(part is not None for part in (*drawn, *changing))
        num = num_envs if self.any else 0
        self._tasks = np.empty((4, steps, num, scenario.num_ues))
        self._devices = np.empty((3, num, scenario.num_ues))

    def draw(self, env: int, rng: np.random.Generator) -> None:
        if self.any:
            self._tasks[:, :, env] = rng.random((4, *self._tasks.shape[1::2]))
            self._devices[:, env] = rng.random((3, self._devices.shape[2]))

    def tokens(self) -> Floats | None:
        compute = self.scenario.compute
        return None if compute is None else _between(compute.tokens, self._tasks[0])

    def domain(self) -> Ints | None:
        domains = self.scenario.domains
        if domains is None:
            return None
        domain = (self._tasks[1] * len(domains.levels)).astype(np.intp)
        stays = self._tasks[2] < domains.persistence
        for before, now, stay in zip(domain, domain[1:], stays[1:], strict=False):
            np.copyto(now, before, where=stay)
        return domain

    def active(self) -> Bools | None:
        arrivals = self.scenario.arrivals
        return None if arrivals is None else self._tasks[3] < arrivals.probability

    def devices(self) -> Devices:
        scenario = self.scenario
        tflops = most = battery = None
        if scenario.compute is not None:
            tflops = _one_of(scenario.compute.ue_tflops, self._devices[0])
        if scenario.memory is not None:
            memory_gb = _one_of(scenario.memory.ue_memory_gb, self._devices[1])
            most = most_retention(scenario, memory_gb)
        if scenario.energy is not None:
            battery = _between(scenario.energy.battery_kj, self._devices[2])
        return Devices(tflops, most, battery)


def _between(bounds: tuple[float, float], uniform: Floats) -> Floats:
    low, high = bounds
    return low + (high - low) * uniform


def _one_of(values: tuple[float, ...], uniform: Floats) -> Floats:
    return np.array(values)[(uniform * len(values)).astype(np.intp)]
