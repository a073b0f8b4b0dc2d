"""The sampler: steps environments in lockstep, as arrays, with one forward pass per decision."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rllib_mec.hmppo.finite import check_observations, check_rewards, check_states
from rllib_mec.hmppo.modules.deciding import Memories
from rllib_mec.hmppo.modules.stacked_policies import StackedPolicies
from rllib_mec.hmppo.observation_codec import check_masks
from rllib_mec.hmppo.sampling.activity import (
    Activity,
    activity_of,
    agent_rewards_of,
    without_absent,
)
from rllib_mec.hmppo.sampling.batched_env import BatchedEnv
from rllib_mec.hmppo.sampling.env_state import flat_states
from rllib_mec.hmppo.sampling.recorder import Recorder
from rllib_mec.hmppo.team_batch import TeamBatch

Seeds = Sequence[int | None]
OnEpisodes = Callable[..., None]
Remake = Callable[[Exception, bool], tuple[BatchedEnv, Seeds]]


class Sampler:
    """S groups of B environments, each group with a policy of its own.

    Args:
        policies: S joint policies.
        env: S * B environments, group by group.
        seeds: of each group's environments, at their first reset.
        on_episodes: called when episodes have ended (all end together) with ``length``, their
            steps; ``returns``, the team's, (S, B); ``seconds``, what they took; ``reported``, the
            environments' metrics, (S, B) each.
        remake: called when the environments have raised or given what is not finite, with the
            error and whether they have stepped since the last one; returns new ones and their
            seeds. None: the error goes on to the caller.
        with_states: whether batches hold the states of the environments.
        individual: whether they hold what each agent was given.
    """

    def __init__(
        self,
        policies: StackedPolicies,
        env: BatchedEnv,
        seeds: Seeds,
        on_episodes: OnEpisodes,
        remake: Remake | None = None,
        with_states: bool = False,
        individual: bool = False,
    ) -> None:
        self.policies = policies
        self.env = env
        self.seeds: Seeds | None = seeds
        self._on_episodes = on_episodes
        self._remake = remake
        self._observations: Any = None  # what the next actions answer; None before a reset
        self._active: Activity = {}  # who is there to answer, see Recorder.add
        self._with_states = with_states
        self._individual = individual
        self._states: Any = None  # of the environments, with the observations
        self._memories: Memories = {}  # of recurrent modules, with the observations
        self._has_stepped = False

    def sample(self, steps: int, episodes: int, explore: bool) -> tuple[list[TeamBatch], int, int]:
        """Takes ``steps`` of each environment, and goes on until ``episodes`` of each have ended.

        Returns:
            a batch per group; the steps taken and the episodes ended, of each environment.
        """
        self.policies.refresh()
        recorder, ended = Recorder(self.policies.team, len(self.policies)), 0
        with torch.no_grad():
            while recorder.steps < steps or ended < episodes:
                ended += self._step(recorder, explore)
            if self._observations is not None:
                self._end_piece(recorder, terminated=False)
            return recorder.batches(), recorder.steps, ended

    def drop_episodes(self) -> None:
        """Forgets the running episodes: the next sample begins with new ones."""
        self._observations = None

    def _step(self, recorder: Recorder, explore: bool) -> bool:
        """Takes one step in all environments; returns whether their episodes have ended."""
        if self._observations is None and not self._reset():
            return False
        team, groups = self.policies.team, len(self.policies)
        observed, active, states = self._observations, self._active, self._states
        memories = dict(self._memories)
        actions, parameters = self.policies.act(
            {a: torch.from_numpy(observed[a]).unflatten(0, (groups, -1)) for a in team.agents},
            explore=explore,
            active={
                a: torch.from_numpy(own).unflatten(0, (groups, -1)) for a, own in active.items()
            },
            memories=self._memories,
        )
        to_env = {a: team.codecs[a].to_env(actions[a].flatten(0, 1)) for a in team.agents}
        stepped = self._of_env(self._step_checked, to_env)
        if stepped is None:
            recorder.drop_piece()
            return False
        self._observations, rewards, terminated, truncated = stepped
        self._has_stepped = True
        given = agent_rewards_of(team, self.env) if self._individual else None
        recorder.add(observed, actions, parameters, rewards, active, states, given, memories)
        self._returns += rewards
        self._steps += 1
        if not (terminated or truncated):
            return False
        self._on_episodes(
            length=self._steps,
            returns=self._returns.reshape(groups, -1),
            seconds=time.perf_counter() - self._began,
            reported={
                name: np.reshape(values, (groups, -1))
                for name, values in self.env.episode_metrics().items()
            },
        )
        self._end_piece(recorder, terminated)
        self._observations = None
        return True

    def _end_piece(self, recorder: Recorder, terminated: bool) -> None:
        recorder.end_piece(
            self._observations, terminated, self._active, self._states, self._memories
        )

    def _reset(self) -> bool:
        """Starts the next episodes; returns whether that went well."""
        seed: Any = self.seeds
        if seed is not None and set(seed) == {None}:
            seed = None
        elif seed is not None and len(seed) == 1:
            [seed] = seed
        observations = self._of_env(self._reset_checked, seed)
        if observations is None:
            return False
        self._observations = observations
        num_envs = self.env.num_envs // len(self.policies)
        self._memories = self.policies.initial_memories(num_envs)
        self.seeds = None
        self._steps, self._began = 0, time.perf_counter()
        self._returns: NDArray[np.float64] = np.zeros(self.env.num_envs)
        return True

    def _step_checked(self, actions: dict[str, Any]) -> tuple[Any, ...]:
        """A step of the environments, with flat observations; what is not finite is an error."""
        observations, rewards, terminated, truncated = self.env.step(actions)
        check_rewards(rewards, self._steps + 1)
        flat = self._flat(observations, self._steps + 1)
        if not (terminated or truncated):  # or else nobody acts on it
            self._check_masks(flat, self._steps + 1)
        return flat, rewards, terminated, truncated

    def _reset_checked(self, seed: Any) -> dict[str, Any]:
        flat = self._flat(self.env.reset(seed), 0)
        self._check_masks(flat, 0)
        return flat

    def _flat(self, observations: dict[str, Any], step: int) -> dict[str, Any]:
        """Observations as networks take them, (S * B, observation_size) float32 of each agent."""
        flat = self.policies.team.flatten(observations)
        if (active_of := getattr(self.env, "active", None)) is not None:
            self._active = activity_of(self.policies.team, active_of())
            flat = without_absent(flat, self._active)
        check_observations(flat, observations, step)
        if self._with_states:
            self._states = flat_states(self.env)
            check_states(self._states, step)
        return flat

    def _check_masks(self, flat: dict[str, Any], step: int) -> None:
        team = self.policies.team
        for agent in team.masked:
            codec, there = team.observation_codecs[agent], self._active.get(agent)
            check_masks(codec, flat[agent], team.ids(agent), step, active=there)

    def _of_env(self, call: Callable[[Any], Any], argument: Any) -> Any:
        """Calls the environments; returns None if they failed and have been made anew."""
        try:
            return call(argument)
        except Exception as error:
            if self._remake is None:
                raise
            self.env, self.seeds = self._remake(error, self._has_stepped)
            self._observations, self._has_stepped = None, False
            return None
