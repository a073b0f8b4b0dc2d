"""Training a stack: its members sample and learn in lockstep, as one.

Runs that differ in nothing but seeds and coefficients do the same operations on tensors of the
same shapes. Small networks leave most of a processor idle between operations, so that eight runs
together take little longer than one or two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS, LEARNER_RESULTS

from rllib_mec.hmppo.algorithm import timesteps as timesteps_of
from rllib_mec.hmppo.learning.update import StackedUpdate
from rllib_mec.hmppo.modules.stacked_policies import StackedPolicies
from rllib_mec.hmppo.sampling.activity import absent_of
from rllib_mec.hmppo.sampling.batched_env import batched
from rllib_mec.hmppo.sampling.batched_metrics import count_steps, log_episodes
from rllib_mec.hmppo.sampling.sampler import Sampler
from rllib_mec.hmppo.stacked.members import (
    Settings,
    check_members,
    check_stackable,
    configured,
    names_of,
)
from rllib_mec.hmppo.team_batch import TeamBatch


class StackedTraining:
    """Algorithms that train together; each one is what it would be alone, up to rounding.

    Args:
        config: an ``HMPPOConfig``, or one of a subclass.
        members: what each member sets besides, see :data:`STACKABLE`.

    Attributes:
        algorithms: the members' algorithms by name; save, restore and evaluate them as any other.

    Raises:
        InputError: members or settings that cannot be stacked.
    """

    def __init__(self, config: Any, members: Sequence[Settings]) -> None:
        check_members(members)
        configs = [configured(config, own) for own in members]
        for own in configs:
            own.validate()
            check_stackable(own)
        self.algorithms: dict[str, Any] = {
            name: own.build_algo() for name, own in zip(names_of(members), configs, strict=True)
        }
        for algorithm in self.algorithms.values():
            algorithm.training_step = _of_the_stack
        self._all = list(self.algorithms.values())
        self._runners = [algorithm.env_runner for algorithm in self._all]
        self._learners = [algorithm.learner_group._learner for algorithm in self._all]
        self._config = self._all[0].config
        self._update = StackedUpdate(self._learners)
        seeds = [runner._seed for runner in self._runners]
        one_env, num_envs = self._runners[0].env.envs[0].unwrapped, self._runners[0].num_envs
        self._sampler = Sampler(
            StackedPolicies([own.module for own in self._learners], seeds, self._update.networks),
            batched(one_env, num_envs * len(self._all)),
            seeds,
            self._log_episodes,
            with_states=self._config.critic_input == "state",
            individual=self._config.rewards == "individual",
        )

    def train(self) -> dict[str, dict[str, Any]]:
        """Takes one iteration of every member; returns RLlib's results by member."""
        batches = self._sample()
        self._learn(batches)
        return {name: algorithm.train() for name, algorithm in self.algorithms.items()}

    def stop(self) -> None:
        """Stops all members."""
        for algorithm in self._all:
            algorithm.stop()

    def _sample(self) -> list[TeamBatch]:
        """Returns a training batch of every member."""
        steps, episodes = self._runners[0].sample_size()
        if episodes:
            self._sampler.drop_episodes()
        parts: list[list[TeamBatch]] = [[] for _ in self._all]
        rows = 0
        while rows < self._config.total_train_batch_size:
            batches, taken, ended = self._sampler.sample(steps, episodes, self._config.explore)
            for runner, own, batch in zip(self._runners, parts, batches, strict=True):
                absent = absent_of(runner.module.team, batch)
                count_steps(runner, taken * runner.num_envs, ended * runner.num_envs, absent)
                own.append(batch)
            rows += len(batches[0])
        for algorithm, runner in zip(self._all, self._runners, strict=True):
            algorithm.metrics.aggregate([runner.get_metrics()], key=ENV_RUNNER_RESULTS)
        return [TeamBatch.concatenate(own) for own in parts]

    def _learn(self, batches: Sequence[TeamBatch]) -> None:
        """Updates every member, and gives its runner the new weights."""
        timesteps = [timesteps_of(algorithm.metrics) for algorithm in self._all]
        for learner, own in zip(self._learners, timesteps, strict=True):
            learner.begin_update(own)
        parts = self._update.run(
            batches,
            minibatch_size=self._config.minibatch_size,
            num_epochs=self._config.num_epochs,
            shuffle=self._config.shuffle_batch_per_epoch,
        )
        for index, algorithm in enumerate(self._all):
            learner, rows = self._learners[index], len(batches[index])
            result = learner.end_update(parts[index], rows, timesteps[index])
            algorithm.metrics.aggregate([result], key=LEARNER_RESULTS)
            policy = self._runners[index].module
            for agent in policy.team.agents:
                policy[agent].load_state_dict(learner.module[agent].state_dict())

    def _log_episodes(
        self,
        length: int,
        returns: NDArray[Any],
        seconds: float,
        reported: dict[str, NDArray[Any]],
    ) -> None:
        for index, runner in enumerate(self._runners):
            log_episodes(
                runner,
                length=length,
                returns=returns[index],
                seconds=seconds,
                reported={name: values[index] for name, values in reported.items()},
            )


def _of_the_stack() -> None:
    """The members' training step: the stack has taken it already."""
