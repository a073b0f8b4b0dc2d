"""Sampling in batches: the same numbers as by episodes, and what RLlib builds on a runner."""

import os
import signal

import numpy as np
import pytest
import torch
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.tune.registry import register_env
from toy_teams import toy_config

from rllib_mec.envs import BatchedMECEnv, MECEnv
from rllib_mec.errors import InputError
from rllib_mec.hmppo.learning.episodes_to_team_batch import TEAM_BATCH, EpisodesToTeamBatch
from rllib_mec.hmppo.sampling.batched_env_runner import BatchedEnvRunner
from rllib_mec.hmppo.sampling.callbacks import means
from rllib_mec.hmppo.sampling.episode_runner import EpisodeEnvRunner
from rllib_mec.hmppo.team_batch import TeamBatch
from rllib_mec.registry import register
from rllib_mec.system import Scenario

ENV = {"num_ues": 2, "num_tasks": 8}
IN_TURN = {"entity_shared": True, "case_head": "autoregressive"}


def config(env_config=None, num_envs=4, **training):
    register()
    made = toy_config("mec", ENV | (env_config or {}), **training)
    return made.env_runners(num_envs_per_env_runner=num_envs).debugging(seed=3)


def runner(made, cls=BatchedEnvRunner):
    made.validate()
    assert made.env_runner_cls is cls
    torch.manual_seed(0)
    return cls(config=made, worker_index=0)


@pytest.mark.parametrize("emulator_action", ["retention", "keep_or_retention", "layers"])
def test_a_sample_is_what_the_environment_gives(emulator_action):
    sampler = runner(config({"emulator_action": emulator_action}))
    [batch] = sampler.sample(num_episodes=4)
    team = sampler.module.team
    env = BatchedMECEnv(ENV | {"emulator_action": emulator_action}, 4)
    observations = env.reset(3)

    def at(column, t):
        return column.reshape(4, 8, *column.shape[1:])[:, t]

    for t in range(8):
        for agent in team.agents:
            np.testing.assert_array_equal(at(batch.observations[agent], t), observations[agent])
        actions = {a: team.codecs[a].to_env(at(batch.actions[a], t)) for a in team.agents}
        observations, rewards, _, _ = env.step(actions)
        np.testing.assert_allclose(at(batch.rewards, t), rewards, rtol=1e-6)
    for agent in team.agents:
        np.testing.assert_array_equal(batch.final_observations[agent], observations[agent])
    assert not batch.terminated.any()
    reported = sampler.get_metrics()["episode_metrics"]
    for name, values in env.episode_metrics().items():
        assert reported[name].peek() == pytest.approx(values.mean())


@pytest.mark.parametrize("training", [{}, IN_TURN], ids=["factorised", "in turn"])
def test_batches_and_episodes_are_the_same_training_data(training):
    """One environment: both runners then draw the same episodes and the same actions."""
    by_batch = runner(config(num_envs=1, **training))
    by_episode = runner(config(num_envs=1, batched=False, **training), EpisodeEnvRunner)
    by_episode.module.set_state(by_batch.module.get_state())
    [batch] = by_batch.sample(num_episodes=1)
    by_episode.module.generator = torch.Generator().manual_seed(3)  # the configuration's seed
    episodes = by_episode.sample(num_episodes=1)
    connector = EpisodesToTeamBatch(by_batch.module.team)
    other = connector(episodes=episodes, batch={}, rl_module=None)[TEAM_BATCH]
    for name in ("observations", "actions", "log_probs", "parameters", "final_observations"):
        for agent, column in getattr(batch, name).items():
            np.testing.assert_allclose(getattr(other, name)[agent], column, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(other.rewards, batch.rewards, rtol=1e-6)
    np.testing.assert_array_equal(other.lengths, batch.lengths)
    np.testing.assert_array_equal(other.terminated, batch.terminated)

    ours, theirs = (sampler.get_metrics() for sampler in (by_batch, by_episode))
    per_agent = {"agent_episode_returns_mean", "module_episode_returns_mean", "agent_steps"}
    counts = {"num_env_steps_sampled", "num_episodes", "num_episodes_lifetime"}
    for key in per_agent | {"episode_metrics"}:
        assert set(ours[key]) == set(theirs[key])
        for name, value in theirs[key].items():
            assert ours[key][name].peek() == pytest.approx(value.peek())
    for key in counts | {f"episode_{n}" for n in ("return_mean", "len_mean", "return_max")}:
        assert ours[key].peek() == pytest.approx(theirs[key].peek())


@pytest.mark.parametrize("training", [{}, IN_TURN], ids=["factorised", "in turn"])
def test_batches_and_episodes_teach_the_same(training):
    """The same losses and gradients: of the first step, and in the weights after several."""
    by_batch = runner(config(num_envs=1, **training))
    by_episode = runner(config(num_envs=1, batched=False, **training), EpisodeEnvRunner)
    by_episode.module.set_state(by_batch.module.get_state())
    by_episode.module.generator = torch.Generator().manual_seed(3)  # the configuration's seed
    learners, results = [], []
    for sampler, made in (
        (by_batch, config(**training)),
        (by_episode, config(batched=False, **training)),
    ):
        made.validate()
        torch.manual_seed(0)
        learners.append(made.build_learner())
        results.append(
            learners[-1].update(
                episodes=sampler.sample(num_episodes=1),
                timesteps={"num_env_steps_sampled_lifetime": 0},
                minibatch_size=4,
                num_epochs=3,
                shuffle_batch_per_epoch=True,
            )
        )
    ours, theirs = learners
    for module_id in ours.module_configs:
        own, other = (
            {
                "weights": learner.module[module_id].state_dict(),
                "moments": learner.get_optimizer(module_id).state_dict()["state"],
            }
            for learner in learners
        )
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)
        for name in ("total_loss", "gradients_global_norm"):
            mine, same = (float(result[module_id][name]) for result in results)
            assert mine == pytest.approx(same, rel=1e-3, abs=1e-5)
    assert set(ours.module_configs) == set(theirs.module_configs)


