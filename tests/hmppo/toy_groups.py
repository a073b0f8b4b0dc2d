"""A team with groups: three scouts, two porters and a chief, who is no group."""

import gymnasium as gym
import numpy as np
from ray.rllib.env.multi_agent_env import MultiAgentEnv
from toy_teams import box

# Not in the order of their names, nor in that of the environment's agents.
SCOUTS = ("scout_c", "scout_a", "scout_b")
PORTERS = ("porter_1", "porter_0")
MEMBERS = {"scouts": SCOUTS, "porters": PORTERS}
SIZES = {"scouts": 7, "porters": 7, "chief": 11}
ACTIONS = {
    "scouts": gym.spaces.Discrete(3),
    "porters": gym.spaces.Dict(
        {"bags": gym.spaces.MultiDiscrete([2, 3]), "share": gym.spaces.Box(0.0, 1.0, (1,))}
    ),
    "chief": gym.spaces.Discrete(2),
}


class Crew(MultiAgentEnv):
    """Scouts are to name what each of them alone sees; whoever is confused with another shows.

    Observations begin with the member's place in its group, one-hot for scouts.
    """

    agent_groups = MEMBERS
    agent_order = ("scouts", "porters", "chief")
    others = ("chief",)
    action_slots = {  # noqa: RUF012
        "porters": {"scouts": (2, 3, 4, 5, 6, 9, 10, 11, 12)},
        "chief": {"scouts": tuple(range(2, 11))},
    }

    def __init__(self, env_config=None):
        super().__init__()
        self.num_steps = dict(env_config or {}).get("num_steps", 8)
        self.scouts, self.porters = self.agent_groups["scouts"], self.agent_groups["porters"]
        self.agents = self.possible_agents = [*self.others, *sorted(self.scouts + self.porters)]
        group_of = {agent: group for group, ids in self.agent_groups.items() for agent in ids}
        self.observation_spaces = {a: box(SIZES[group_of.get(a, a)]) for a in self.possible_agents}
        self.action_spaces = {a: ACTIONS[group_of.get(a, a)] for a in self.possible_agents}
        self.random = np.random.default_rng()

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            self.random = np.random.default_rng(seed)
        self.steps = 0
        return self.observe(), {}

    def observe(self):
        self.targets = self.random.integers(3, size=3)
        observations = {
            a: np.zeros(s.shape, np.float32) for a, s in self.observation_spaces.items()
        }
        for place, scout in enumerate(self.scouts):
            observations[scout][place] = 1.0
            observations[scout][3 + self.targets[place]] = 1.0
        for place, porter in enumerate(self.porters):
            observations[porter][:2] = place, self.random.normal()
        for other in self.others:
            observations[other][0] = self.random.normal()
        return observations

    def step(self, action_dict):
        assert set(action_dict) == set(self.possible_agents)
        for agent, action in action_dict.items():
            assert self.action_spaces[agent].contains(action), (agent, action)
        self.taken = action_dict
        hits = [int(action_dict[a]) == t for a, t in zip(self.scouts, self.targets, strict=False)]
        loads = [
            (place + 1) * float(action_dict[a]["share"][0]) + int(action_dict[a]["bags"][1])
            for place, a in enumerate(self.porters)
        ]
        loads += [int(action_dict[other]) for other in self.others]
        reward = sum(hits) / len(hits) + 0.01 * sum(loads)
        self.steps += 1
        done = {"__all__": self.steps == self.num_steps}
        rewards = dict.fromkeys(self.possible_agents, reward)
        return self.observe(), rewards, {"__all__": False}, done, {}

    def batched(self, num_envs):
        return BatchedCrew([type(self)({"num_steps": self.num_steps}) for _ in range(num_envs)])


class BatchedCrew:
    """Crews in lockstep, with arrays of whole groups."""

    def __init__(self, envs):
        self.envs, self.num_envs = envs, len(envs)

    def reset(self, seed=None):
        # With several seeds: as many environments for each.
        seeds = seed if isinstance(seed, list) else [seed]
        each = self.num_envs // len(seeds)
        begun = [None if s is None else 1000 * k + s for s in seeds for k in range(each)]
        self.returns = np.zeros(self.num_envs)
        return self._grouped(
            [env.reset(seed=s)[0] for env, s in zip(self.envs, begun, strict=True)]
        )

    def step(self, actions):
        results = [env.step(self._single(actions, b)) for b, env in enumerate(self.envs)]
        rewards = np.array([next(iter(result[1].values())) for result in results])
        self.returns += rewards
        return self._grouped([r[0] for r in results]), rewards, False, results[0][3]["__all__"]

    def episode_metrics(self):
        return {"reward": self.returns}

    def _grouped(self, observations):
        others = self.envs[0].others
        stacked = {other: np.stack([own[other] for own in observations]) for other in others}
        for group, ids in self.envs[0].agent_groups.items():
            stacked[group] = np.stack([np.concatenate([o[a] for a in ids]) for o in observations])
        return stacked

    def _single(self, actions, b):
        single = {other: actions[other][b] for other in self.envs[0].others}
        for group, ids in self.envs[0].agent_groups.items():
            for place, agent in enumerate(ids):
                own = _of_member(actions[group], b, place, len(ids))
                single[agent] = own[0] if group == "scouts" else own
        return single


def _of_member(actions, b, place, count):
    if isinstance(actions, dict):
        return {key: _of_member(own, b, place, count) for key, own in actions.items()}
    return actions[b].reshape(count, -1)[place]


class Pairs(Crew):
    """Two scouts, two porters and no one else: groups of as many members."""

    agent_groups = {"scouts": SCOUTS[:2], "porters": PORTERS}  # noqa: RUF012
    agent_order = ("scouts", "porters")
    others = ()
    action_slots = {"porters": {"scouts": (2, 3, 4, 9, 10, 11)}}  # noqa: RUF012
