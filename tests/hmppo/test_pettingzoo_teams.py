"""PettingZoo's environments: agents that take turns, are masked, die and come late."""

import functools
import sys
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pettingzoo
import pytest
from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv, PettingZooEnv
from ray.tune.registry import register_env
from toy_teams import box, toy_config

from rllib_mec.experiment import environments
from rllib_mec.experiment.evaluate import evaluate

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_session")]

TICTACTOE = "pettingzoo:pettingzoo.classic.tictactoe_v3"


def config_of(name, **training):
    environments.resolve(name).register()
    return toy_config(name, train_batch_size_per_learner=96, **training)


def test_agents_are_in_the_order_of_the_environment():
    """RLlib's wrappers take them from a set, whose order differs between processes."""
    env = environments.resolve(TICTACTOE).check({})
    assert isinstance(env, PettingZooEnv)
    assert env.possible_agents == env.agents == ["player_1", "player_2"]
    env = environments.resolve("pettingzoo:pettingzoo.classic.rps_v2").check({})
    assert isinstance(env, ParallelPettingZooEnv)
    assert env.possible_agents == ["player_0", "player_1"]


def test_a_game_of_turns_with_masks_trains_and_is_scored(build, tmp_path):
    """Whoever takes a field that is taken loses one, without another to win it: the sum tells."""
    config = config_of(TICTACTOE)
    config.reporting(metrics_num_episodes_for_smoothing=1000)
    algorithm = build(config)
    for iteration in range(1, 4):
        results = algorithm.train()
        sampled = results["env_runners"]
        # Exactly one of the two moves in a step.
        steps = sampled["num_env_steps_sampled_lifetime"]
        assert steps >= 96 * iteration
        moves = sampled["num_agent_steps_sampled_lifetime"]
        assert sum(moves.values()) == steps
        assert moves["player_1"] > moves["player_2"] > 0
        assert sampled["episode_metrics"]["reward"] == 0
        assert 5 <= sampled["episode_len_mean"] <= 9
        for agent in ("player_1", "player_2", "central_critic"):
            assert np.isfinite(results["learners"][agent]["total_loss"])
    path = str(tmp_path / "checkpoint")
    algorithm.save_to_path(path)
    for explore in (False, True):
        scores = evaluate(path, None, {}, 10, 0, trust=True, explore=explore)
        assert scores["reward"].tolist() == [0] * 10
    again = build(config_of(TICTACTOE))
    again.restore_from_path(path)
    ours, theirs = (own.learner_group.get_weights() for own in (algorithm, again))
    for module_id, weights in ours.items():
        for name, values in weights.items():
            np.testing.assert_array_equal(values, theirs[module_id][name])


def test_players_who_take_turns_may_share_an_actor(build, tmp_path):
    algorithm = build(config_of(TICTACTOE, agent_groups="alike"))
    results = algorithm.train()
    assert set(results["learners"]) == {"player", "central_critic", "__all_modules__"}
    sampled = results["env_runners"]
    moves = sampled["num_agent_steps_sampled_lifetime"]
    assert sum(moves.values()) == sampled["num_env_steps_sampled_lifetime"] >= 96
    assert moves["player_1"] > moves["player_2"] > 0
    assert sampled["episode_metrics"]["reward"] == 0
    algorithm.save_to_path(str(tmp_path / "checkpoint"))
    scores = evaluate(str(tmp_path / "checkpoint"), None, {}, 5, 0, trust=True)
    assert scores["reward"].tolist() == [0] * 5


def test_random_play_keeps_to_the_masks():
    scores = evaluate("random", TICTACTOE, {}, 20, 0)["reward"]
    assert scores.tolist() == [0] * 20


class Visit(pettingzoo.ParallelEnv):
    """Of three who may come two do; after four steps one is done and the other sent home."""

    metadata = {"name": "visit"}  # noqa: RUF012
    possible_agents = ["host", "guest", "stranger"]  # noqa: RUF012

    @functools.cache  # noqa: B019
    def observation_space(self, agent):
        return box(2)

    @functools.cache  # noqa: B019
    def action_space(self, agent):
        return gym.spaces.Discrete(2)

    def observe(self):
        return {agent: np.ones(2, np.float32) for agent in self.agents}

    def reset(self, seed=None, options=None):
        self.step_number, self.agents = 0, ["host", "guest"]
        return self.observe(), {}

    def step(self, actions):
        assert set(actions) == set(self.agents) != set()
        self.step_number += 1
        over = self.step_number == 4
        ends = [{a: over and a == who for a in self.agents} for who in ("host", "guest")]
        results = self.observe(), dict.fromkeys(self.agents, 1.5), *ends, {}
        if over:
            self.agents = []
        return results