def test_fragments_go_on_where_they_stopped():
    sampler = runner(
        config(train_batch_size_per_learner=20, minibatch_size=20).env_runners(
            rollout_fragment_length=5
        )
    )
    first, second, third = (sampler.sample()[0] for _ in range(3))
    assert [len(b) for b in (first, second, third)] == [20, 20, 20]
    assert first.lengths.tolist() == [5] * 4
    assert second.lengths.tolist() == [3] * 4 + [2] * 4
    assert third.lengths.tolist() == [5] * 4
    np.testing.assert_array_equal(
        first.final_observations["case_decision"], second.observations["case_decision"][0:12:3]
    )
    assert sampler.get_metrics()["num_episodes"].peek() == 4
    assert sampler.num_env_steps_sampled_lifetime == 60


def test_without_exploration_it_takes_the_most_probable_actions():
    sampler = runner(config())
    samples = [sampler.sample(num_episodes=4, explore=False)[0] for _ in range(2)]
    for batch in samples:
        expected, _, _ = sampler.module.act(
            {a: torch.as_tensor(o) for a, o in batch.observations.items()}, explore=False
        )
        for agent, actions in batch.actions.items():
            # Equal to rounding: the rows of a larger batch are multiplied in another order.
            np.testing.assert_allclose(actions, expected[agent].numpy(), atol=1e-6)


class Images:
    """Two environments whose observations are small images of bytes."""

    def __init__(self, env):
        self.env, self.num_envs = env, env.num_envs

    def _images(self, observations):
        return {
            a: o.round().astype(np.int8).reshape(len(o), 2, -1) for a, o in observations.items()
        }

    def reset(self, seed=None):
        return self._images(self.env.reset(seed))

    def step(self, actions):
        observations, *rest = self.env.step(actions)
        return self._images(observations), *rest

    def episode_metrics(self):
        return self.env.episode_metrics()


def test_observations_of_other_shapes_and_types_become_rows_of_floats():
    sampler = runner(config(num_envs=2))
    sampler._batch = Images(sampler._batch)
    [batch] = sampler.sample(num_timesteps=6)
    for columns in (batch.observations, batch.final_observations):
        assert columns["case_decision"].dtype == np.float32
        assert columns["case_decision"].shape[1:] == (8,)
    assert np.abs(batch.observations["case_decision"]).max() >= 1


class PerEpisode(RLlibCallback):
    def on_episode_step(self, **kwargs):
        pass


class PerBatch(RLlibCallback):
    """Both forms of the same hook; in batches the second is called."""

    def on_episode_end(self, **kwargs):
        raise AssertionError("not in batches")

    def on_batched_episodes_end(self, *, env_runner, metrics_logger, metrics):
        metrics_logger.log_value("worst_delay_min", metrics["total_delay_min"].max())


def test_custom_metrics_of_all_episodes():
    sampler = runner(config().callbacks(PerBatch))
    sampler.sample(num_episodes=4)
    results = sampler.get_metrics()
    assert results["worst_delay_min"].peek() > results["episode_metrics"]["total_delay_min"].peek()


def test_episodes_that_lack_a_metric_do_not_count():
    reported = {
        "every": np.array([1.0, 2.0, 6.0]),
        "some": np.array([np.nan, 2.0, 4.0]),
        "none": np.full(3, np.nan),
    }
    assert means(reported) == {"every": 3.0, "some": 3.0}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: c.callbacks(PerEpisode), "PerEpisode.on_episode_step is called per episode"),
        (lambda c: c.callbacks(on_episode_end=print), "the callback on_episode_end is set"),
        (lambda c: c.environment(normalize_actions=False), "normalize_actions is false"),
        (
            lambda c: c.env_runners(module_to_env_connector=lambda *_: []),
            "module_to_env_connector is set",
        ),
    ],
)
def test_what_works_per_episode_is_sampled_by_episodes(change, reason):
    made = change(config())
    made.validate()
    assert made.env_runner_cls is EpisodeEnvRunner
    with pytest.raises(InputError, match=f"batched = True: {reason}"):
        change(config(batched=True)).validate()


