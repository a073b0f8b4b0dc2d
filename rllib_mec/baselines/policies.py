"""Policies that learn nothing, on batches of environments.

A policy has one method, ``act(env, observations)``, which returns the actions of all agents, with
a leading axis of ``env.num_envs``. One that remembers steps has ``begin(num_envs)``, too, which is
called when episodes begin. ``random`` acts in any environment; the others know the system,
that of ``mec`` or that of ``fedpeat``.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

import gymnasium as gym
import numpy as np

from rllib_mec.baselines import best_retention, coordinate, greedy
from rllib_mec.baselines.expectation import expected_gain
from rllib_mec.baselines.fedpeat import (
    FedPEATEqualShares,
    FedPEATGreedy,
    FedPEATGreedyObserved,
    FedPEATHold,
    FedPEATPolicy,
    FedPEATServerAlone,
)
from rllib_mec.baselines.masked import keep_to_masks
from rllib_mec.envs import BatchedMECEnv
from rllib_mec.envs.fedpeat import BatchedFedPEATEnv
from rllib_mec.errors import InputError, unknown_name
from rllib_mec.hmppo.action_mask import MASK
from rllib_mec.hmppo.sampling.batched_env import BatchedEnv
from rllib_mec.system import Scenario, Simulator
from rllib_mec.system.emulator import highest_useful_retention
from rllib_mec.system.fixed import reward_of_fixed
from rllib_mec.system.radio import Bools, Floats
from rllib_mec.system.step import Situation


class Policy(Protocol):
    """What acts for all agents of a batch of environments."""

    def act(self, env: BatchedEnv, observations: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the actions of all agents, (B, …) each, as the environment takes them."""


class Random:
    """Uniformly random actions, of those that masks allow."""

    def __init__(self, env: BatchedEnv, seed: np.random.SeedSequence) -> None:
        self._random = np.random.default_rng(seed)
        groups: Mapping[str, tuple[str, ...]] = getattr(env, "agent_groups", None) or {}
        members = {agent for ids in groups.values() for agent in ids}
        self._counts = {a: 1 for a in env.action_spaces if a not in members}
        self._counts |= {name: len(ids) for name, ids in groups.items()}
        self._space_of_one = {
            name: env.action_spaces[groups.get(name, (name,))[0]] for name in self._counts
        }
        self._spaces = {
            name: gym.vector.utils.batch_space(self._space_of_one[name], env.num_envs * count)
            for name, count in self._counts.items()
        }
        for space, stream in zip(
            self._spaces.values(), seed.generate_state(len(self._spaces)), strict=True
        ):
            space.seed(int(stream))

    def act(self, env: BatchedEnv, observations: Mapping[str, Any]) -> dict[str, Any]:
        actions = {name: space.sample() for name, space in self._spaces.items()}
        for name, observed in observations.items():
            if isinstance(observed, Mapping) and MASK in observed:
                rows = env.num_envs * self._counts[name]
                masks = _reshaped(observed[MASK], rows)
                keep_to_masks(actions[name], self._space_of_one[name], masks, name, self._random)
        return {
            name: own if self._counts[name] == 1 else _reshaped(own, env.num_envs)
            for name, own in actions.items()
        }


def _reshaped(tree: Any, rows: int) -> Any:
    """The same numbers in so many rows, in each leaf."""
    if isinstance(tree, Mapping):
        return {key: _reshaped(own, rows) for key, own in tree.items()}
    if isinstance(tree, tuple):
        return tuple(_reshaped(own, rows) for own in tree)
    return np.reshape(tree, (rows, -1))


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
    """Always local, with the most useful retention that fits the UE: one download, then none."""

    def decide(self, env: BatchedMECEnv) -> tuple[Bools, Floats]:
        cached, most = env.simulator.cached, env.simulator.episode.devices.most_retention
        held = np.full(cached.shape, self.best_retention)
        if most is not None:
            held = np.minimum(held, most)
        return np.zeros(cached.shape, dtype=bool), held


