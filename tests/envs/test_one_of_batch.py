"""A batched environment as RLlib's MultiAgentEnv."""

import gymnasium as gym
import numpy as np

from rllib_mec.envs.one_of_batch import OneOfBatch


class Market:
    """A group of two sellers, of which the second is away at first, and a buyer with a Dict to see.

    Everybody is given what he has done.
    """

    agent_groups = {"sellers": ("anna", "bert")}  # noqa: RUF012

    def __init__(self, num_envs):
        self.num_envs, self.steps = num_envs, 0
        stall = gym.spaces.Box(-1.0, 1.0, (2, 1), np.float32)
        wish = gym.spaces.Dict(
            {"price": gym.spaces.Box(0, 9, (1,)), "kind": gym.spaces.Discrete(3)}
        )
        self.observation_spaces = {"anna": stall, "bert": stall, "carl": wish}
        self.action_spaces = {
            **dict.fromkeys(("anna", "bert"), gym.spaces.Discrete(4)),
            "carl": gym.spaces.Dict({"buys": gym.spaces.Tuple([gym.spaces.Discrete(5)])}),
        }

    def observe(self):
        batch = self.num_envs
        return {
            "sellers": np.tile(np.arange(4, dtype=np.float32) / 4, (batch, 1)),
            "carl": {
                "price": np.full((batch, 1), 7, np.float32),
                "kind": np.full(batch, self.steps),
            },
        }

    def reset(self, seed=None):
        self.steps = 0
        return self.observe()

    def active(self):
        return {"sellers": np.array([[True, self.steps > 0]] * self.num_envs)}

    def state(self):
        return np.full((self.num_envs, 2), float(self.steps))

    def rewards(self):
        return {"sellers": self.sold, "carl": self.bought}

    def step(self, actions):
        self.steps += 1
        self.sold = np.asarray(actions["sellers"], float)
        self.bought = np.asarray(actions["carl"]["buys"][0], float)
        reward = (self.sold.sum(axis=1) + self.bought) / 3
        return self.observe(), reward, self.steps == 2, False

    def episode_metrics(self):
        return {"reward": np.full(self.num_envs, 5.0)}


class Crews(Market):
    """A group that sees a Dict with a mask, and acts by a Dict in an order of its own."""

    def __init__(self, num_envs):
        self.num_envs, self.steps = num_envs, 0
        seen = gym.spaces.Dict(
            {"action_mask": gym.spaces.Box(0, 1, (5,)), "observation": gym.spaces.Discrete(7)}
        )
        act = gym.spaces.Dict(turn=gym.spaces.Discrete(3), fire=gym.spaces.MultiBinary(2))
        self.observation_spaces = dict.fromkeys(("anna", "bert"), seen)
        self.action_spaces = dict.fromkeys(("anna", "bert"), act)

    def observe(self):
        masks = np.arange(10, dtype=np.float32).reshape(1, 2, 5).repeat(self.num_envs, 0)
        return {
            "sellers": {"action_mask": masks, "observation": np.array([[3, 4]] * self.num_envs)}
        }

    def active(self):
        return {"sellers": np.ones((self.num_envs, 2), bool)}

    def rewards(self):
        return {"sellers": np.zeros((self.num_envs, 2))}

    def step(self, actions):
        self.given = actions["sellers"]
        return self.observe(), np.zeros(self.num_envs), False, False


def test_members_of_a_group_may_see_and_do_what_is_structured():
    env = OneOfBatch(Crews)
    observed, _ = env.reset()
    assert observed["bert"]["observation"] == 4
    assert observed["bert"]["action_mask"].tolist() == [5, 6, 7, 8, 9]
    assert env.observation_spaces["anna"]["observation"].contains(observed["anna"]["observation"])
    fire = np.array([1, 0], np.int8)
    env.step({"anna": {"turn": 2, "fire": fire}, "bert": {"turn": 1, "fire": 1 - fire}})
    given = env._one.given
    assert list(given) == ["turn", "fire"]
    assert given["turn"].tolist() == [[2, 1]]
    assert given["fire"].tolist() == [[1, 0, 0, 1]]


def test_agents_see_and_are_given_what_is_theirs():
    env = OneOfBatch(Market)
    seen, _ = env.reset(seed=0)
    assert set(seen) == {"anna", "carl"}
    np.testing.assert_array_equal(seen["anna"], [[0.0], [0.25]])
    assert all(env.observation_spaces[agent].contains(own) for agent, own in seen.items())
    assert env.state().tolist() == [0.0, 0.0]
    seen, rewards, ended, cut, infos = env.step({"anna": 3, "carl": {"buys": (4,)}})
    assert set(seen) == {"anna", "bert", "carl"}
    np.testing.assert_array_equal(seen["bert"], [[0.5], [0.75]])
    assert rewards == {"anna": 3.0, "bert": 0.0, "carl": 4.0}
    assert (ended, cut, infos) == ({"__all__": False}, {"__all__": False}, {})
    _, rewards, ended, _, infos = env.step({"anna": 1, "bert": 2, "carl": {"buys": (0,)}})
    assert rewards == {"anna": 1.0, "bert": 2.0, "carl": 0.0}
    assert ended == {"__all__": True}
    assert infos["bert"] == {"episode_metrics": {"reward": 5.0}}


def test_there_is_no_state_where_there_is_none():
    class Without(Market):
        state = property()

    assert not hasattr(OneOfBatch(Without), "state")
