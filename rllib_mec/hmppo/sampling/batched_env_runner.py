"""The batched environment runner: B environments as arrays, one forward pass per decision.

RLlib's own runner keeps an object for every step of every episode; here a step of all B
environments is a handful of array operations, and a sample is one :class:`TeamBatch`.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import torch
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
from ray.rllib.utils.metrics import WEIGHTS_SEQ_NO

from rllib_mec.hmppo.sampling.batched_env import BatchedEnv, batched
from rllib_mec.hmppo.sampling.batched_metrics import count_steps, log_episodes
from rllib_mec.hmppo.team_batch import Recorder, TeamBatch


class BatchedEnvRunner(MultiAgentEnvRunner):
    """RLlib's multi-agent runner with another way to sample, for environments in batches.

    It needs an environment with a ``batched`` form, a :class:`JointPolicy`, and no connectors
    but RLlib's default ones; see :mod:`rllib_mec.hmppo.sampling.choice`.
    """

    def make_env(self) -> None:
        # One environment of RLlib's own form tells the spaces and is checked as always.
        num_envs = self.config.num_envs_per_env_runner
        self.config.num_envs_per_env_runner = 1
        super().make_env()
        self.config.num_envs_per_env_runner = num_envs
        self.num_envs = num_envs
        self._batch: BatchedEnv = batched(self.env.envs[0].unwrapped, num_envs)
        self._observations: dict[str, Any] | None = None
        self._seeded = False

    @torch.no_grad()
    def sample(
        self,
        *,
        num_timesteps: int | None = None,
        num_episodes: int | None = None,
        explore: bool | None = None,
        random_actions: bool = False,
        force_reset: bool = False,
    ) -> list[TeamBatch]:
        """Samples steps (default: the configured fragment) or episodes of all environments.

        Returns:
            one batch. The environments are in lockstep: numbers of steps and of episodes are
            rounded up to multiples of B.
        """
        if random_actions:
            raise ValueError(
                "random_actions = True: expected False, PPO learns from its own actions"
            )
        self.metrics.log_value(WEIGHTS_SEQ_NO, self._weights_seq_no, window=1)
        if explore is None:
            explore = self.config.explore
        if num_timesteps is None and num_episodes is None:
            if self.config.batch_mode == "truncate_episodes":
                fragment = self.config.get_rollout_fragment_length(self.worker_index)
                num_timesteps = fragment * self.num_envs
            else:
                num_episodes = self.num_envs
        if force_reset or num_episodes is not None:
            self._observations = None
        steps = math.ceil((num_timesteps or 0) / self.num_envs)
        episodes = math.ceil((num_episodes or 0) / self.num_envs)
        recorder, ended = Recorder(), 0
        while recorder.steps < steps or ended < episodes:
            ended += self._step(recorder, explore)
        if self._observations is not None:
            recorder.end_piece(self._observations, terminated=False)
        count_steps(self, recorder.steps, ended)
        return [recorder.batch()]

    def _step(self, recorder: Recorder, explore: bool) -> bool:
        """Takes one step in all environments; returns whether their episodes have ended."""
        if self._observations is None:
            self._observations = _flat(self._batch.reset(None if self._seeded else self._seed))
            self._seeded = True
            self._episode_steps, self._began = 0, time.perf_counter()
            self._returns = np.zeros(self.num_envs)
        team = self.module.team
        observed = self._observations
        actions, log_probs, parameters = self.module.act(
            {a: torch.as_tensor(observed[a]) for a in team.agents}, explore=explore
        )
        following, rewards, terminated, truncated = self._batch.step(
            {a: team.codecs[a].to_env(actions[a]) for a in team.agents}
        )
        recorder.add(observed, _arrays(actions), _arrays(log_probs), _arrays(parameters), rewards)
        self._observations = _flat(following)
        self._returns += rewards
        self._episode_steps += 1
        if not (terminated or truncated):
            return False
        log_episodes(
            self,
            length=self._episode_steps,
            returns=self._returns,
            seconds=time.perf_counter() - self._began,
            reported=self._batch.episode_metrics(),
        )
        recorder.end_piece(self._observations, terminated)
        self._observations = None
        return True


def _flat(observations: dict[str, Any]) -> dict[str, Any]:
    """Observations as the networks take them, (B, observation_size) float32 of each agent."""
    return {a: np.asarray(o, np.float32).reshape(len(o), -1) for a, o in observations.items()}


def _arrays(tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    return {agent: tensor.numpy() for agent, tensor in tensors.items()}