class BestFixed(_SystemPolicy):
    """Does the same in every step: all on the server, or all local with one retention.

    Which of these it does is what turns out best for the whole episode, whose draws it knows: no
    policy that decides once and for all UEs alike has more reward. Retentions are those of a grid.
    """

    _best: tuple[Bools, Floats] | None = None

    def decide(self, env: BatchedMECEnv) -> tuple[Bools, Floats]:
        simulator = env.simulator
        if simulator.t == 0 or self._best is None:
            shape = simulator.cached.shape
            choices = [(True, self.best_retention)]
            choices += [(False, float(e)) for e in coordinate.retentions(self.scenario)]
            rewards = np.stack(
                [
                    reward_of_fixed(
                        self.scenario, simulator.episode, np.full(shape, z), np.full(shape, e)
                    )
                    for z, e in choices
                ]
            )
            servers, retentions = (np.array(column) for column in zip(*choices, strict=True))
            best = rewards.argmax(axis=0)[:, None]
            self._best = (
                np.broadcast_to(servers[best], shape),
                np.broadcast_to(retentions[best], shape),
            )
        return self._best


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


class GreedyObserved(Greedy):
    """Greedy without the coming channels, which the agents cannot see either.

    In their place it has what it expects after those it has seen, see
    :mod:`rllib_mec.baselines.expectation`. All else it knows, even what ``observation: paper``
    hides, and without ``observation_noise``.
    """

    def decide(self, env: BatchedMECEnv) -> tuple[Bools, Floats]:
        return greedy.best_actions(self.scenario, expected_situation(self.scenario, env.simulator))


class GreedyCoordinate(_SystemPolicy):
    """UE after UE takes what is best for this step's reward, for any number of UEs.

    It knows what greedy does; see :mod:`rllib_mec.baselines.coordinate`.
    """

    def decide(self, env: BatchedMECEnv) -> tuple[Bools, Floats]:
        return coordinate.best_actions(self.scenario, env.simulator.situation)


def expected_situation(scenario: Scenario, simulator: Simulator) -> Situation:
    """Returns what the next action will meet, with the expected channels in place of the true."""
    situation = simulator.situation
    episode = simulator.episode
    seen = np.concatenate([episode.first_gain[None], episode.tasks.gain[: simulator.t]])
    gain = expected_gain(scenario.fading_correlation, seen)
    tasks = dataclasses.replace(situation.tasks, gain=gain)
    return dataclasses.replace(situation, tasks=tasks)


_Made = type[Random] | type[_SystemPolicy] | type[FedPEATPolicy]

POLICIES: dict[str, _Made] = {
    "random": Random,
    "hold": Hold,
    "best-fixed": BestFixed,
    "best-retention": BestRetention,
    "all-server": AllServer,
    "greedy": Greedy,
    "greedy-observed": GreedyObserved,
    "greedy-coordinate": GreedyCoordinate,
}
"""The policies for ``mec`` that learn nothing, by their names in the registry."""

FEDPEAT_POLICIES: dict[str, _Made] = {
    "random": Random,
    "hold": FedPEATHold,
    "equal-shares": FedPEATEqualShares,
    "greedy": FedPEATGreedy,
    "greedy-observed": FedPEATGreedyObserved,
    "server-alone": FedPEATServerAlone,
}

NAMES = tuple(POLICIES | FEDPEAT_POLICIES)
"""The names of all of them."""


def make_policy(name: str, env: BatchedEnv, seed: np.random.SeedSequence) -> Policy:
    """Returns the policy ``name`` for ``env``; ``seed`` drives what is random in it.

    Raises:
        InputError: there is no such policy, or it cannot act in this environment.
    """
    if name not in NAMES:
        raise unknown_name("baseline", name, NAMES)
    if isinstance(env, BatchedMECEnv):
        known = POLICIES
    elif isinstance(env, BatchedFedPEATEnv):
        known = FEDPEAT_POLICIES
    else:
        known = {"random": Random}
    if name not in known:
        knows = [
            env_name
            for env_name, own in (("mec", POLICIES), ("fedpeat", FEDPEAT_POLICIES))
            if name in own
        ]
        hint = " (with turn_based: false)" if knows[0] == "mec" else ""
        raise InputError(
            f"{name} knows the environment {' and '.join(knows)}{hint} alone: expected that one, "
            "or another algorithm"
        )
    return known[name](env, seed)
