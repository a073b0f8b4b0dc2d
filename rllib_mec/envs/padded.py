"""Agents with equal spaces, so that one policy can be all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib_mec.errors import InputError


class Padded:
    """A batched environment whose agents observe and act alike, though those of ``env`` differ.

    So RLlib's own algorithms can share parameters among them: ``policies: [shared]``.

    An observation is the agent's own, zeros up to the longest one's length, and which of the N
    agents it is, as N zeros but for a one. An action is one of the agent with the most choices,
    and means the first choice to an agent that has fewer; or the longest vector of all agents,
    whose first entries are the agent's own.

    Args:
        env: in batches, as :mod:`rllib_mec.envs.one_of_batch` says, without groups. All agents
            observe vectors (flat ``Box``), and all choose (``Discrete``), or all give vectors with
            the same bounds.

    Raises:
        InputError: other spaces.
    """

    def __init__(self, env: Any) -> None:
        self._env = env
        self.num_envs: int = env.num_envs
        self.metric_names: tuple[str, ...] = tuple(getattr(env, "metric_names", ()))
        agents = list(env.observation_spaces)
        seen = [env.observation_spaces[agent] for agent in agents]
        if not all(isinstance(each, gym.spaces.Box) and len(each.shape) == 1 for each in seen):
            raise InputError("padded: expected agents that observe vectors")
        self._length = max(each.shape[0] for each in seen)
        self._identity = dict(zip(agents, np.eye(len(agents)), strict=True))
        observed = gym.spaces.Box(-np.inf, np.inf, (self._length + len(agents),), np.float32)
        self.observation_spaces = dict.fromkeys(agents, observed)
        self._own = dict(env.action_spaces)
        for name in ("active", "state", "rewards"):  # which padding leaves as they are
            if hasattr(env, name):
                setattr(self, name, getattr(env, name))
        self.action_spaces = dict.fromkeys(agents, _widest(list(self._own.values())))

    def reset(self, seed: Any = None) -> dict[str, NDArray[np.float32]]:
        return self._padded(self._env.reset(seed))

    def step(
        self, actions: Mapping[str, Any]
    ) -> tuple[dict[str, NDArray[np.float32]], NDArray[np.float64], bool, bool]:
        own = {agent: self._cut(agent, np.asarray(action)) for agent, action in actions.items()}
        observations, *others = self._env.step(own)
        return (self._padded(observations), *others)

    def episode_metrics(self) -> dict[str, NDArray[np.float64]]:
        return self._env.episode_metrics()

    def _padded(self, observations: Mapping[str, Any]) -> dict[str, NDArray[np.float32]]:
        padded = {}
        for agent, own in observations.items():
            zeros = np.zeros((len(own), self._length - own.shape[1]))
            identity = np.tile(self._identity[agent], (len(own), 1))
            padded[agent] = np.concatenate([own, zeros, identity], axis=1, dtype=np.float32)
        return padded

    def _cut(self, agent: str, actions: NDArray[Any]) -> NDArray[Any]:
        space = self._own[agent]
        if isinstance(space, gym.spaces.Discrete):
            return np.where(actions < space.n, actions, 0)
        return actions[:, : space.shape[0]]


def _widest(spaces: list[gym.Space]) -> gym.Space:
    """The space of all agents' actions."""
    choices = [each for each in spaces if isinstance(each, gym.spaces.Discrete) and not each.start]
    if len(choices) == len(spaces):
        return max(choices, key=lambda each: int(each.n))
    boxes = [each for each in spaces if isinstance(each, gym.spaces.Box) and len(each.shape) == 1]
    bounds = {bound for box in boxes for bound in zip(box.low, box.high, strict=True)}
    if len(boxes) < len(spaces) or len(bounds) != 1:
        raise InputError("padded: expected agents that all choose, or all act in one range")
    return max(boxes, key=lambda each: each.shape[0])
