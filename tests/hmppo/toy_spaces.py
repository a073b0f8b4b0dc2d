"""A team whose observations are of all kinds of spaces, by itself and in batches."""

import gymnasium as gym
import numpy as np
from ray.rllib.env.multi_agent_env import MultiAgentEnv
from toy_teams import box, seeds_of

from rllib_mec.hmppo.space_leaves import leaf_of

SPACES = {
    "reader": gym.spaces.Dict(
        {
            "card": gym.spaces.Discrete(3, start=5),
            "desk": gym.spaces.Tuple([box(2, 2), gym.spaces.MultiBinary(3)]),
        }
    ),
    "dial": gym.spaces.MultiDiscrete([[2, 3], [4, 2]]),
    "plain": gym.spaces.Box(0, 255, (2, 3), np.uint8),
}
SIZES = {"reader": 3 + 4 + 3, "dial": 11, "plain": 6}


class Library(MultiAgentEnv):
    """The reader is to name its card, the dial its first number; the plain one is paid for 0."""

    def __init__(self, env_config=None):
        super().__init__()
        self.num_steps = dict(env_config or {}).get("num_steps", 6)
        self.agents = self.possible_agents = list(SPACES)
        self.observation_spaces = SPACES
        self.action_spaces = {
            "reader": gym.spaces.Discrete(3),
            "dial": gym.spaces.Discrete(2),
            "plain": gym.spaces.Discrete(2),
        }
        self.random = np.random.default_rng()

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            self.random = np.random.default_rng(seed)
        self.steps = 0
        return self.observe(), {}

    def observe(self):
        draw = self.random
        self.seen = {
            "reader": {
                "card": int(draw.integers(5, 8)),
                "desk": (
                    draw.normal(size=(2, 2)).astype(np.float32),
                    draw.integers(2, size=3).astype(np.int8),
                ),
            },
            "dial": draw.integers(SPACES["dial"].nvec),
            "plain": draw.integers(256, size=(2, 3)).astype(np.uint8),
        }
        return self.seen

    def step(self, action_dict):
        hits = [
            int(action_dict["reader"]) == self.seen["reader"]["card"] - 5,
            int(action_dict["dial"]) == self.seen["dial"][0, 0],
            int(action_dict["plain"]) == 0,
        ]
        self.steps += 1
        done = {"__all__": self.steps == self.num_steps}
        rewards = dict.fromkeys(SPACES, sum(hits) / 3)
        return self.observe(), rewards, {"__all__": False}, done, {}


class BatchableLibrary(Library):
    """The same, which comes in batches, too."""

    def batched(self, num_envs):
        return BatchedLibrary([Library({"num_steps": self.num_steps}) for _ in range(num_envs)])


class BatchedLibrary:
    """Libraries in lockstep."""

    def __init__(self, envs):
        self.envs, self.num_envs = envs, len(envs)
        self.action_spaces = envs[0].action_spaces

    def reset(self, seed=None):
        begun = seeds_of(seed, self.num_envs)
        self.returns = np.zeros(self.num_envs)
        return self._stacked([e.reset(seed=s)[0] for e, s in zip(self.envs, begun, strict=True)])

    def step(self, actions):
        results = [
            env.step({a: own[b] for a, own in actions.items()}) for b, env in enumerate(self.envs)
        ]
        rewards = np.array([result[1]["dial"] for result in results])
        self.returns = self.returns + rewards
        return self._stacked([r[0] for r in results]), rewards, False, results[0][3]["__all__"]

    def episode_metrics(self):
        return {"reward": self.returns}

    def _stacked(self, observations):
        def of(*path):
            return np.stack([leaf_of(own, path) for own in observations])

        reader = {
            "card": of("reader", "card"),
            "desk": (of("reader", "desk", 0), of("reader", "desk", 1)),
        }
        return {"reader": reader, "dial": of("dial"), "plain": of("plain")}
