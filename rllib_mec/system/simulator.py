"""Episodes of B independent systems in lockstep, and the metrics of the paper's Table I."""

from __future__ import annotations

import numpy as np

from rllib_mec.errors import InputError
from rllib_mec.system.emulator import NOTHING_CACHED
from rllib_mec.system.radio import Bools, Floats
from rllib_mec.system.scenario import Scenario
from rllib_mec.system.step import Outcome, step
from rllib_mec.system.tasks import Episode, Seeds, Tasks, draw_episode, streams

METRICS = ("reward", "total_delay_min", "perplexity", "emulator_changes")
"""Names of the episode metrics, see :meth:`Simulator.episode_metrics`."""


class Simulator:
    """B systems that start together and take ``scenario.num_tasks`` steps together.

    Attributes:
        t: steps taken in the running episode.
        cached: retention of each UE's cached emulator, 0 for none, (B, N).
        last_gain: channel gain of the tasks just finished, (B, N).
    """

    def __init__(self, scenario: Scenario, num_envs: int = 1) -> None:
        if num_envs < 1:
            raise InputError(f"num_envs = {num_envs}: expected a whole number >= 1")
        self.scenario = scenario
        self.num_envs = num_envs
        self._rngs = streams(None, num_envs)
        self._episode: Episode | None = None
        self.t = 0
        self.cached: Floats = np.full((num_envs, scenario.num_ues), NOTHING_CACHED)
        self.last_gain: Floats = self.cached
        self._sums = np.zeros((len(METRICS), num_envs))

    def reset(self, seed: Seeds = None) -> None:
        """Starts new episodes; ``seed`` restarts the random streams, None lets them run on."""
        if seed is not None:
            self._rngs = streams(seed, self.num_envs)
        self._episode = draw_episode(self.scenario, self._rngs)
        self.t = 0
        self.cached = np.full((self.num_envs, self.scenario.num_ues), NOTHING_CACHED)
        self.last_gain = self._episode.first_gain
        self._sums = np.zeros((len(METRICS), self.num_envs))

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
    def done(self) -> bool:
        """Whether every UE has finished its last task."""
        return self.t >= self.scenario.num_tasks

    def step(self, server: Bools, retention: Floats, keep: Bools | None = None) -> Outcome:
        """Carries out one task of every UE, see :func:`rllib_mec.system.step.step`."""
        tasks = self.tasks
        if self.done:
            raise InputError(f"step {self.t + 1} of {self.scenario.num_tasks}: expected reset()")
        outcome = step(self.scenario, tasks, self.cached, server, retention, keep)
        self.t += 1
        self.cached = outcome.cached
        self.last_gain = tasks.gain
        self._sums[0] += outcome.reward
        self._sums[1] += outcome.system_delay_s
        self._sums[2] += outcome.mean_perplexity
        self._sums[3] += outcome.downloads.sum(axis=-1)
        return outcome

    def episode_metrics(self) -> dict[str, Floats]:
        """Metrics of the running episode so far, (B,) each.

        reward: sum of the rewards. total_delay_min: sum over steps of the slowest UE's delay, in
        minutes. perplexity: mean over tasks and UEs. emulator_changes: downloads of all UEs.
        """
        reward, delay_s, perplexity, changes = self._sums
        return dict(
            zip(
                METRICS,
                (reward.copy(), delay_s / 60, perplexity / max(self.t, 1), changes.copy()),
                strict=True,
            )
        )
