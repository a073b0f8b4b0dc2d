"""Small teams, environments and episodes that the tests of HMPPO share."""

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.env.multi_agent_env import MultiAgentEnv
from ray.rllib.env.multi_agent_episode import MultiAgentEpisode

from rllib_mec.envs import EnvConfig, MECEnv
from rllib_mec.hmppo import HMPPOConfig, Team
from rllib_mec.hmppo.config import module_of_agent

# Positions are scattered on purpose: a slot is where the environment says, in that order.
SLOTS = {"painter": {"leader": (3, 0, 1)}, "tail": {"leader": (1, 2, 3), "painter": (5, 0)}}
ACTIONS = {
    "leader": gym.spaces.Discrete(3),
    "painter": gym.spaces.MultiBinary(2),
    "tail": gym.spaces.Box(0.0, 1.0, (1,), np.float32),
}
SIZES = {"leader": 3, "painter": 4, "tail": 6}
AGENTS = tuple(ACTIONS)
ID_ENTRY = {"leader": 2, "painter": 2, "tail": 4}
"""An observation entry that no slot takes, for the ids of steps."""


def box(*shape):
    return gym.spaces.Box(-np.inf, np.inf, shape, np.float32)


def toy_team(slots=SLOTS, agents=AGENTS, num_entities=None):
    """A choice of three, two coins and a number, decided in that order."""
    return Team(
        agents=agents,
        observation_spaces={a: box(SIZES[a]) for a in agents},
        action_spaces={a: ACTIONS[a] for a in agents},
        slots={o: s for o, s in slots.items() if o in agents},
        num_entities=num_entities,
    )


def entity_team(num_entities):
    """Two agents whose observations and actions are sets of entities, as the MEC's are."""
    n = num_entities
    return Team(
        agents=("first", "second"),
        observation_spaces={"first": box(4 * n), "second": box(3 * n)},
        action_spaces={
            "first": gym.spaces.MultiBinary(n),
            "second": gym.spaces.Dict({"keep": gym.spaces.MultiDiscrete([2] * n), "share": box(n)}),
        },
        slots={"second": {"first": tuple(3 * i + 1 for i in range(n))}},
        num_entities=n,
    )


def random_batch(team, rows, seed=0):
    """Random observations and flat actions of every agent, (rows, ...) each."""
    generator = torch.Generator().manual_seed(seed)
    observations, actions = {}, {}
    for agent in team.agents:
        size = team.observation_size(agent)
        observations[agent] = torch.randn(rows, size, generator=generator)
        columns = []
        for leaf in team.codecs[agent].leaves:
            for choices in leaf.choices or [0] * leaf.size:
                if choices:
                    columns.append(torch.randint(choices, (rows,), generator=generator).float())
                else:
                    columns.append(torch.randn(rows, generator=generator))
        actions[agent] = torch.stack(columns, dim=-1)
    return observations, actions