class OtherReward(MECEnv):
    """Inherits ``batched``, which gives another reward than its own step."""

    def step(self, action_dict):
        observations, rewards, *rest = super().step(action_dict)
        return observations, {agent: reward + 1 for agent, reward in rewards.items()}, *rest


def test_environments_without_a_batched_form_of_their_own_are_sampled_by_episodes():
    register_env("other-reward", lambda _: OtherReward(Scenario(num_ues=2)))
    made = toy_config("other-reward", {})
    made.validate()
    assert made.env_runner_cls is EpisodeEnvRunner
    with pytest.raises(InputError, match="the environment has no method batched"):
        toy_config("other-reward", {}, batched=True).validate()


LONG = pytest.mark.cluster  # each of their processes takes seconds to start


@pytest.mark.ray
@pytest.mark.parametrize(
    ("runners", "learners"),
    [
        (0, 0),
        (0, 1),
        (1, 2),
        (2, 0),
        *(
            pytest.param(*numbers, marks=LONG)
            for numbers in [(0, 2), (1, 0), (1, 1), (2, 1), (2, 2)]
        ),
    ],
)
def test_training_with_runners_and_learners(build, runners, learners):
    """Rows are as many as configured, in one object a runner, and learners stay equal."""
    made = config(train_batch_size_per_learner=64, minibatch_size=32)
    made.env_runners(num_env_runners=runners).learners(num_learners=learners)
    algorithm = build(made)
    given = []
    update = algorithm.learner_group.update

    def record(*, episodes, **kwargs):
        given.append([(type(batch), len(batch)) for batch in episodes])
        return update(episodes=episodes, **kwargs)

    algorithm.learner_group.update = record
    per_iteration, samples = 64 * max(learners, 1), max(runners, 1)
    for iteration in (1, 2):
        results = algorithm.train()
        assert results["num_env_steps_sampled_lifetime"] == per_iteration * iteration
        trained = results["learners"]["__all_modules__"]
        assert trained["num_env_steps_trained"] == per_iteration
        assert trained["num_env_steps_trained_lifetime"] == per_iteration * iteration
    assert results["env_runners"]["num_episodes_lifetime"] == per_iteration * 2 / 8
    assert given == [[(TeamBatch, per_iteration // samples)] * samples] * 2
    states = [
        result.get() if learners else result
        for result in algorithm.learner_group.foreach_learner(lambda each: each.get_state())
    ]
    assert len(states) == max(learners, 1)
    for other in states[1:]:
        for module_id, state in states[0]["rl_module"].items():
            for name, value in state.items():
                np.testing.assert_array_equal(value, other["rl_module"][module_id][name])


@pytest.mark.ray
def test_evaluation_runs_in_batches(build):
    made = config().evaluation(
        evaluation_interval=1, evaluation_duration=5, evaluation_num_env_runners=0
    )
    results = build(made).train()["evaluation"]["env_runners"]
    assert results["num_episodes"] == 8  # two rounds of four environments
    assert results["episode_metrics"]["reward"] < 0


@pytest.mark.ray
def test_checkpoints_cross_between_the_ways_of_sampling(build, tmp_path):
    first = build(config())
    first.train()
    path = first.save_to_path(str(tmp_path / "checkpoint"))
    second = build(config(batched=False))
    second.restore_from_path(path)
    weights = [algorithm.learner_group.get_weights() for algorithm in (first, second)]
    for module_id, state in weights[0].items():
        for name, value in state.items():
            np.testing.assert_array_equal(value, weights[1][module_id][name])
    steps = [a.train()["num_env_steps_sampled_lifetime"] for a in (first, second)]
    assert steps[0] == steps[1] == 128


@pytest.mark.ray
def test_a_killed_runner_is_replaced_and_nothing_is_counted_twice(build):
    made = config(train_batch_size_per_learner=64)
    made.env_runners(num_env_runners=2).fault_tolerance(restart_failed_env_runners=True)
    algorithm = build(made)
    steps = algorithm.train()["num_env_steps_sampled_lifetime"]
    [pid] = algorithm.env_runner_group.foreach_env_runner(
        lambda runner: os.getpid(), local_env_runner=False, remote_worker_ids=[1]
    )
    os.kill(pid, signal.SIGKILL)
    for _ in range(12):
        results = algorithm.train()
        sampled = results["env_runners"]["num_env_steps_sampled"]
        assert results["num_env_steps_sampled_lifetime"] == steps + sampled
        steps += sampled
        if algorithm.env_runner_group.num_healthy_remote_workers() == 2:
            break
    assert algorithm.env_runner_group.num_healthy_remote_workers() == 2
