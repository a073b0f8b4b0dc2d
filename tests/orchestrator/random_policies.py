"""Policies with random weights, of environments with every kind of action, and without Ray."""

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rllib_mec.baselines import IPPOConfig
from rllib_mec.hmppo import HMPPOConfig
from rllib_mec.registry import register
from rllib_mec.sabppo import SABPPOConfig

ALGORITHMS = {"HMPPO": HMPPOConfig, "IPPO": IPPOConfig, "SABPPO": SABPPOConfig}


def seen(*shape):
    return gym.spaces.Box(-np.inf, np.inf, shape, np.float32)


class Silent(MultiAgentEnv):
    """An environment of which only the spaces matter."""

    def __init__(self, env_config=None):
        super().__init__()
        self.agents = self.possible_agents = list(self.action_spaces)

    def reset(self, *, seed=None, options=None):
        return {a: np.zeros(s.shape, s.dtype) for a, s in self.observation_spaces.items()}, {}

    def step(self, action_dict):
        never = {"__all__": False}
        return self.reset()[0], dict.fromkeys(self.possible_agents, 0.0), never, never, {}


class Kinds(Silent):
    """Three agents in order, with all kinds of actions; the later ones see what the first did."""

    agent_order = ("first", "mixed", "last one/2")
    action_slots = {  # noqa: RUF012
        "mixed": {"first": (4, 0, 1)},
        "last one/2": {"mixed": tuple(range(2, 14)), "first": (14, 15, 16)},
    }
    action_spaces = {  # noqa: RUF012
        "first": gym.spaces.Discrete(3, start=5),
        "mixed": gym.spaces.Dict(
            {
                "coins": gym.spaces.MultiBinary((2, 2)),
                "both": gym.spaces.Tuple(
                    [
                        gym.spaces.MultiDiscrete([3, 2], start=[1, 0]),
                        gym.spaces.Box(
                            np.array([-5, 0], np.float32), np.array([1, 0.5], np.float32)
                        ),
                    ]
                ),
                "free": gym.spaces.Box(-np.inf, np.inf, (1,), np.float32),
            }
        ),
        "last one/2": gym.spaces.MultiDiscrete([2, 2]),
    }
    observation_spaces = {  # noqa: RUF012
        "first": gym.spaces.Box(-1, 1, (2, 3), np.float32),
        "mixed": seen(6),
        "last one/2": seen(20),
    }


class Parties(Silent):
    """Two groups of two members, and a chief who sees what the second does."""

    agent_order = ("scouts", "porters", "chief")
    agent_groups = {"scouts": ("s1", "s0"), "porters": ("p0", "p1")}  # noqa: RUF012
    action_slots = {  # noqa: RUF012
        "porters": {"scouts": (1, 2, 3, 7, 8, 9)},
        "chief": {"porters": tuple(range(2, 14))},
    }
    action_spaces = {  # noqa: RUF012
        **dict.fromkeys(("s0", "s1"), gym.spaces.Discrete(3)),
        **dict.fromkeys(
            ("p0", "p1"),
            gym.spaces.Dict(
                {
                    "bags": gym.spaces.MultiDiscrete([2, 3]),
                    "share": gym.spaces.Box(0.0, 1.0, (1,), np.float32),
                }
            ),
        ),
        "chief": gym.spaces.Discrete(2),
    }
    observation_spaces = {  # noqa: RUF012
        **dict.fromkeys(("s0", "s1"), seen(4)),
        **dict.fromkeys(("p0", "p1"), seen(6)),
        "chief": seen(15),
    }


class Choosers(Silent):
    """Four entities with a choice among three each, and another agent who sees the choices."""

    num_entities = 4
    agent_order = ("choosers", "others")
    entity_order = {"choosers": 1}  # noqa: RUF012
    action_slots = {"others": {"choosers": tuple(i * 5 + k for i in range(4) for k in range(3))}}  # noqa: RUF012
    action_spaces = {  # noqa: RUF012
        "choosers": gym.spaces.MultiDiscrete([3] * 4),
        "others": gym.spaces.Box(0.0, 2.0, (4,), np.float32),
    }
    observation_spaces = {"choosers": seen(12), "others": seen(20)}  # noqa: RUF012


class OneAgent(Silent):
    """All kinds of branches."""

    action_spaces = {  # noqa: RUF012
        "one": gym.spaces.Dict(
            {
                "choices": gym.spaces.MultiDiscrete([3, 4]),
                "coins": gym.spaces.MultiBinary(2),
                "numbers": gym.spaces.Box(-2.0, 1.0, (2,), np.float32),
            }
        )
    }
    observation_spaces = {"one": seen(9)}  # noqa: RUF012


class Watchers(Silent):
    """A group of two who see images, and an agent who sees one, too."""

    agent_order = ("twins", "guard")
    agent_groups = {"twins": ("left", "right")}  # noqa: RUF012
    action_spaces = {  # noqa: RUF012
        **dict.fromkeys(("left", "right"), gym.spaces.MultiBinary(2)),
        "guard": gym.spaces.Box(-1.0, 1.0, (2,), np.float32),
    }
    observation_spaces = dict.fromkeys(action_spaces, seen(10, 10, 2))


class OneWatcher(Silent):
    """One agent with branches who sees an image."""

    action_spaces = {"one": gym.spaces.MultiDiscrete([3, 4])}  # noqa: RUF012
    observation_spaces = {"one": seen(6, 5, 1)}  # noqa: RUF012


def policy_of(algorithm, env, env_config=None, model=None, observation_filter=None, **training):
    """A policy with random weights; ``env`` is a class, or ``mec`` or ``fedpeat``."""
    register()
    config = ALGORITHMS[algorithm]().environment(env, env_config=env_config or {})
    config.env_runners(
        num_env_runners=0, observation_filter="MeanStdFilter" if observation_filter else "NoFilter"
    )
    config.rl_module(model_config={"fcnet_hiddens": [16, 12]} | (model or {}))
    config.training(**training)
    config.validate()
    generator = torch.Generator().manual_seed(0)
    policy = config.get_multi_rl_module_spec(inference_only=True).build()
    for agent in policy.team.agents:
        actor = policy[agent]
        for value in actor.parameters():
            # Small biases, so that all decisions hang on what is observed.
            std = 0.7 if value.dim() > 1 else 0.1
            if value.dim() > 1 and value[0].numel() > 50:  # of images: so many numbers
                std = 1.5 * value[0].numel() ** -0.5
            torch.nn.init.normal_(value, std=std, generator=generator)
        if actor.filter is not None:
            observations = 0.3 + torch.randn(500, actor.filter.mean.numel(), generator=generator)
            for positions in policy.team.slots.get(agent, {}).values():
                # Environments leave slots empty.
                observations[:, [at % observations.shape[1] for at in positions]] = 0.0
            actor.filter.track(observations)
    return policy
