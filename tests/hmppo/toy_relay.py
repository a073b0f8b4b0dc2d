"""A team whose agents come and go, by itself and in batches."""

import gymnasium as gym
import numpy as np
from ray.rllib.env.multi_agent_env import MultiAgentEnv
from toy_teams import box, seeds_of

SIZES = {"walker": 2, "porter": 5, "guest": 3, "left": 4, "right": 4}
ACTIONS = {
    "walker": gym.spaces.Discrete(3),
    "porter": gym.spaces.MultiBinary(2),
    "guest": box(1),
    "left": gym.spaces.Dict({"to": gym.spaces.Discrete(3), "by": box(1)}),
    "right": gym.spaces.Dict({"to": gym.spaces.Discrete(3), "by": box(1)}),
}
GROUPS = {"twins": ("left", "right")}
ORDER = ("walker", "twins", "porter", "guest")
SLOTS = {
    "porter": {"walker": (0, 1, 2)},
    "guest": {"porter": (0, 1)},
}


def there(step):
    """Who is there to act in a step of the ten.

    The walker dies after three steps, the guest comes in the third, is away in every other step and
    goes with the sixth, and of the twins one, the other, both or none are there.
    """
    twins = [("left", "right"), ("left",), ("right",), ()][step % 4]
    agents = {"porter", *twins}
    if step < 3:
        agents.add("walker")
    if step >= 2 and step % 2 == 0 and step <= 6:
        agents.add("guest")
    return agents


class Relay(MultiAgentEnv):
    """All are given rewards all the time, whether they are there or not: the number of the step."""

    agent_groups = GROUPS
    agent_order = ORDER
    action_slots = SLOTS
    STEPS = 10

    def __init__(self, env_config=None):
        super().__init__()
        self.agents = self.possible_agents = list(SIZES)
        self.observation_spaces = {a: box(n) for a, n in SIZES.items()}
        self.action_spaces = ACTIONS
        self.random = np.random.default_rng()

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            self.random = np.random.default_rng(seed)
        self.steps = 0
        return self.observe(), {}

    def observe(self):
        drawn = {a: self.random.normal(size=n).astype(np.float32) for a, n in SIZES.items()}
        for observer, slots in SLOTS.items():
            for positions in slots.values():
                drawn[observer][list(positions)] = 0.0
        self.asked = there(self.steps)
        return {a: o for a, o in drawn.items() if a in self.asked}

    def step(self, action_dict):
        assert set(action_dict) == self.asked, (self.steps, set(action_dict), self.asked)
        self.steps += 1
        observations = self.observe()
        terminated = {"__all__": False}
        if self.steps == 3:  # what it sees last, it does not act on
            observations["walker"] = np.full(2, 9.0, np.float32)
            terminated["walker"] = True
        rewards = dict.fromkeys(SIZES, float(self.steps))
        if self.steps % 2:
            del rewards["guest"]
        truncated = {"__all__": self.steps == self.STEPS}
        return observations, rewards, terminated, truncated, {}


class BatchableRelay(Relay):
    def batched(self, num_envs):
        return BatchedRelay([Relay() for _ in range(num_envs)])


class BatchedRelay:
    """Relays in lockstep; what is observed of those who are not there means nothing."""

    def __init__(self, envs):
        self.envs, self.num_envs = envs, len(envs)
        self.action_spaces = ACTIONS

    def reset(self, seed=None):
        begun = seeds_of(seed, self.num_envs)
        self.returns = np.zeros(self.num_envs)
        return self._joined([e.reset(seed=s)[0] for e, s in zip(self.envs, begun, strict=True)])

    def step(self, actions):
        results = [env.step(self._single(env, actions, b)) for b, env in enumerate(self.envs)]
        rewards = np.array([sum(result[1].values()) / len(SIZES) for result in results])
        self.returns = self.returns + rewards
        observations = [r[0] for r in results]
        for own in observations:
            if not self.envs[0].asked & {"walker"}:
                own.pop("walker", None)
        return self._joined(observations), rewards, False, results[0][3]["__all__"]

    def active(self):
        asked = [env.asked for env in self.envs]
        return {
            "walker": np.array(["walker" in own for own in asked]),
            "guest": np.array(["guest" in own for own in asked]),
            "twins": np.array([["left" in own, "right" in own] for own in asked]),
        }

    def episode_metrics(self):
        return {"reward": self.returns}

    def _joined(self, observations):
        def of(agent):
            return np.stack([o.get(agent, np.full(SIZES[agent], 7.0)) for o in observations])

        twins = np.concatenate([of("left"), of("right")], axis=1)
        return {a: of(a) for a in ("walker", "porter", "guest")} | {"twins": twins}

    def _single(self, env, actions, b):
        single = {a: actions[a][b] for a in ("walker", "porter", "guest")}
        for place, agent in enumerate(GROUPS["twins"]):
            own = {key: value[b].reshape(2, -1)[place] for key, value in actions["twins"].items()}
            single[agent] = {"to": own["to"][0], "by": own["by"]}
        return {a: action for a, action in single.items() if a in env.asked}