def seeds_of(seed, count):
    """Seeds of so many environments in a batch, from what BatchedEnv.reset takes."""
    if isinstance(seed, list):
        return [own for each in seed for own in seeds_of(each, count // len(seed))]
    if isinstance(seed, np.random.SeedSequence):
        return [int(own) for own in seed.generate_state(count)]
    return [None if seed is None else seed + index for index in range(count)]


class MobileEdge(MECEnv):
    """The MEC environment under a class, which needs no registration (nor Ray)."""

    def __init__(self, env_config=None):
        super().__init__(EnvConfig.of(env_config).scenario)


class CopyEnv(MultiAgentEnv):
    """Each agent is to copy what only the agent before it knows.

    The leader sees a random target, 0, 1 or 2, and gets a third of the reward for naming it. The
    painter gets a third for painting what the leader named: 0 is (0, 0), 1 is (0, 1), 2 is
    (1, 1). The tail gets up to a third for the distance of its number to the first coin. The last
    two see nothing but slots: without those no policy gets more than 1/3 + 1/9 + 2/9 = 2/3 a step,
    with them 1.
    """

    agent_order = AGENTS
    action_slots = SLOTS
    PAINTINGS = ((0, 0), (0, 1), (1, 1))

    def __init__(self, env_config=None):
        super().__init__()
        config = dict(env_config or {})
        self.num_steps = config.get("num_steps", 8)
        self.agents = self.possible_agents = list(reversed(AGENTS))
        self.observation_spaces = {a: box(SIZES[a]) for a in AGENTS}
        self.action_spaces = ACTIONS
        self.random = np.random.default_rng()

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            self.random = np.random.default_rng(seed)
        self.steps = 0
        return self.observe(), {}

    def observe(self):
        self.target = int(self.random.integers(3))
        observations = {a: np.zeros(SIZES[a], np.float32) for a in AGENTS}
        observations["leader"][self.target] = 1.0
        return observations

    def step(self, action_dict):
        named, painted = int(action_dict["leader"]), tuple(action_dict["painter"])
        assert all(ACTIONS[agent].contains(action_dict[agent]) for agent in AGENTS)
        hits = [named == self.target, painted == self.PAINTINGS[named]]
        hits.append(1.0 - abs(float(action_dict["tail"][0]) - painted[0]))
        self.steps += 1
        done = self.steps == self.num_steps
        rewards = dict.fromkeys(AGENTS, sum(hits) / 3)
        ends = dict.fromkeys((*AGENTS, "__all__"), done)
        never = dict.fromkeys((*AGENTS, "__all__"), False)
        return self.observe(), rewards, never, ends, {}


def toy_config(env=CopyEnv, env_config=None, **training):
    """A small and fast HMPPO, local, with CopyEnv unless told otherwise."""
    defaults = {
        "train_batch_size_per_learner": 64,
        "minibatch_size": 32,
        "num_epochs": 2,
        "lr": 3e-3,
    }
    return (
        HMPPOConfig()
        .environment(env, env_config=env_config or {})
        .env_runners(num_env_runners=0, num_envs_per_env_runner=4)
        .rl_module(model_config={"fcnet_hiddens": [16]})
        .training(**defaults | training)
        .debugging(seed=1, log_level="ERROR")
    )


def toy_learner(config=None):
    """A learner without an algorithm around it (and without Ray)."""
    config = config or toy_config()
    config.validate()
    return config.build_learner()


def toy_episode(team, steps, *, policy=None, rewards=None, ids=None, seed=0, end=None):
    """An episode of random observations, as an environment runner would return it.

    Args:
        policy: a JointPolicy that chooses the actions; without one, they are random.
        rewards: the reward of each step (default random), the same for all agents.
        ids: one for each observation, written to every agent's ID_ENTRY.
        end: "terminated", "truncated" or None, cut.
    """
    observations, actions = random_batch(team, steps + 1, seed)
    if ids is not None:
        for agent, entry in ID_ENTRY.items():
            observations[agent][:, entry] = torch.as_tensor(ids, dtype=torch.float32)
    log_probs = {a: -torch.rand(steps + 1) for a in team.agents}
    parameters = {a: torch.randn(steps + 1, team.codecs[a].num_parameters) for a in team.agents}
    if policy is not None:
        actions, log_probs, parameters = policy.act(observations, explore=True)
    if rewards is None:
        rewards = np.random.default_rng(seed).normal(size=steps)
    structured = {a: team.codecs[a].unflatten(actions[a]) for a in team.agents}
    episode = MultiAgentEpisode(agent_to_module_mapping_fn=module_of_agent)
    episode.add_env_reset(observations={a: o[0].numpy() for a, o in observations.items()})
    for t in range(steps):
        done = {"__all__": end is not None and t == steps - 1}
        episode.add_env_step(
            observations={a: o[t + 1].numpy() for a, o in observations.items()},
            actions={a: row_of(structured[a], t) for a in team.agents},
            rewards={a: float(rewards[t]) for a in team.agents},
            infos={a: {} for a in team.agents},
            terminateds=done if end == "terminated" else {"__all__": False},
            truncateds=done if end == "truncated" else {"__all__": False},
            extra_model_outputs={
                a: {
                    Columns.ACTION_LOGP: float(log_probs[a][t]),
                    Columns.ACTION_DIST_INPUTS: parameters[a][t].numpy(),
                }
                for a in team.agents
            },
        )
    return episode.to_numpy()


def row_of(values, index):
    """Row ``index`` of an array, or of each array in a dict or tuple."""
    if isinstance(values, dict):
        return {key: row_of(value, index) for key, value in values.items()}
    if isinstance(values, tuple):
        return tuple(row_of(value, index) for value in values)
    return np.asarray(values[index])
