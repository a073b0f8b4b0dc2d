"""What environments have to say and show, and the one line where they do not."""

import gymnasium as gym
import numpy as np
import pytest
from ray.rllib.env.multi_agent_env import MultiAgentEnv
from toy_teams import box, toy_config

from rllib_mec.errors import InputError
from rllib_mec.hmppo import Team

WRONG = {
    "shape": (box(3), lambda: np.zeros(4), r"observation of b = array\(.*\): expected one in Box"),
    "nothing": (box(3), lambda: None, r"observation of b = None: expected one in Box"),
    "mask": (
        gym.spaces.Dict({"action_mask": gym.spaces.Box(0, 1, (2,)), "observation": box(3)}),
        lambda: {"action_mask": np.ones(3), "observation": np.zeros(3)},
        "action_mask of b has 3 entries: expected 2",
    ),
    "no mask": (
        gym.spaces.Dict({"action_mask": gym.spaces.Box(0, 1, (2,)), "observation": box(3)}),
        lambda: {"observation": np.zeros(3)},
        r"observation of b = .*: expected one with \['action_mask'\]",
    ),
    "part": (
        gym.spaces.Tuple([box(3), gym.spaces.Discrete(3)]),
        lambda: (np.zeros(2), 1),
        r"observation of b\[0\] = array\(.*\): expected one in Box",
    ),
}


class Showing(MultiAgentEnv):
    """Two agents who see what they should at first, and later what the env_config says."""

    def __init__(self, env_config):
        super().__init__()
        self.agents = self.possible_agents = ["a", "b"]
        self.later = env_config["later"]
        self.observation_spaces = dict.fromkeys(self.agents, env_config["space"])
        self.action_spaces = dict.fromkeys(self.agents, gym.spaces.Discrete(2))

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        first = {a: space.sample() for a, space in self.observation_spaces.items()}
        for own in first.values():
            if isinstance(own, dict):
                own["action_mask"][:] = 1
        self.first = first
        return first, {}

    def step(self, action_dict):
        self.steps += 1
        observed = {"a": self.first["a"], "b": self.later() if self.steps > 1 else self.first["b"]}
        return observed, dict.fromkeys("ab", 1.0), {"__all__": False}, {"__all__": False}, {}


def runner_of(space, later):
    config = toy_config(Showing, env_config={"space": space, "later": later})
    config.environment(disable_env_checking=True)
    config.validate()
    return config.env_runner_cls(config=config)


@pytest.mark.parametrize("name", WRONG)
def test_an_observation_that_is_none_of_its_space_is_named(name):
    space, later, message = WRONG[name]
    runner = runner_of(space, later)
    with pytest.raises(ValueError, match=message):
        runner.sample(num_timesteps=16)


def test_a_tuple_may_be_given_as_a_list():
    space = gym.spaces.Tuple([box(3), gym.spaces.Discrete(3)])
    runner = runner_of(space, lambda: [np.full(3, 5.0), 2])
    [episode, *_] = runner.sample(num_timesteps=16)
    assert episode.agent_episodes["b"].get_observations(-1).tolist() == [5, 5, 5, 0, 0, 1]


def test_environments_have_to_say_who_sees_and_does_what():
    class OneForAll(Showing):
        def __init__(self, env_config):
            super().__init__(env_config)
            self.observation_spaces, self.observation_space = None, env_config["space"]

    class Nobody(Showing):
        def __init__(self, env_config):
            super().__init__(env_config)
            self.possible_agents = []

    for env, message in (
        (OneForAll, "observation_spaces of OneForAll lack a, b: expected {agent: space} of all"),
        (Nobody, r"possible_agents of Nobody = \[\]: expected the ids of all agents"),
    ):
        with pytest.raises(InputError, match=message):
            Team.of_env(env({"space": box(3), "later": None}))
    with pytest.raises(InputError, match=r"observation space of a = .*: expected a number"):
        Team.of_env(Showing({"space": box(0), "later": None}))
