"""A team that has to look: images among its observations."""

import gymnasium as gym
import numpy as np
from toy_teams import box, seeds_of, toy_config

from rllib_mec.envs.one_of_batch import OneOfBatch

SIZE = 10
"""Pixels along an edge: RLlib has convolutions for images of 10 x 10."""


class BatchedLights:
    """In which half of its image does an agent see the light?

    ``watchers`` are a group of two who see an image of bytes alone; ``pilot`` sees one with a
    number and a word beside it, and is to name the other half if the number is negative. The reward
    is the share of those that are right.
    """

    agent_groups = {"watchers": ("left", "right")}  # noqa: RUF012
    agent_order = ("watchers", "pilot")

    def __init__(self, num_envs, num_steps=4):
        self.num_envs, self.num_steps = num_envs, num_steps
        image = gym.spaces.Box(0, 255, (SIZE, SIZE, 1), np.uint8)
        self.observation_spaces = {
            "left": image,
            "right": image,
            "pilot": gym.spaces.Dict(
                {"look": image, "sign": box(1), "word": gym.spaces.Discrete(3)}
            ),
        }
        self.action_spaces = dict.fromkeys(self.observation_spaces, gym.spaces.Discrete(2))
        self.randoms = [np.random.default_rng() for _ in range(num_envs)]

    def reset(self, seed=None):
        if seed is not None:
            self.randoms = [np.random.default_rng(own) for own in seeds_of(seed, self.num_envs)]
        self.steps, self.returns = 0, np.zeros(self.num_envs)
        return self.observe()

    def observe(self):
        places = np.stack([random.integers(SIZE, size=(3, 2)) for random in self.randoms])
        images = np.zeros((self.num_envs, 3, SIZE, SIZE, 1), np.uint8)
        rows, agents = np.indices((self.num_envs, 3))
        images[rows, agents, places[..., 0], places[..., 1], 0] = 255
        signs = np.stack([random.choice([-1.0, 1.0], 1) for random in self.randoms])
        self.right = places[..., 1] >= SIZE // 2
        self.right[:, 2] ^= signs[:, 0] < 0
        return {
            "watchers": images[:, :2].reshape(self.num_envs, -1),
            "pilot": {
                "look": images[:, 2],
                "sign": signs.astype(np.float32),
                "word": places[:, 2, 0] % 3,
            },
        }

    def step(self, actions):
        said = np.column_stack([actions["watchers"], actions["pilot"]])
        rewards = (said == self.right).mean(axis=1)
        self.steps += 1
        self.returns += rewards
        return self.observe(), rewards, False, self.steps == self.num_steps

    def episode_metrics(self):
        return {"reward": self.returns / self.num_steps}


class Lights(OneOfBatch):
    def __init__(self, env_config=None):
        super().__init__(lambda num_envs: BatchedLights(num_envs, **(env_config or {})))


def lights_config(**training):
    return toy_config(Lights, **training)
