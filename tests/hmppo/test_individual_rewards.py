"""Agents that learn from what they are given themselves, each with a critic of its own."""

import gymnasium as gym
import numpy as np
import pytest
from learners import batch_for, build
from ray.rllib.env.multi_agent_env import MultiAgentEnv
from ray.rllib.evaluation.postprocessing import Postprocessing
from toy_relay import BatchableRelay
from toy_teams import box, seeds_of, toy_config

from rllib_mec.baselines import IPPOConfig
from rllib_mec.errors import InputError
from rllib_mec.hmppo.learning.episodes_to_team_batch import TEAM_BATCH, EpisodesToTeamBatch
from rllib_mec.hmppo.team_batch import TeamBatch

PAIR = ("left", "right")
AGENTS = ("solo", *PAIR)


class Rivals(MultiAgentEnv):
    """Each gets what it hits, less what the others hit on average: together they get nothing."""

    agent_groups = {"pair": PAIR}  # noqa: RUF012

    def __init__(self, env_config=None):
        super().__init__()
        self.agents = self.possible_agents = list(AGENTS)
        self.observation_spaces = dict.fromkeys(AGENTS, box(2))
        self.action_spaces = dict.fromkeys(AGENTS, gym.spaces.Discrete(2))
        self.random = np.random.default_rng()

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            self.random = np.random.default_rng(seed)
        self.steps = 0
        return self.observe(), {}

    def observe(self):
        self.targets = {agent: int(self.random.integers(2)) for agent in AGENTS}
        return {agent: np.eye(2, dtype=np.float32)[t] for agent, t in self.targets.items()}

    def step(self, action_dict):
        self.hits = {a: float(action_dict[a] == t) for a, t in self.targets.items()}
        total = sum(self.hits.values())
        self.given = {a: hit - (total - hit) / 2 for a, hit in self.hits.items()}
        self.steps += 1
        done = {"__all__": self.steps == 5}
        return self.observe(), self.given, {"__all__": False}, done, {}


class BatchableRivals(Rivals):
    def batched(self, num_envs):
        return BatchedRivals([Rivals() for _ in range(num_envs)])


class BatchedRivals:
    def __init__(self, envs):
        self.envs, self.num_envs = envs, len(envs)

    def reset(self, seed=None):
        begun = seeds_of(seed, self.num_envs)
        return self._joined([e.reset(seed=s)[0] for e, s in zip(self.envs, begun, strict=True)])

    def step(self, actions):
        results = [
            env.step(dict(zip(AGENTS, [actions["solo"][b], *actions["pair"][b]], strict=True)))
            for b, env in enumerate(self.envs)
        ]
        done = results[0][3]["__all__"]
        return self._joined([r[0] for r in results]), np.zeros(self.num_envs), False, done

    def rewards(self):
        return self._joined([{a: [r] for a, r in env.given.items()} for env in self.envs])

    def episode_metrics(self):
        return {"hits": np.array([sum(env.hits.values()) / 3 for env in self.envs])}

    def _joined(self, values):
        pair = [np.concatenate([own[a] for a in PAIR]) for own in values]
        return {"solo": np.stack([own["solo"] for own in values]), "pair": np.stack(pair)}


def sampled(env):
    config = toy_config(env, critic="separate", rewards="individual")
    config.env_runners(num_envs_per_env_runner=2).validate()
    runner = config.env_runner_cls(config=config)
    samples = runner.sample(num_timesteps=20, explore=False)
    if not isinstance(samples[0], TeamBatch):
        connector = EpisodesToTeamBatch(runner.module.team, individual=True)
        samples = [connector(episodes=samples, batch={}, rl_module=None)[TEAM_BATCH]]
    return samples[0]


