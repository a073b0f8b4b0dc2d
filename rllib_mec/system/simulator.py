"""Episodes of B independent systems in lockstep, and the metrics of the paper's Table I."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from rllib_mec.errors import InputError
from rllib_mec.system.emulator import NOTHING_CACHED
from rllib_mec.system.radio import Bools, Floats
from rllib_mec.system.scenario import Scenario
from rllib_mec.system.step import Outcome, Situation, step
from rllib_mec.system.tasks import Episode, EpisodeSource, Seeds, Tasks, draw_episode, streams

METRICS = ("reward", "total_delay_min", "perplexity", "emulator_changes")
"""Names of the episode metrics, see :meth:`Simulator.episode_metrics`."""

DECISIONS = ("server_share", "local_retention")
"""Names of the episode metrics that say what was decided, see the same."""

_NOISE = 1
"""Tells the streams of noise from those of the episodes."""

_SUMS = len(METRICS) + 1
"""Sums over steps and UEs that the metrics are made of."""

_SUMS_BY_UE = 3
"""Sums over the steps alone, of each UE: cheaper in a step than to sum over UEs there."""


class Simulator:
    """B systems that start together and take ``scenario.num_tasks`` steps together.

    Args:
        source: where episodes come from; None draws them, see :func:`draw_episode`.

    Attributes:
        t: steps taken in the running episode.
        cached: retention of each UE's cached emulator, 0 for none, (B, N).
        battery_kj: what is left in the UEs' batteries, (B, N); None without the part ``energy``.
        on_step: is told after each step what it met, z as it was decided, and what it did; or None.
    """

    def __init__(
        self, scenario: Scenario, num_envs: int = 1, source: EpisodeSource | None = None
    ) -> None:
        if num_envs < 1:
            raise InputError(f"num_envs = {num_envs}: expected a whole number >= 1")
        self.scenario = scenario
        self.num_envs = num_envs
        self._source = source or functools.partial(draw_episode, scenario)
        self._rngs = streams(None, num_envs)
        self._noise_rngs = streams(None, num_envs, _NOISE)
        self._episode: Episode | None = None
        self.t = 0
        self.cached: Floats = np.full((num_envs, scenario.num_ues), NOTHING_CACHED)
        self.battery_kj: Floats | None = None
        self.on_step: Callable[[Situation, Bools, Outcome], None] | None = None
        self._start_sums()

    def reset(self, seed: Seeds = None) -> None:
        """Starts new episodes; ``seed`` restarts the random streams, None lets them run on."""
        if seed is not None:
            self._rngs = streams(seed, self.num_envs)
            self._noise_rngs = streams(seed, self.num_envs, _NOISE)
        self._episode = self._source(self._rngs)
        self.t = 0
        self.cached = np.full((self.num_envs, self.scenario.num_ues), NOTHING_CACHED)
        self.battery_kj = self._episode.devices.battery_kj
        self._start_sums()

    @property
    def episode(self) -> Episode:
        """All draws of the running episode, those of its coming tasks too."""
        if self._episode is None:
            raise InputError("step before reset: expected reset() to start the first episode")
        return self._episode

    @property
    def tasks(self) -> Tasks:
        """The tasks to carry out next, (B, N) each."""
        return self.episode.task(self.t)

    @property
    def last_gain(self) -> Floats:
        """Channel gain of the tasks just finished, (B, N)."""
        return self.episode.tasks.gain[self.t - 1] if self.t else self.episode.first_gain

    @property
    def situation(self) -> Situation:
        """All that the next action will meet."""
        return Situation(self.tasks, self.cached, self.episode.devices, self.battery_kj)

    @property
    def last_situation(self) -> Situation:
        """The same with the channels of the tasks just finished, all that has been measured."""
        situation = self.situation
        tasks = dataclasses.replace(situation.tasks, gain=self.last_gain)
        return dataclasses.replace(situation, tasks=tasks)

    def draw_noise(self, numbers: int) -> Floats:
        """Draws standard normal numbers for the observations of an episode, (T + 1, B, N, K).

        They come from streams of their own: what the episode holds does not hang on them.
        """
        shape = (self.scenario.num_tasks + 1, self.scenario.num_ues, numbers)
        return np.stack([rng.standard_normal(shape) for rng in self._noise_rngs], axis=1)

    @property
    def done(self) -> bool:
        """Whether every UE has finished its last task."""
        return self.t >= self.scenario.num_tasks

    def step(self, server: Bools, retention: Floats, keep: Bools | None = None) -> Outcome:
        """Carries out one task of every UE, see :func:`rllib_mec.system.step.step`."""
        situation = self.situation
        if self.done:
            raise InputError(f"step {self.t + 1} of {self.scenario.num_tasks}: expected reset()")
        outcome = step(self.scenario, situation, server, retention, keep)
        self.t += 1
        self.cached = outcome.cached
        self.battery_kj = outcome.battery_kj
        self._add(situation, outcome)
        if self.on_step is not None:
            self.on_step(situation, server, outcome)
        return outcome

    def _start_sums(self) -> None:
        self._sums = np.zeros((_SUMS, self.num_envs))
        self._by_ue = [np.zeros((self.num_envs, self.scenario.num_ues)) for _ in range(_SUMS_BY_UE)]

    def _add(self, situation: Situation, outcome: Outcome) -> None:
        sums, active = self._sums, situation.tasks.active
        sums[0] += outcome.reward
        sums[1] += outcome.system_delay_s
        sums[2] += outcome.mean_perplexity
        sums[3] += 1.0 if active is None else active.sum(axis=-1) / self.scenario.num_ues
        if outcome.energy_kj is not None:
            sums[4] += outcome.energy_kj.sum(axis=-1)
        changes, served, retained = self._by_ue
        changes += outcome.downloads
        served += outcome.server
        retained += outcome.retention

    def episode_metrics(self) -> dict[str, Floats]:
        """Metrics of the running episode so far, (B,) each.

        reward: sum of the rewards. total_delay_min: sum over steps of the slowest UE's delay, in
        minutes. perplexity: mean over tasks. emulator_changes: downloads of all UEs. server_share:
        share of the tasks that trained on the server, as it happened: empty batteries send UEs
        there that had decided otherwise. local_retention: mean over local trainings of the
        retention E trained with. Both are NaN in an episode that has nothing to count: means over
        episodes leave it out. With the part ``energy``, also energy_kj: spent by all UEs, in kJ.
        """
        reward, delay_s, perplexity, tasks, energy_kj = self._sums
        changes, served, retained = (by_ue.sum(axis=-1) for by_ue in self._by_ue)
        quality = perplexity / np.where(tasks > 0, tasks, 1.0)
        num_tasks = np.rint(tasks * self.scenario.num_ues)
        metrics = dict(zip(METRICS, (reward.copy(), delay_s / 60, quality, changes), strict=True))
        decided = _ratio(served, num_tasks), _ratio(retained, num_tasks - served)
        metrics |= dict(zip(DECISIONS, decided, strict=True))
        if self.battery_kj is not None:
            metrics["energy_kj"] = energy_kj.copy()
        return metrics


def _ratio(total: Floats, count: Floats) -> Floats:
    """``total / count``, (B,) each; NaN where there is nothing to count."""
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
