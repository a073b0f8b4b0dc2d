"""Agents of which some are alike, though the environment says nothing of groups."""

import gymnasium as gym
import numpy as np
from ray.rllib.env.multi_agent_env import MultiAgentEnv
from toy_teams import box

SEEKERS = ("seeker_0", "seeker_1", "seeker_2")
GROUPS = {"seekers": ["seeker_2", "seeker_0", "seeker_1"]}
"""In another order than the environment's."""


class Seekers(MultiAgentEnv):
    """Three seekers are each to name what it alone sees, of two; the host is to choose 1.

    Args:
        env_config: with ``masks``, a third choice is forbidden and stepped on never; with
            ``away``, a seeker is missing in each step, one after the other.
    """

    STEPS = 6

    def __init__(self, env_config=None):
        super().__init__()
        config = dict(env_config or {})
        self.masks, self.away = config.get("masks", False), config.get("away", False)
        self.agents = self.possible_agents = ["seeker_0", "host", "seeker_1", "seeker_2"]
        seen = box(2)
        if self.masks:
            seen = gym.spaces.Dict({"action_mask": box(3), "observations": box(2)})
        self.observation_spaces = {a: box(3) if a == "host" else seen for a in self.agents}
        self.action_spaces = {
            a: gym.spaces.Discrete(2 if a == "host" or not self.masks else 3) for a in self.agents
        }
        self.random = np.random.default_rng()

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            self.random = np.random.default_rng(seed)
        self.steps = 0
        return self.observe(), {}

    def observe(self):
        self.wanted = {agent: int(self.random.integers(2)) for agent in SEEKERS}
        if self.away:
            del self.wanted[SEEKERS[self.steps % 3]]
        observations = {"host": np.ones(3, np.float32)}
        for agent, wanted in self.wanted.items():
            seen = np.eye(2, dtype=np.float32)[wanted]
            mask = np.array([1, 1, 0], np.float32)
            observations[agent] = (
                {"action_mask": mask, "observations": seen} if self.masks else seen
            )
        return observations

    def step(self, action_dict):
        assert action_dict.keys() == {"host", *self.wanted}, action_dict
        self.taken = {agent: int(action) for agent, action in action_dict.items()}
        hits = [self.taken[agent] == wanted for agent, wanted in self.wanted.items()]
        reward = (sum(hits) + self.taken["host"]) / (len(hits) + 1)
        self.steps += 1
        truncated = {"__all__": self.steps == self.STEPS}
        rewards = dict.fromkeys(self.possible_agents, reward)
        return self.observe(), rewards, {"__all__": False}, truncated, {}


class DeclaredSeekers(Seekers):
    """The same, but the environment itself says that they are a group."""

    agent_groups = {name: tuple(ids) for name, ids in GROUPS.items()}  # noqa: RUF012
