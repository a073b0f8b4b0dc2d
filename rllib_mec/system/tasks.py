"""Random draws of an episode: where the UEs stand, their channels and their tasks.

Each environment owns one random stream and draws a whole episode from it at once, so that
environment k of a batch sees the same episodes whatever the size of the batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from rllib_mec.errors import InputError
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
    """Draws an episode of every environment from its own stream."""
    if not rngs:
        raise InputError("num_envs = 0: expected a whole number >= 1")
    steps, ues = scenario.num_tasks + 1, scenario.num_ues
    shape = (steps, len(rngs), ues)
    tasks = Tasks(np.empty((steps + 1, *shape[1:])), *(np.empty(shape) for _ in range(3)))
    for env, rng in enumerate(rngs):
        mean_gain = path_gain(scenario, rng.uniform(*scenario.distance_m, ues))
        fading = rng.exponential(size=(steps + 1, ues)) if scenario.fading == "rayleigh" else 1.0
        tasks.gain[:, env] = mean_gain * fading
        tasks.complexity[:, env] = rng.uniform(*scenario.complexity, (steps, ues))
        tasks.data_mb[:, env] = rng.uniform(*scenario.data_size_mb, (steps, ues))
        tasks.power_w[:, env] = rng.uniform(*scenario.uplink_power_w, (steps, ues))
    return Episode(dataclasses.replace(tasks, gain=tasks.gain[1:]), tasks.gain[0])
