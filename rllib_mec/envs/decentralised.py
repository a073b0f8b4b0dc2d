"""An agent for every decision of every UE: whose part of the joint decisions is whose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from rllib_mec.envs.agents import Agents, Observation, action_of
from rllib_mec.errors import InputError


class DecentralisedAgents:
    """Each agent of :class:`Agents` as a group of N, one member for each UE.

    Observations and actions of a group are laid out UE by UE, so that a member's are a slice.

    Attributes:
        groups: the members of each group.
        observation_spaces, action_spaces: of each member.
    """

    def __init__(self, joint: Agents) -> None:
        n = joint.scenario.num_ues
        self._joint = joint
        self.groups = {group: tuple(f"{group}_{ue}" for ue in range(n)) for group in joint.order}
        self.observation_spaces, self.action_spaces = (
            {m: _part(spaces[group], n) for group, ids in self.groups.items() for m in ids}
            for spaces in (joint.observation_spaces, joint.action_spaces)
        )

    def split(self, observations: Mapping[str, Observation]) -> dict[str, Observation]:
        """Returns each member's observation from those of the groups in one environment."""
        single: dict[str, Observation] = {}
        for group, ids in self.groups.items():
            single |= zip(ids, np.split(observations[group], len(ids)), strict=True)
        return single

    def join(self, actions: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the groups' actions from those of all members in one environment.

        Raises:
            InputError: an action is missing, or has not the form of its agent's action space. What
                the numbers are is checked where they are read.
        """
        return {
            group: _joined(
                self._joint.action_spaces[group], {m: action_of(m, actions) for m in ids}
            )
            for group, ids in self.groups.items()
        }


def _part(space: gym.Space, count: int) -> gym.Space:
    """One UE's part of a space that holds ``count`` UEs one after the other."""
    if isinstance(space, gym.spaces.Dict):
        return gym.spaces.Dict({key: _part(own, count) for key, own in space.spaces.items()})
    if isinstance(space, gym.spaces.MultiDiscrete):
        sizes = space.nvec[: len(space.nvec) // count]
        return gym.spaces.Discrete(sizes[0]) if len(sizes) == 1 else gym.spaces.MultiDiscrete(sizes)
    assert isinstance(space, gym.spaces.Box)
    size = len(space.low) // count
    return gym.spaces.Box(space.low[:size], space.high[:size], dtype=space.dtype)  # type: ignore[arg-type]


def _joined(space: gym.Space, actions: Mapping[str, Any]) -> Any:
    """The actions of a group's members as one of ``space``."""
    if isinstance(space, gym.spaces.Dict):
        for member, action in actions.items():
            if not isinstance(action, Mapping) or set(action) != set(space.spaces):
                keys = " and ".join(space.spaces)
                raise InputError(f"{member} action = {action!r}: expected a dict of {keys}")
        return {
            key: _joined(own, {f"{m}[{key}]": action[key] for m, action in actions.items()})
            for key, own in space.spaces.items()
        }
    size = int(np.prod(space.shape or ())) // len(actions)
    parts = []
    for member, action in actions.items():
        part = np.asarray(action).reshape(-1)
        if part.size != size:
            raise InputError(f"{member} action = {action!r}: expected {size} number(s)")
        parts.append(part)
    return np.concatenate(parts)
