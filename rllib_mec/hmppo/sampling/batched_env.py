"""Environments in batches: the protocol, and any ``MultiAgentEnv`` as a batch of one.

A ``MultiAgentEnv`` offers a batched form by a method ``batched(num_envs)`` that returns a
:class:`BatchedEnv` of the same kind of systems. A subclass that steps or resets in a way of its own
has to offer one of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rllib_mec.errors import InputError
from rllib_mec.hmppo.sampling.callbacks import reported_metrics
from rllib_mec.hmppo.sampling.ends import Ends
from rllib_mec.hmppo.space_leaves import batch_of_one

Observations = dict[str, Any]


class BatchedEnv(Protocol):
    """B environments in lockstep: their episodes start together and end together.

    Every step returns new arrays: what was observed before is still in use.

    Observations are in the structure of the agent's space, with an axis B before each leaf's own.

    Where agents are not always there, a method ``active()`` says who is, at what was observed
    last: ``{agent: (B,) bool}``, of groups ``(B, members)``. What others observe may be anything in
    their space, and their actions mean nothing; agents that it does not name are there.

    Where they are asked for, a method ``state()`` gives the environments' states, (B, …), and a
    method ``rewards()`` what each agent itself was given in the last step, ``{agent: (B,)}``, of
    groups ``(B, members)``.
    """

    num_envs: int
    action_spaces: Mapping[str, Any]

    def reset(self, seed: Any = None) -> Observations:
        """Starts the next episodes and returns the observations of each agent, (B, …).

        Args:
            seed: a whole number or ``numpy.random.SeedSequence`` that restarts the random
                streams; None lets them run on. Where several seeds are trained together: a list of
                S numbers, for S groups of B / S environments, each as if it were alone.
        """

    def step(
        self, actions: Mapping[str, Any]
    ) -> tuple[Observations, NDArray[np.float64], bool, bool]:
        """Returns observations, the team's reward (B,), ``terminated`` and ``truncated``."""

    def episode_metrics(self) -> dict[str, NDArray[np.float64]]:
        """Metrics of the running episodes, (B,) each; NaN for an episode that lacks one."""


def single_env(config: Any) -> MultiAgentEnv:
    """Returns one environment of an ``AlgorithmConfig``.

    Raises:
        InputError: it is not a ``MultiAgentEnv``.
    """
    _, creator = Algorithm._get_env_id_and_creator(config.env, config)
    env = creator(config.env_config)
    if not isinstance(env, MultiAgentEnv):
        raise InputError(
            f"env = {config.env!r} is a {type(env).__name__}: expected a MultiAgentEnv"
        )
    return env


def has_batched_form(env: MultiAgentEnv) -> bool:
    """Whether the environment has a batched form that does what the environment does."""
    for cls in type(env).__mro__:
        if "batched" in vars(cls):
            return True
        # What is inherited from here on knows nothing of this class's own step.
        if "step" in vars(cls) or "reset" in vars(cls):
            return False
    return False


def batched(env: MultiAgentEnv, num_envs: int) -> BatchedEnv:
    """Returns the environment's batched form, or else the environment as a batch of one."""
    if not has_batched_form(env):
        return BatchOfOne(env)
    form: Callable[[int], BatchedEnv] = env.batched
    return form(num_envs)


class BatchOfOne:
    """A ``MultiAgentEnv`` in the form of a batch with B = 1.

    The team's reward is the mean of its agents' rewards. Agents that are not asked in a step
    (no observation, or they have ended) need no action. When an episode ends,
    :mod:`rllib_mec.hmppo.sampling.ends` says.
    """

    num_envs = 1

    def __init__(self, env: MultiAgentEnv) -> None:
        self.env = env
        self.action_spaces: Mapping[str, Any] = {
            agent: env.get_action_space(agent) for agent in env.possible_agents
        }
        self._asked: set[str] = set()
        self._ends = Ends(env.possible_agents)
        self._infos: Mapping[str, Any] = {}
        self._return = 0.0

    def reset(self, seed: Any = None) -> Observations:
        if isinstance(seed, np.random.SeedSequence):
            seed = int(seed.generate_state(1)[0]) >> 1  # environments take 31 bits
        observations, self._infos = self.env.reset(seed=seed)
        self._return = 0.0
        self._ends.begin()
        return self._batch(observations)

    def step(
        self, actions: Mapping[str, Any]
    ) -> tuple[Observations, NDArray[np.float64], bool, bool]:
        single = {agent: _first(actions[agent]) for agent in actions if agent in self._asked}
        observations, rewards, terminated, truncated, self._infos = self.env.step(single)
        reward = sum(map(float, rewards.values())) / len(self.env.possible_agents)
        self._return += reward
        over, cut, gone = self._ends.step(observations.keys(), terminated, truncated)
        left = {agent: own for agent, own in observations.items() if agent not in gone}
        return self._batch(left), np.array([reward]), over, cut

    def episode_metrics(self) -> dict[str, NDArray[np.float64]]:
        reported = reported_metrics(self._infos) or {"reward": self._return}
        return {name: np.array([float(value)]) for name, value in reported.items()}

    def _batch(self, observations: Mapping[str, Any]) -> Observations:
        self._asked = set(observations)
        return {agent: batch_of_one(value) for agent, value in observations.items()}


def _first(action: Any) -> Any:
    """The action of the batch's first environment."""
    if isinstance(action, Mapping):
        return {key: _first(value) for key, value in action.items()}
    if isinstance(action, tuple):
        return tuple(_first(value) for value in action)
    return action[0]
