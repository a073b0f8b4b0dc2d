"""A team that has to remember, as batches and as episodes."""

import gymnasium as gym
import numpy as np
from toy_teams import box, seeds_of, toy_config

from rllib_mec.envs.one_of_batch import OneOfBatch

CUES = 3
STEPS = 5
FORGETFUL = 1 / CUES
"""The best that agents without a memory can expect to be given in an episode."""


class BatchedRecall:
    """At the start each agent is shown a cue, which it has to name at the end, four steps later.

    The agents are given the share of those that are right. An agent sees its cue, which is zeros
    later on, the share of the episode that has passed, and as noise a number of its own. ``twins``
    are a group of two, ``guest`` decides after them and sees what the first of them has named; it
    is away in every other step.
    """

    agent_order = ("twins", "guest")
    agent_groups = {"twins": ("left", "right")}  # noqa: RUF012
    action_slots = {"guest": {"twins": tuple(range(CUES + 2, 3 * CUES + 2))}}  # noqa: RUF012

    def __init__(self, num_envs, guest_rests=True):
        self.num_envs, self.guest_rests = num_envs, guest_rests
        seen = {"left": CUES + 2, "right": CUES + 2, "guest": 3 * CUES + 2}
        self.observation_spaces = {agent: box(size) for agent, size in seen.items()}
        self.action_spaces = dict.fromkeys(seen, gym.spaces.Discrete(CUES))
        self.randoms = [np.random.default_rng() for _ in range(num_envs)]

    def reset(self, seed=None):
        if seed is not None:
            self.randoms = [np.random.default_rng(own) for own in seeds_of(seed, self.num_envs)]
        self.cues = np.stack([random.integers(CUES, size=3) for random in self.randoms])
        self.steps, self.returns = 0, np.zeros(self.num_envs)
        return self.observe()

    def observe(self):
        seen = np.zeros((self.num_envs, 3, CUES + 2), np.float32)
        if self.steps == 0:
            np.put_along_axis(seen[..., :CUES], self.cues[..., None], 1.0, axis=-1)
        seen[..., CUES] = self.steps / STEPS
        seen[..., CUES + 1] = np.stack([random.normal(size=3) for random in self.randoms])
        slots = np.zeros((self.num_envs, 2 * CUES), np.float32)
        return {
            "twins": seen[:, :2].reshape(self.num_envs, -1),
            "guest": np.concatenate([seen[:, 2], slots], axis=-1),
        }

    def active(self):
        there = not self.guest_rests or self.steps % 2 == 0
        return {"guest": np.full(self.num_envs, there)}

    def state(self):
        return np.column_stack([self.cues, np.full(self.num_envs, self.steps)])

    def step(self, actions):
        named = np.column_stack([actions["twins"], actions["guest"]])
        self.steps += 1
        rewards = np.zeros(self.num_envs)
        if self.steps == STEPS:
            rewards = (named == self.cues).mean(axis=1)
        self.returns += rewards
        return self.observe(), rewards, False, self.steps == STEPS

    def episode_metrics(self):
        return {"reward": self.returns.copy()}


class Recall(OneOfBatch):
    def __init__(self, env_config=None):
        super().__init__(lambda num_envs: BatchedRecall(num_envs, **(env_config or {})))


def recall_config(layer="gru", **training):
    config = toy_config(Recall, **training)
    return config.rl_module(
        model_config={"fcnet_hiddens": [16], "recurrent_layer": layer, "recurrent_size": 16}
    )
