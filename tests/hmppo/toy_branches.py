"""One agent with branches of every kind, and a small SABPPO for it."""

import gymnasium as gym
import numpy as np
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rllib_mec.sabppo import SABPPOConfig

SPACE = gym.spaces.Dict(
    {
        "coins": gym.spaces.MultiBinary(2),
        "choices": gym.spaces.MultiDiscrete([3, 4]),
        "numbers": gym.spaces.Box(-1.0, 1.0, (2,), np.float32),
    }
)


class Mirror(MultiAgentEnv):
    """Every dimension of the action is to say what the observation shows for it.

    Each of the six gets up to 1 / 6 of a reward of 1: a random policy gets 0.4 to 0.5.
    """

    def __init__(self, env_config=None):
        super().__init__()
        self.num_steps = dict(env_config or {}).get("num_steps", 8)
        self.agents = self.possible_agents = ["mirror"]
        self.observation_spaces = {"mirror": gym.spaces.Box(-1, 1, (11,), np.float32)}
        self.action_spaces = {"mirror": SPACE}
        self.random = np.random.default_rng()

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            self.random = np.random.default_rng(seed)
        self.steps = 0
        return self.observe(), {}

    def observe(self):
        self.coins = self.random.integers(2, size=2)
        self.choices = self.random.integers([3, 4])
        self.numbers = self.random.uniform(-0.8, 0.8, 2)
        named = [np.eye(3)[self.choices[0]], np.eye(4)[self.choices[1]]]
        return {
            "mirror": np.concatenate([self.coins * 2 - 1, *named, self.numbers]).astype(np.float32)
        }

    def step(self, action_dict):
        action = action_dict["mirror"]
        hits = (action["coins"] == self.coins).sum() + (action["choices"] == self.choices).sum()
        near = (1 - np.abs(action["numbers"] - self.numbers)).sum()
        self.steps += 1
        done = self.steps == self.num_steps
        rewards = {"mirror": float(hits + near) / 6}
        return self.observe(), rewards, {"__all__": False}, {"__all__": done}, {}


def branching_config(env=Mirror, env_config=None, model=None, **training):
    """A small and fast SABPPO, local."""
    defaults = {
        "train_batch_size_per_learner": 64,
        "minibatch_size": 32,
        "num_epochs": 2,
        "lr": 3e-3,
    }
    return (
        SABPPOConfig()
        .environment(env, env_config=env_config or {})
        .env_runners(num_env_runners=0, num_envs_per_env_runner=4)
        .rl_module(model_config={"fcnet_hiddens": [16], "branch_width": 5} | (model or {}))
        .training(**defaults | training)
        .debugging(seed=1, log_level="ERROR")
    )
