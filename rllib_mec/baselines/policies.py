"""Policies that learn nothing, on batches of environments.

A policy has one method, ``act(env, observations)``, which returns the actions of all agents, with
a leading axis of ``env.num_envs``. ``random`` acts in any environment; the others know the system.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, Protocol

import gymnasium as gym
import numpy as np

from rllib_mec.baselines import best_retention, greedy
from rllib_mec.envs import BatchedMECEnv
from rllib_mec.errors import InputError, unknown_name
from rllib_mec.hmppo.sampling.batched_env import BatchedEnv
from rllib_mec.system import Scenario
from rllib_mec.system.emulator import highest_useful_retention
from rllib_mec.system.radio import Bools, Floats


class Policy(Protocol):
    """What acts for all agents of a batch of environments."""

    def act(self, env: BatchedEnv, observations: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the actions of all agents, (B, …) each, as the environment takes them."""


class Random:
    """Uniformly random actions."""

    def __init__(self, env: BatchedEnv, seed: np.random.SeedSequence) -> None:
        self._spaces = {
            agent: gym.vector.utils.batch_space(space, env.num_envs)
            for agent, space in env.action_spaces.items()
        }
        for space, stream in zip(
            self._spaces.values(), seed.generate_state(len(self._spaces)), strict=True
        ):
            space.seed(int(stream))

    def act(self, env: BatchedEnv, observations: Mapping[str, Any]) -> dict[str, Any]:
        return {agent: space.sample() for agent, space in self._spaces.items()}


class _SystemPolicy(abc.ABC):
    """A policy for the mobile edge environment, which may look at the whole system."""

    def __init__(self, env: BatchedEnv, seed: np.random.SeedSequence) -> None:
        assert isinstance(env, BatchedMECEnv)  # make_policy has seen to it
        self.scenario: Scenario = env.scenario
        self.best_retention: float = highest_useful_retention(env.scenario)

    def act(self, env: BatchedEnv, observations: Mapping[str, Any]) -> dict[str, Any]:
        assert isinstance(env, BatchedMECEnv)
        server, retention = self.decide(env)
        emulator: Any = retention
        if self.scenario.emulator_action == "keep_or_retention":
            emulator = {"keep": retention == env.simulator.cached, "retention": retention}
        return env.agents.join(server, emulator)

    @abc.abstractmethod
    def decide(self, env: BatchedMECEnv) -> tuple[Bools, Floats]:
        """Returns z and E, (B, N) each."""


class Hold(_SystemPolicy):
    """Always local, with the most useful retention: one download, then no delay at all."""

    def decide(self, env: BatchedMECEnv) -> tuple[Bools, Floats]:
        cached = env.simulator.cached
        return np.zeros(cached.shape, dtype=bool), np.full(cached.shape, self.best_retention)


class BestRetention(_SystemPolicy):
    """Always local; each UE holds the retention that turns out best for the whole episode.

    It knows the episode's draws before they come; see :mod:`rllib_mec.baselines.best_retention`.
    """

    def __init__(self, env: BatchedEnv, seed: np.random.SeedSequence) -> None:
        super().__init__(env, seed)
        best_retention.check(self.scenario)

    def decide(self, env: BatchedMECEnv) -> tuple[Bools, Floats]:
        simulator = env.simulator
        held = simulator.cached
        if simulator.t == 0:
            held = best_retention.best_retentions(self.scenario, simulator.episode)
        return np.zeros(held.shape, dtype=bool), held


class AllServer(_SystemPolicy):
    """Always upload the data and train on the server."""

    def decide(self, env: BatchedMECEnv) -> tuple[Bools, Floats]:
        cached = env.simulator.cached
        return np.ones(cached.shape, dtype=bool), np.full(cached.shape, self.best_retention)


class Greedy(_SystemPolicy):
    """The best joint action for this step's reward; see :mod:`rllib_mec.baselines.greedy`."""

    def __init__(self, env: BatchedEnv, seed: np.random.SeedSequence) -> None:
        super().__init__(env, seed)
        greedy.check(self.scenario)

    def decide(self, env: BatchedMECEnv) -> tuple[Bools, Floats]:
        return greedy.best_actions(self.scenario, env.simulator.situation)


POLICIES: dict[str, type[Random] | type[_SystemPolicy]] = {
    "random": Random,
    "hold": Hold,
    "best-retention": BestRetention,
    "all-server": AllServer,
    "greedy": Greedy,
}
"""The policies that learn nothing, by their names in the registry."""


def make_policy(name: str, env: BatchedEnv, seed: np.random.SeedSequence) -> Policy:
    """Returns the policy ``name`` for ``env``; ``seed`` drives what is random in it.

    Raises:
        InputError: there is no such policy, or it cannot act in this environment.
    """
    if name not in POLICIES:
        raise unknown_name("baseline", name, POLICIES)
    policy = POLICIES[name]
    if issubclass(policy, _SystemPolicy) and not isinstance(env, BatchedMECEnv):
        raise InputError(
            f"{name} knows the environment mec (with turn_based: false) alone: expected that one, "
            "or another algorithm"
        )
    return policy(env, seed)
