"""Episodes of B independent federations in lockstep, and their metrics."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np

from rllib_mec.errors import InputError
from rllib_mec.system.fedpeat.episode import Episode, draw_episode
from rllib_mec.system.fedpeat.round import Decision, Outcome, Situation, carry_out
from rllib_mec.system.fedpeat.scenario import FedPEATScenario
from rllib_mec.system.radio import Floats
from rllib_mec.system.tasks import Seeds, streams

METRICS = ("reward", "log_delay", "exchanges", "perplexity")
"""Names of the episode metrics, see :meth:`Federation.episode_metrics`."""


class Federation:
    """B federations that start together and take ``scenario.num_rounds`` rounds together.

    Args:
        source: where episodes come from, given the environments' random streams; None draws them.

    Attributes:
        t: rounds taken in the running episode.
        cached: retention of each UE's emulator, 0 for none, (B, N).
        on_step: is told after each round what it met, what was decided and what it did; or None.
    """

    def __init__(
        self,
        scenario: FedPEATScenario,
        num_envs: int = 1,
        source: Callable[[Sequence[np.random.Generator]], Episode] | None = None,
    ) -> None:
        if num_envs < 1:
            raise InputError(f"num_envs = {num_envs}: expected a whole number >= 1")
        self.scenario = scenario
        self.num_envs = num_envs
        self._source = source or functools.partial(draw_episode, scenario)
        self._rngs = streams(None, num_envs)
        self._episode: Episode | None = None
        self.on_step: Callable[[Situation, Decision, Outcome], None] | None = None
        self.t = 0
        self.cached: Floats = np.zeros((num_envs, scenario.num_ues))
        self._sums = np.zeros((len(METRICS) + 1, num_envs))

    def reset(self, seed: Seeds = None) -> None:
        """Starts new episodes; ``seed`` restarts the random streams, None lets them run on."""
        if seed is not None:
            self._rngs = streams(seed, self.num_envs)
        self._episode = self._source(self._rngs)
        self.t = 0
        self.cached = np.zeros((self.num_envs, self.scenario.num_ues))
        self._sums = np.zeros((len(METRICS) + 1, self.num_envs))

    @property
    def episode(self) -> Episode:
        """All draws of the running episode, those of its coming rounds too."""
        if self._episode is None:
            raise InputError("step before reset: expected reset() to start the first episode")
        return self._episode

    @property
    def situation(self) -> Situation:
        """All that the next decision will meet."""
        return self.situation_at(self.t, self.cached)

    @property
    def last_situation(self) -> Situation:
        """The same with the channels of the round before, which are all that has been measured."""
        return dataclasses.replace(self.situation, gain=self.episode.gain[self.t])

    def situation_at(self, t: int, cached: Floats) -> Situation:
        """What round ``t``, counted from 0, meets if the UEs have these emulators, (B, N)."""
        episode = self.episode
        return Situation(
            gain=episode.gain[t + 1],
            busy=episode.busy[t],
            tokens=episode.tokens,
            tflops=episode.tflops,
            most_retention=episode.most_retention,
            cached=cached,
        )

    @property
    def done(self) -> bool:
        """Whether the last round is over."""
        return self.t >= self.scenario.num_rounds

    def step(self, decision: Decision) -> Outcome:
        """Carries out one round, see :func:`rllib_mec.system.fedpeat.round.carry_out`."""
        situation = self.situation
        if self.done:
            raise InputError(f"round {self.t + 1} of {self.scenario.num_rounds}: expected reset()")
        outcome = carry_out(self.scenario, situation, decision)
        self.t += 1
        self.cached = outcome.cached
        self._sums[0] += outcome.reward
        self._sums[1] += np.log(outcome.round_delay_s)
        self._sums[2] += outcome.exchanged.sum(axis=-1)
        self._sums[3] += outcome.perplexity
        self._sums[4] += outcome.energy_kj.sum(axis=-1)
        if self.on_step is not None:
            self.on_step(situation, decision, outcome)
        return outcome

    def episode_metrics(self) -> dict[str, Floats]:
        """Metrics of the running episode so far, (B,) each.

        reward: sum of the rewards. log_delay: mean over rounds of ln(delay / 1 s). exchanges: of
        emulators, of all UEs. perplexity: mean over rounds. Where the reward counts energy, also
        energy_kj: spent by all UEs, in kJ.
        """
        reward, log_delay, exchanges, perplexity, energy = self._sums
        rounds = max(self.t, 1)
        values = (reward.copy(), log_delay / rounds, exchanges.copy(), perplexity / rounds)
        metrics = dict(zip(METRICS, values, strict=True))
        if self.scenario.energy_weight_per_kj:
            metrics["energy_kj"] = energy.copy()
        return metrics
