"""Teams whose actions are masked, by themselves and in batches."""

import gymnasium as gym
import numpy as np
from ray.rllib.env.multi_agent_env import MultiAgentEnv
from toy_teams import box, seeds_of

from rllib_mec.hmppo.space_leaves import leaf_of


def bits(*shape):
    return gym.spaces.Box(0, 1, shape, np.int8)


ACTIONS = {
    "key": gym.spaces.Discrete(4, start=1),
    "bolts": gym.spaces.MultiDiscrete([2, 3]),
    "lamps": gym.spaces.MultiBinary(3),
    "porter": gym.spaces.Dict(
        {
            "go": gym.spaces.Discrete(2),
            "pick": gym.spaces.MultiDiscrete([3, 3]),
            "share": gym.spaces.Box(0.0, 1.0, (1,), np.float32),
        }
    ),
}
MASKS = {
    "key": bits(4),
    "bolts": gym.spaces.MultiBinary(5),
    "lamps": bits(3),  # whether each may be on
    "porter": gym.spaces.Dict({"go": bits(2), "pick": bits(2, 3)}),
}
OBSERVATIONS = {
    "key": gym.spaces.Dict({"action_mask": MASKS["key"], "observations": box(2)}),
    "bolts": gym.spaces.Dict({"action_mask": MASKS["bolts"], "observation": box(3)}),
    "lamps": gym.spaces.Dict({"action_mask": MASKS["lamps"], "observations": box(1, 2)}),
    "porter": gym.spaces.Dict(
        {"action_mask": MASKS["porter"], "observation": gym.spaces.Discrete(3)}
    ),
}


def some(draw, choices):
    """Which of some choices are allowed: one at least."""
    allowed = draw.integers(2, size=choices)
    allowed[draw.integers(choices)] = 1
    return allowed.astype(np.int8)


class Locks(MultiAgentEnv):
    """Every agent may do what its mask says, and nothing else; the team is paid for high keys."""

    def __init__(self, env_config=None):
        super().__init__()
        config = dict(env_config or {})
        self.num_steps = config.get("num_steps", 6)
        self.barred_at = config.get("barred_at")
        self.agents = self.possible_agents = list(ACTIONS)
        self.observation_spaces, self.action_spaces = OBSERVATIONS, ACTIONS
        self.random = np.random.default_rng()

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            self.random = np.random.default_rng(seed)
        self.steps = 0
        return self.observe(), {}

    def observe(self):
        draw = self.random
        self.masks = {
            "key": some(draw, 4),
            "bolts": np.concatenate([some(draw, 2), some(draw, 3)]),
            "lamps": draw.integers(2, size=3).astype(np.int8),
            "porter": {"go": some(draw, 2), "pick": np.stack([some(draw, 3), some(draw, 3)])},
        }
        if self.steps == self.barred_at:
            self.masks["bolts"][2:] = 0
        seen = {
            "key": {"observations": draw.normal(size=2).astype(np.float32)},
            "bolts": {"observation": draw.normal(size=3).astype(np.float32)},
            "lamps": {"observations": draw.normal(size=(1, 2)).astype(np.float32)},
            "porter": {"observation": int(draw.integers(3))},
        }
        return {a: own | {"action_mask": self.masks[a]} for a, own in seen.items()}

    def step(self, action_dict):
        for agent, action in action_dict.items():
            assert ACTIONS[agent].contains(action), (agent, action)
        masks, porter = self.masks, action_dict["porter"]
        key = int(action_dict["key"]) - 1
        assert masks["key"][key]
        assert masks["bolts"][:2][action_dict["bolts"][0]]
        assert masks["bolts"][2:][action_dict["bolts"][1]]
        assert not (action_dict["lamps"] & ~masks["lamps"].astype(bool)).any()
        assert masks["porter"]["go"][porter["go"]]
        assert all(masks["porter"]["pick"][i][k] for i, k in enumerate(porter["pick"]))
        self.steps += 1
        best = max(np.flatnonzero(masks["key"]))
        done = {"__all__": self.steps == self.num_steps}
        rewards = dict.fromkeys(ACTIONS, float(key == best))
        observations = self.observe()
        if done["__all__"]:  # nobody has anything to do then
            for own in observations.values():
                mask = own["action_mask"]
                for array in mask.values() if isinstance(mask, dict) else [mask]:
                    array[:] = 0
        return observations, rewards, {"__all__": False}, done, {}


