"""The batched environment runner: B environments as arrays, one forward pass per decision.

RLlib's own runner keeps an object for every step of every episode; here a step of all B
environments is a handful of array operations, and a sample is one :class:`TeamBatch`.
"""

from __future__ import annotations

import math
from typing import Any

from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
from ray.rllib.utils.metrics import WEIGHTS_SEQ_NO

from rllib_mec.hmppo.modules.stacked_policies import StackedPolicies
from rllib_mec.hmppo.sampling.activity import absent_of
from rllib_mec.hmppo.sampling.batched_env import BatchedEnv, batched
from rllib_mec.hmppo.sampling.batched_metrics import count_steps, log_episodes
from rllib_mec.hmppo.sampling.env_check import unchecked_masks
from rllib_mec.hmppo.sampling.env_failures import EnvFailures
from rllib_mec.hmppo.sampling.sampler import Sampler
from rllib_mec.hmppo.team_batch import TeamBatch


class BatchedEnvRunner(MultiAgentEnvRunner):
    """RLlib's multi-agent runner with another way to sample, for environments in batches.

    It needs an environment with a ``batched`` form, a :class:`JointPolicy`, and no connectors
    but RLlib's default ones; see :mod:`rllib_mec.hmppo.runner_choice`.

    With ``restart_failed_sub_environments``, environments that raise are made anew, all B of them,
    and what they were sampling is dropped: neither returned nor counted.
    """

    env: Any

    def __init__(self, **kwargs: Any) -> None:
        self._failures = EnvFailures()
        super().__init__(**kwargs)

    def make_env(self) -> None:
        self.env = getattr(self, "env", None)  # RLlib leaves none if making it failed
        # One environment of RLlib's own form tells the spaces and is checked as always.
        num_envs = self.config.num_envs_per_env_runner
        self.config.num_envs_per_env_runner = 1
        try:
            with unchecked_masks(self.config):
                super().make_env()
        finally:
            self.config.num_envs_per_env_runner = num_envs
        self.num_envs = num_envs
        self._batch: BatchedEnv = batched(self.env.envs[0].unwrapped, num_envs)
        self._sampler: Sampler | None = None

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
        steps, episodes = (
            self.sample_size()
            if num_timesteps is None and num_episodes is None
            else (
                math.ceil((num_timesteps or 0) / self.num_envs),
                math.ceil((num_episodes or 0) / self.num_envs),
            )
        )
        sampler = self._sampler = self._sampler or self._make_sampler()
        if force_reset or episodes:
            sampler.drop_episodes()
        batches, taken, ended = sampler.sample(steps, episodes, explore)
        self._failures.kept()
        absent = absent_of(self.module.team, batches[0])
        count_steps(self, taken * self.num_envs, ended * self.num_envs, absent)
        return batches

    def sample_size(self) -> tuple[int, int]:
        """Steps and episodes of each environment that a sample has by the configuration."""
        if self.config.batch_mode == "truncate_episodes":
            return self.config.get_rollout_fragment_length(self.worker_index), 0
        return 0, 1

    def _make_sampler(self) -> Sampler:
        return Sampler(
            StackedPolicies([self.module], [self._seed]),
            self._batch,
            [self._failures.seed(self._seed)],
            self._log_episodes,
            self._remake if self.config.restart_failed_sub_environments else None,
            with_states=self.config.critic_input == "state",
            individual=self.config.rewards == "individual",
        )

    def _log_episodes(
        self, length: int, returns: Any, seconds: float, reported: dict[str, Any]
    ) -> None:
        self._failures.kept()
        log_episodes(
            self,
            length=length,
            returns=returns[0],
            seconds=seconds,
            reported={name: values[0] for name, values in reported.items()},
        )

    def _remake(self, error: Exception, stepped: bool) -> tuple[BatchedEnv, list[int | None]]:
        """Makes the environments anew after an error of theirs."""
        sampler = self._sampler
        if stepped:
            self._failures.stepped()
        while True:
            self._failures.failed(error, self)
            try:
                self.make_env()
            except Exception as another:
                error = another
                continue
            self._sampler = sampler
            return self._batch, [self._failures.seed(self._seed)]