@pytest.mark.parametrize("env", [Rivals, BatchableRivals])
def test_everybody_has_rewards_of_its_own(env):
    batch = sampled(env)
    hits = {
        "solo": batch.actions["solo"][:, 0] == batch.observations["solo"].argmax(axis=1),
        "pair": batch.actions["pair"] == batch.observations["pair"].reshape(-1, 2, 2).argmax(-1),
    }
    every = np.column_stack([hits["solo"], hits["pair"]]).astype(float)
    given = every - (every.sum(axis=1, keepdims=True) - every) / 2
    assert np.unique(given).size > 1
    np.testing.assert_allclose(batch.agent_rewards["solo"], given[:, 0])
    np.testing.assert_allclose(batch.agent_rewards["pair"], given[:, 1:])
    np.testing.assert_allclose(batch.rewards, 0, atol=1e-6)
    part = TeamBatch.concatenate([batch, batch])[20:25]
    np.testing.assert_array_equal(part.agent_rewards["pair"], batch.agent_rewards["pair"][:5])


def test_returns_are_each_ones_own():
    """Without a discount, to the end of episodes that terminate: sums of rewards."""
    config = toy_config(Rivals, critic="separate", rewards="individual", gamma=1.0, lambda_=1.0)
    learner = build(config)
    batch = batch_for(learner)
    batch.terminated[:] = True
    draw = np.random.default_rng(0)
    batch.agent_rewards = {
        "solo": draw.normal(size=60).astype(np.float32),
        "pair": draw.normal(size=(60, 2)).astype(np.float32),
    }
    rows = learner.stacked_update.rows([batch])
    for agent, own in batch.agent_rewards.items():
        critic = learner.module[f"{agent}_critic"].unwrapped()
        targets = rows[f"{agent}_critic"][Postprocessing.VALUE_TARGETS][0]
        found = (targets * critic.std + critic.mean).reshape(4, 15, -1)
        expected = own.reshape(4, 15, -1)[:, ::-1].cumsum(axis=1)[:, ::-1]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("env", "training", "message"),
    [
        (Rivals, {"rewards": "own"}, "unknown rewards 'own': expected one of individual, shared"),
        (Rivals, {"rewards": "individual"}, "rewards = 'individual': expected critic = 'separate'"),
        (
            BatchableRelay,
            {"rewards": "individual", "critic": "separate", "batched": True},
            r"batches have no method rewards\(\)",
        ),
    ],
)
def test_what_cannot_be_individual_is_refused(env, training, message):
    with pytest.raises(InputError, match=message):
        toy_config(env, **training).validate()


def test_recordings_lack_individual_rewards(tmp_path):
    config = toy_config(Rivals, critic="separate", rewards="individual")
    with pytest.raises(InputError, match="rewards = 'individual': expected no output"):
        config.offline_data(output=str(tmp_path)).validate()


@pytest.mark.ray
@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("env", [Rivals, BatchableRivals])
def test_rivals_learn_from_their_own_rewards(env):
    """What they are given together is nothing, always."""
    config = IPPOConfig().environment(env)
    config.rl_module(model_config={"fcnet_hiddens": [16]}).debugging(seed=1, log_level="ERROR")
    config.training(train_batch_size_per_learner=200, minibatch_size=50, num_epochs=6, lr=1e-2)
    config.training(gamma=0.0, rewards="individual").env_runners(num_envs_per_env_runner=8)
    algorithm = config.build_algo()
    try:
        for _ in range(8):
            results = algorithm.train()
        runner = algorithm.env_runner
        [batch, *_] = _batches(runner, runner.sample(num_timesteps=200, explore=False))
        for agent, shape in (("solo", (-1, 1, 2)), ("pair", (-1, 2, 2))):
            seen = batch.observations[agent].reshape(shape).argmax(-1)
            assert (batch.actions[agent] == seen).mean() > 0.95
        assert np.isfinite(results["learners"]["pair"]["total_loss"])
    finally:
        algorithm.stop()


def _batches(runner, samples):
    if isinstance(samples[0], TeamBatch):
        return samples
    connector = EpisodesToTeamBatch(runner.module.team)
    return [connector(episodes=samples, batch={}, rl_module=None)[TEAM_BATCH]]
