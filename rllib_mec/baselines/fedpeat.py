"""Policies for ``fedpeat`` that learn nothing; which one is best says how hard the scenario is."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from rllib_mec.baselines import fedpeat_greedy
from rllib_mec.baselines.expectation import expected_gain
from rllib_mec.envs.fedpeat import BatchedFedPEATEnv
from rllib_mec.hmppo.sampling.batched_env import BatchedEnv
from rllib_mec.system.fedpeat import Decision, Federation, Situation, carry_out
from rllib_mec.system.fedpeat.round import emulator_for
from rllib_mec.system.radio import Bools, Floats


class FedPEATPolicy(abc.ABC):
    """A policy that may look at the whole system."""

    def __init__(self, env: BatchedEnv, seed: np.random.SeedSequence) -> None:
        assert isinstance(env, BatchedFedPEATEnv)  # make_policy has seen to it

    def act(self, env: BatchedEnv, observations: Mapping[str, Any]) -> dict[str, Any]:
        assert isinstance(env, BatchedFedPEATEnv)
        return env.agents.join(self.decide(env.federation))

    @abc.abstractmethod
    def decide(self, federation: Federation) -> Decision:
        """Returns what is decided for the coming round."""


class FedPEATHold(FedPEATPolicy):
    """All UEs, each with the largest emulator that fits it, which it never changes."""

    def decide(self, federation: Federation) -> Decision:
        cached = federation.cached
        held = np.where(cached > 0, cached, federation.episode.most_retention)
        return _equal(federation, np.ones(held.shape, dtype=bool), held)


class FedPEATEqualShares(FedPEATPolicy):
    """All UEs with equal bandwidth, full power and one retention, cut to what fits.

    The retention is that which turns out best for the whole episode, whose draws it knows.
    """

    _retention: Floats | None = None

    def decide(self, federation: Federation) -> Decision:
        everybody = np.ones(federation.cached.shape, dtype=bool)
        if federation.t == 0 or self._retention is None:
            retentions = _retentions(federation)
            rewards = [_reward_of(federation, everybody, own) for own in retentions]
            best = np.argmax(rewards, axis=0)[:, None]
            self._retention = np.broadcast_to(retentions[best], everybody.shape)
        return _equal(federation, everybody, self._retention)


class FedPEATGreedy(FedPEATPolicy):
    """Emulators as with equal shares; who takes part, shares and power are the best of this round.

    Channels are known; see :mod:`rllib_mec.baselines.fedpeat_greedy`.
    """

    def __init__(self, env: BatchedEnv, seed: np.random.SeedSequence) -> None:
        super().__init__(env, seed)
        assert isinstance(env, BatchedFedPEATEnv)
        fedpeat_greedy.check(env.scenario)
        self._emulators: FedPEATPolicy = FedPEATEqualShares(env, seed)

    def decide(self, federation: Federation) -> Decision:
        held = self._emulators.decide(federation).retention
        now = self.known(federation)
        retention = emulator_for(federation.scenario, held, now.most_retention)
        return fedpeat_greedy.best_decision(federation.scenario, now, retention)

    def known(self, federation: Federation) -> Situation:
        """What is known of the coming round."""
        return federation.situation


class FedPEATGreedyObserved(FedPEATGreedy):
    """Greedy without the coming channels, which the agents cannot see either.

    In their place it has what it expects after those it has seen.
    """

    def known(self, federation: Federation) -> Situation:
        seen = federation.episode.gain[: federation.t + 1]
        gain = expected_gain(federation.scenario.fading_correlation, seen)
        return dataclasses.replace(federation.situation, gain=gain)


class FedPEATServerAlone(FedPEATPolicy):
    """No UE takes part: the server tunes alone."""

    def decide(self, federation: Federation) -> Decision:
        shape = federation.cached.shape
        low = np.full(shape, federation.scenario.retention[0])
        return _equal(federation, np.zeros(shape, dtype=bool), low)


def _equal(federation: Federation, selected: Bools, retention: Floats) -> Decision:
    """Equal bandwidth and full power."""
    power = np.full(selected.shape, federation.scenario.uplink_power_w[1])
    return Decision(selected, retention, np.zeros(selected.shape), power)


def _retentions(federation: Federation) -> Floats:
    """Retentions to choose from: those of the emulators that are there, or a grid."""
    scenario = federation.scenario
    if scenario.num_emulators:
        return scenario.emulators
    return np.linspace(*scenario.retention, 13)


def _reward_of(federation: Federation, selected: Bools, retention: float) -> Floats:
    """Reward of the whole episode if every round is the same, (B,)."""
    scenario, total = federation.scenario, np.zeros(federation.num_envs)
    decision = _equal(federation, selected, np.full(selected.shape, retention))
    cached = np.zeros(selected.shape)
    for t in range(scenario.num_rounds):
        outcome = carry_out(scenario, federation.situation_at(t, cached), decision)
        cached = outcome.cached
        total += outcome.reward
    return total
