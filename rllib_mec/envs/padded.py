"""Agents with equal spaces, so that one policy can be all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rllib_mec.errors import InputError


class Padded(MultiAgentEnv):
    """An environment whose agents observe and act alike, though those of ``env`` differ.

    So RLlib's own algorithms can share parameters among them: ``policies: [shared]``.

    An observation is the agent's own, zeros up to the longest one's length, and which of the N
    agents it is, as N zeros but for a one. An action is one of the agent with the most choices,
    and means the first choice to an agent that has fewer; or the longest vector of all agents,
    whose first entries are the agent's own.

    Args:
        env: all agents observe vectors (flat ``Box``), and all choose (``Discrete``), or all give
            vectors with the same bounds.

    Raises:
        InputError: other spaces.
    """

    def __init__(self, env: MultiAgentEnv) -> None:
        super().__init__()
        self._env = env
        self.agents = self.possible_agents = list(env.possible_agents)
        for name in ("metric_names", "decision_names"):
            if hasattr(env, name):
                setattr(self, name, getattr(env, name))
        seen = [env.observation_spaces[agent] for agent in self.agents]
        if not all(isinstance(each, gym.spaces.Box) and len(each.shape) == 1 for each in seen):
            raise InputError("padded: expected agents that observe vectors")
        self._length = max(each.shape[0] for each in seen)
        self._identity = dict(zip(self.agents, np.eye(len(self.agents)), strict=True))
        observed = gym.spaces.Box(-np.inf, np.inf, (self._length + len(self.agents),), np.float32)
        self.observation_spaces = dict.fromkeys(self.agents, observed)
        self._own = dict(env.action_spaces)
        self.action_spaces = dict.fromkeys(self.agents, _widest(list(self._own.values())))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        observations, infos = self._env.reset(seed=seed, options=options)
        return self._padded(observations), infos

    def step(self, action_dict: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
        own = {agent: self._cut(agent, action) for agent, action in action_dict.items()}
        observations, *others = self._env.step(own)
        return (self._padded(observations), *others)

    def close(self) -> None:
        self._env.close()

    def _padded(self, observations: Mapping[str, Any]) -> dict[str, NDArray[np.float32]]:
        padded = {}
        for agent, observation in observations.items():
            zeros = np.zeros(self._length - len(observation), np.float32)
            parts = [observation, zeros, self._identity[agent]]
            padded[agent] = np.concatenate(parts, dtype=np.float32)
        return padded

    def _cut(self, agent: str, action: Any) -> Any:
        space = self._own[agent]
        if isinstance(space, gym.spaces.Discrete):
            return action if action < space.n else 0
        return action[: space.shape[0]]


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
