"""Random draws of an episode: where the UEs stand, their channels and their tasks.

Each environment owns one random stream and draws a whole episode from it at once, so that
environment k of a batch sees the same episodes whatever the size of the batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from rllib_mec.errors import InputError
from rllib_mec.system.channel import correlated_power, random_walk
from rllib_mec.system.radio import Floats, path_gain
from rllib_mec.system.scenario import Scenario

Seed = int | np.random.SeedSequence | None
Seeds = Seed | Sequence[Seed]
"""One seed for all environments, or one for each of several groups of equal size."""


@dataclasses.dataclass(frozen=True, slots=True)
class Tasks:
    """One task of each UE, or (with a leading axis) those of a whole episode; (B, N) each.

    gain: h, channel power gain while the task is transmitted.
    complexity: c. data_mb: D in MB. power_w: p, uplink power in W.
    """

    gain: Floats
    complexity: Floats
    data_mb: Floats
    power_w: Floats


@dataclasses.dataclass(frozen=True, slots=True)
class Episode:
    """All draws of an episode: ``tasks`` (T + 1, B, N) and ``first_gain`` (B, N).

    ``first_gain`` is the channel of the task before the first, which the agents observe at the
    start. The last row of ``tasks`` is never carried out: it is what the last observation shows.
    """

    tasks: Tasks
    first_gain: Floats

    def task(self, t: int) -> Tasks:
        """The tasks of step ``t``, (B, N) each."""
        tasks = self.tasks
        return Tasks(tasks.gain[t], tasks.complexity[t], tasks.data_mb[t], tasks.power_w[t])


def streams(seed: Seeds, num_envs: int) -> list[np.random.Generator]:
    """Returns one random stream per environment; stream k does not depend on ``num_envs``.

    Raises:
        InputError: several seeds, but not as many environments for each.
    """
    if isinstance(seed, Sequence):
        if not seed or num_envs % len(seed):
            raise InputError(f"seed = {seed!r}: expected as many seeds as divide {num_envs}")
        return [rng for own in seed for rng in streams(own, num_envs // len(seed))]
    root = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    return [
        np.random.Generator(
            np.random.PCG64(
                np.random.SeedSequence(root.entropy, spawn_key=(*root.spawn_key, index))
            )
        )
        for index in range(num_envs)
    ]


def draw_episode(scenario: Scenario, rngs: Sequence[np.random.Generator]) -> Episode:
    """Draws an episode of every environment from its own stream.

    What lets channels vary comes last: from the same state of a stream come the same places,
    tasks and innovations of the fading, whatever ``fading_correlation`` and ``walk_m`` are.
    """
    if not rngs:
        raise InputError("num_envs = 0: expected a whole number >= 1")
    steps, num_envs, ues = scenario.num_tasks + 1, len(rngs), scenario.num_ues
    rayleigh = scenario.fading == "rayleigh"
    walks = scenario.walk_m[1] > 0
    distance = np.empty((num_envs, ues))
    gain, phase = (np.empty((steps + 1, num_envs, ues)) for _ in range(2))
    complexity, data_mb, power_w, walk, turn = (np.empty((steps, num_envs, ues)) for _ in range(5))
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
    if scenario.fading_correlation:
        gain = correlated_power(scenario.fading_correlation, gain, phase)
    if walks:
        walk[0] = 0.0  # What is observed at the start and the first task share a place.
        distance = random_walk(scenario.distance_m, distance, walk, turn)
    gain *= path_gain(scenario, distance)  # Until here that of the fading alone.
    return Episode(Tasks(gain[1:], complexity, data_mb, power_w), gain[0])
