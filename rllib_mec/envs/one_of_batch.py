"""A batched environment as RLlib's ``MultiAgentEnv``: its batch of one.

Who writes an environment for batches writes it once. A batched environment is what
:class:`~rllib_mec.hmppo.sampling.batched_env.BatchedEnv` says: arrays in, arrays out, B
environments in lockstep. Beyond that it has

* ``observation_spaces`` and ``action_spaces`` of each agent;
* if it likes, what :class:`~rllib_mec.hmppo.team.Team` reads from an environment: ``agent_order``,
  ``action_slots``, ``num_entities``, ``entity_order``, ``agent_groups``;
* ``metric_names``, if it measures more than the reward;
* ``active()``, if agents are not always there: who is not, observes nothing here;
* ``state()`` and ``rewards()``, if it has a state, and agents have rewards of their own.

With ``agent_groups`` its arrays are those of groups, the members' one after the other, (B, A F) of
observations and (B, A) of actions, while its spaces are those of members.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import batch_space, create_empty_array, iterate
from ray.rllib.env.multi_agent_env import MultiAgentEnv

EPISODE_METRICS = "episode_metrics"
"""Key of the infos at the end of an episode that holds its metrics."""

_DECLARED = ("action_slots", "num_entities", "entity_order", "agent_groups", "metric_names")


class OneOfBatch(MultiAgentEnv):
    """One environment of a batched form, and the way to more of them.

    Rewards are the team's, the same for all agents, unless they have their own. The infos of an
    episode's last step hold its ``episode_metrics``.

    Args:
        make: returns the batched form of so many environments.
    """

    def __init__(self, make: Callable[[int], Any]) -> None:
        super().__init__()
        self._make = make
        self._one = make(1)
        self.observation_spaces = dict(self._one.observation_spaces)
        self.action_spaces = dict(self._one.action_spaces)
        self.agents = self.possible_agents = list(self.observation_spaces)
        groups: Mapping[str, tuple[str, ...]] = getattr(self._one, "agent_groups", {})
        group_of = {member: name for name, ids in groups.items() for member in ids}
        deciders = dict.fromkeys(group_of.get(agent, agent) for agent in self.possible_agents)
        self.agent_order = tuple(getattr(self._one, "agent_order", None) or deciders)
        self._groups = groups
        if hasattr(self._one, "state"):
            self.state = self._state
        # For who is not there.
        self._anything = {a: _zeros(own) for a, own in self.action_spaces.items()}
        for name in _DECLARED:
            if hasattr(self._one, name):
                setattr(self, name, getattr(self._one, name))

    def batched(self, num_envs: int) -> Any:
        """Returns the same environment ``num_envs`` times at once."""
        return self._make(num_envs)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        return self._each(self._one.reset(seed)), {}

    def step(self, action_dict: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
        observations, reward, terminated, truncated = self._one.step(self._joined(action_dict))
        rewards = self._rewards(float(reward[0]))
        infos: dict[str, Any] = {}
        if terminated or truncated:
            metrics = {k: float(value[0]) for k, value in self._one.episode_metrics().items()}
            infos = {agent: {EPISODE_METRICS: metrics} for agent in self.possible_agents}
        # Not agent by agent, see rllib_mec.envs.multi_agent.
        ends = {"__all__": bool(terminated)}, {"__all__": bool(truncated)}
        return (self._each(observations), rewards, *ends, infos)

    def _rewards(self, of_team: float) -> dict[str, float]:
        """What each agent is given."""
        if not hasattr(self._one, "rewards"):
            return dict.fromkeys(self.possible_agents, of_team)
        return {
            agent: float(own)
            for name, given in self._one.rewards().items()
            for agent, own in zip(self._groups.get(name, (name,)), np.ravel(given), strict=True)
        }

    def _state(self) -> Any:
        return self._one.state()[0]

    def _each(self, observations: Mapping[str, Any]) -> dict[str, Any]:
        """Observations of each agent, members of groups among them."""
        found = {}
        for name, batch in observations.items():
            ids = self._groups.get(name)
            if ids is None:
                found[name] = _first(batch)
            else:
                space, one = self.observation_spaces[ids[0]], _first(batch)
                found |= {agent: _member(space, one, k, len(ids)) for k, agent in enumerate(ids)}
        absent = self._absent()
        return {agent: own for agent, own in found.items() if agent not in absent}

    def _absent(self) -> set[str]:
        """Who is not there."""
        active_of = getattr(self._one, "active", None)
        said = {} if active_of is None else active_of()
        return {
            agent
            for name, there in said.items()
            for agent, own in zip(self._groups.get(name, (name,)), np.ravel(there), strict=True)
            if not own
        }

    def _joined(self, actions: Mapping[str, Any]) -> dict[str, Any]:
        """Actions as the batched form takes them; of those who are not there, any."""
        actions = {**{agent: self._anything[agent] for agent in self._absent()}, **actions}
        members = {member for ids in self._groups.values() for member in ids}
        joined = {a: _batch_of_one(own) for a, own in actions.items() if a not in members}
        for name, ids in self._groups.items():
            joined[name] = _together([actions[member] for member in ids])
        return joined


def _first(batch: Any) -> Any:
    if isinstance(batch, Mapping):
        return {key: _first(part) for key, part in batch.items()}
    if isinstance(batch, tuple):
        return tuple(_first(part) for part in batch)
    return batch[0]


def _member(space: gym.Space, joined: Any, place: int, count: int) -> Any:
    """What one member of a group observes, of what all ``count`` do, leaf by leaf."""
    if isinstance(space, gym.spaces.Dict):
        return {key: _member(own, joined[key], place, count) for key, own in space.items()}
    if isinstance(space, gym.spaces.Tuple):
        pairs = zip(space.spaces, joined, strict=True)
        return tuple(_member(own, part, place, count) for own, part in pairs)
    own = np.reshape(joined, (count, *(space.shape or ())))[place]
    return own if space.shape else own[()]


def _together(actions: list[Any]) -> Any:
    """The actions of a group's members as the batch of one that the batched form takes."""
    first = actions[0]
    if isinstance(first, Mapping):
        return {key: _together([own[key] for own in actions]) for key in first}
    if isinstance(first, tuple):
        return tuple(_together(list(parts)) for parts in zip(*actions, strict=True))
    return np.concatenate([np.ravel(own) for own in actions])[None]


def _batch_of_one(action: Any) -> Any:
    if isinstance(action, Mapping):
        return {key: _batch_of_one(part) for key, part in action.items()}
    if isinstance(action, tuple):
        return tuple(_batch_of_one(part) for part in action)
    return [action]


def _zeros(space: gym.Space) -> Any:
    return next(iter(iterate(batch_space(space, 1), create_empty_array(space, 1, fn=np.zeros))))