class TwinDoors(Locks):
    """A group whose two members have a mask each, beside an agent that is none."""

    agent_groups = {"doors": ("left", "right")}  # noqa: RUF012

    def __init__(self, env_config=None):
        super().__init__(env_config)
        self.agents = self.possible_agents = ["left", "right", "key"]
        door = gym.spaces.Dict({"action_mask": bits(5), "observation": box(2)})
        actions = gym.spaces.Dict({"how": gym.spaces.Discrete(3), "to": gym.spaces.Discrete(2)})
        self.observation_spaces = {"left": door, "right": door, "key": OBSERVATIONS["key"]}
        self.action_spaces = {"left": actions, "right": actions, "key": ACTIONS["key"]}

    def observe(self):
        observations = {"key": super().observe()["key"]}
        self.doors = {}
        for agent in ("left", "right"):
            mask = np.concatenate([np.eye(3, dtype=np.int8)[self.random.integers(3)], [1, 1]])
            seen = self.random.normal(size=2).astype(np.float32)
            observations[agent] = {"observation": seen, "action_mask": mask}
            self.doors[agent] = mask
        return observations

    def step(self, action_dict):
        hits = [self.doors[a][int(action_dict[a]["how"])] for a in ("left", "right")]
        assert all(hits)
        self.steps += 1
        done = {"__all__": self.steps == self.num_steps}
        reward = sum(int(action_dict[a]["to"]) for a in ("left", "right")) / 2
        return self.observe(), dict.fromkeys(action_dict, reward), {"__all__": False}, done, {}


class Rack(Locks):
    """Three entities with three choices each, of which some are allowed."""

    num_entities = 3
    entity_order = {"rack": 1}  # noqa: RUF012

    def __init__(self, env_config=None):
        super().__init__(env_config)
        self.agents = self.possible_agents = ["rack", "free"]
        rack = gym.spaces.Dict({"action_mask": bits(3, 3), "observations": box(6)})
        self.observation_spaces = {"rack": rack, "free": box(9)}
        self.action_spaces = {
            "rack": gym.spaces.MultiDiscrete([3] * 3),
            "free": gym.spaces.MultiBinary(3),
        }

    def observe(self):
        draw = self.random
        self.mask = np.stack([some(draw, 3) for _ in range(3)])
        seen = draw.normal(size=6).astype(np.float32)
        free = draw.normal(size=9).astype(np.float32)
        return {"rack": {"action_mask": self.mask, "observations": seen}, "free": free}

    def step(self, action_dict):
        assert all(self.mask[i, k] for i, k in enumerate(action_dict["rack"]))
        self.steps += 1
        done = {"__all__": self.steps == self.num_steps}
        reward = float(action_dict["rack"].sum())
        return self.observe(), dict.fromkeys(action_dict, reward), {"__all__": False}, done, {}


class BatchableLocks(Locks):
    def batched(self, num_envs):
        config = {"num_steps": self.num_steps, "barred_at": self.barred_at}
        return BatchedLocks([Locks(config) for _ in range(num_envs)])


PATHS = {
    "key": [("observations",), ("action_mask",)],
    "bolts": [("observation",), ("action_mask",)],
    "lamps": [("observations",), ("action_mask",)],
    "porter": [("observation",), ("action_mask", "go"), ("action_mask", "pick")],
}


class BatchedLocks:
    """Locks in lockstep."""

    def __init__(self, envs):
        self.envs, self.num_envs = envs, len(envs)
        self.action_spaces = ACTIONS

    def reset(self, seed=None):
        begun = seeds_of(seed, self.num_envs)
        self.returns = np.zeros(self.num_envs)
        return self._stacked([e.reset(seed=s)[0] for e, s in zip(self.envs, begun, strict=True)])

    def step(self, actions):
        results = [env.step(_of(actions, b)) for b, env in enumerate(self.envs)]
        rewards = np.array([result[1]["key"] for result in results])
        self.returns = self.returns + rewards
        return self._stacked([r[0] for r in results]), rewards, False, results[0][3]["__all__"]

    def episode_metrics(self):
        return {"reward": self.returns}

    def _stacked(self, observations):
        stacked = {}
        for agent, paths in PATHS.items():
            stacked[agent] = own = {}
            for path in paths:
                values = np.stack([leaf_of(o[agent], path) for o in observations])
                inner = own if len(path) == 1 else own.setdefault(path[0], {})
                inner[path[-1]] = values
        return stacked


def _of(actions, b):
    return {
        agent: {key: value[b] for key, value in own.items()} if isinstance(own, dict) else own[b]
        for agent, own in actions.items()
    }