@pytest.mark.parametrize("target", ["random", "HMPPO"])
def test_an_episode_ends_with_those_who_came(build, tmp_path, monkeypatch, target):
    monkeypatch.setitem(sys.modules, "visits", SimpleNamespace(parallel_env=Visit))
    if target == "HMPPO":
        algorithm = build(config_of("pettingzoo:visits"))
        algorithm.train()
        target = str(tmp_path / "checkpoint")
        algorithm.save_to_path(target)
    scores = evaluate(target, "pettingzoo:visits", {}, 3, 0, trust=True)
    assert scores["reward"].tolist() == [4.0] * 3


def test_random_play_asks_nobody_who_has_ended(monkeypatch):
    """The environment asserts that nobody else acts."""
    monkeypatch.setitem(sys.modules, "shifts", SimpleNamespace(parallel_env=Shifts))
    scores = evaluate("random", "pettingzoo:shifts", {}, 3, 0)
    assert scores["reward"].shape == (3,)


def test_a_parallel_game_of_discrete_observations_trains(build):
    algorithm = build(config_of("pettingzoo:pettingzoo.classic.rps_v2"))
    for _ in range(2):
        results = algorithm.train()
    assert results["env_runners"]["episode_metrics"]["reward"] == 0
    assert np.isfinite(results["learners"]["central_critic"]["vf_loss"])


class Shifts(pettingzoo.ParallelEnv):
    """Two of three workers are there in each step; in the end one is told off, the other sent home.

    Each is paid 1 for doing what it sees, of 2.
    """

    metadata = {"name": "shifts"}  # noqa: RUF012
    possible_agents = ["early", "late", "always"]  # noqa: RUF012

    @functools.cache  # noqa: B019
    def observation_space(self, agent):
        return gym.spaces.Dict({"action_mask": box(3), "observation": box(2)})

    @functools.cache  # noqa: B019
    def action_space(self, agent):
        return gym.spaces.Discrete(3)

    def reset(self, seed=None, options=None):
        self.random = np.random.default_rng(seed)
        self.step_number, self.agents = 0, ["early", "always"]
        return self.observe(), {}

    def observe(self):
        self.wanted = {agent: int(self.random.integers(2)) for agent in self.agents}
        mask = np.array([1, 1, 0], np.float32)
        return {
            agent: {"action_mask": mask, "observation": np.eye(2, dtype=np.float32)[wanted]}
            for agent, wanted in self.wanted.items()
        }

    def step(self, actions):
        assert actions.keys() == self.wanted.keys()
        assert all(action != 2 for action in actions.values())
        rewards = {a: 3 / 2 * (actions[a] == wanted) for a, wanted in self.wanted.items()}
        self.step_number += 1
        terminated, truncated = dict.fromkeys(self.agents, False), dict.fromkeys(self.agents, False)
        if self.step_number == 4:
            self.agents.append("late")
            terminated["early"] = True
            terminated["late"] = truncated["late"] = False
            rewards["late"] = 0.0
        if self.step_number == 8:
            terminated["late"] = truncated["always"] = True
        observations = self.observe()
        self.agents = [a for a in self.agents if not (terminated[a] or truncated[a])]
        self.wanted = {a: self.wanted[a] for a in self.agents}
        return observations, rewards, terminated, truncated, {a: {} for a in observations}


@pytest.mark.parametrize("critic", ["decision_point", "separate"])
def test_agents_that_die_and_come_late_learn(build, critic):
    """At random half of what is wanted is done; all of it is 1 in each of the eight steps."""

    def make(config):
        env = ParallelPettingZooEnv(Shifts())
        every = Shifts.possible_agents
        env.possible_agents = env.agents = every
        env.observation_spaces = {a: env.par_env.observation_space(a) for a in every}
        env.action_spaces = {a: env.par_env.action_space(a) for a in every}
        return env

    register_env("shifts", make)
    config = toy_config("shifts", train_batch_size_per_learner=320, minibatch_size=80, lr=1e-2)
    config.training(num_epochs=6, gamma=0.0, critic=critic)
    algorithm = build(config.env_runners(num_envs_per_env_runner=8))
    results = [algorithm.train()["env_runners"] for _ in range(10)]
    assert all(own["episode_len_mean"] == 8 for own in results)
    rewards = [own["episode_metrics"]["reward"] / 8 for own in results]
    assert rewards[0] < 0.7
    assert rewards[-1] > 0.9
    # Four of eight steps each, and all eight.
    steps = results[-1]["num_agent_steps_sampled_lifetime"]
    assert steps == {"early": 1600, "late": 1600, "always": 3200}
