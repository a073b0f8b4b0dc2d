"""An environment of one's own: robots on a line are to meet, each deciding for itself."""

import gymnasium as gym
import numpy as np

from rllib_mec.envs.one_of_batch import OneOfBatch


class BatchedRendezvous:  # B lines at once, as arrays
    def __init__(self, num_envs, robots=3, steps=20):
        self.num_envs, self.robots, self.steps = num_envs, robots, steps
        self.random = np.random.default_rng()
        names = tuple(f"robot_{index}" for index in range(robots))
        self.agent_groups = {"robots": names}  # who share an actor
        self.observation_spaces = dict.fromkeys(names, gym.spaces.Box(-1, 1, (2,), np.float32))
        self.action_spaces = dict.fromkeys(names, gym.spaces.Discrete(3))  # left, stay, right

    def reset(self, seed=None):
        self.random = self.random if seed is None else np.random.default_rng(seed)
        self.at = self.random.uniform(-1, 1, (self.num_envs, self.robots))
        self.taken, self.returns = 0, np.zeros(self.num_envs)
        return self.observe()

    def observe(self):  # where a robot is, and where the others are on average
        others = (self.at.sum(axis=1, keepdims=True) - self.at) / (self.robots - 1)
        seen = np.stack([self.at, others], axis=-1).astype(np.float32)
        return {"robots": seen.reshape(self.num_envs, -1)}

    def step(self, actions):  # observations, the team's rewards, terminated, truncated
        self.at = np.clip(self.at + 0.1 * (np.asarray(actions["robots"]) - 1), -1, 1)
        self.taken, self.returns = self.taken + 1, self.returns - self.at.std(axis=1)
        return self.observe(), -self.at.std(axis=1), False, self.taken == self.steps

    def episode_metrics(self):
        return {"reward": self.returns.copy()}


class Rendezvous(OneOfBatch):  # the same as RLlib's MultiAgentEnv
    def __init__(self, env_config=None):
        super().__init__(lambda num_envs: BatchedRendezvous(num_envs, **(env_config or {})))
