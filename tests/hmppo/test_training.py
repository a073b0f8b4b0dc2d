"""Whole algorithms: what an iteration does, locally and with remote runners and learners."""

import copy

import numpy as np
import pytest
import torch
from ray.rllib.algorithms.ppo import ppo
from ray.rllib.env.multi_agent_env import MultiAgentEnv
from toy_teams import MobileEdge, box, toy_config

from rllib_mec.hmppo.learning.learner import HMPPOTorchLearner
from rllib_mec.hmppo.modules.critic_plan import CENTRAL_CRITIC, CRITICS

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_session")]


def mec_config(env_config=None, **training):
    return toy_config("mec", {"num_ues": 2, "num_tasks": 8} | (env_config or {}), **training)


def weights_of(algorithm):
    """The weights and buffers of every module on the learner, copied."""
    return copy.deepcopy(algorithm.learner_group.get_weights())


def moved(before, after):
    """The modules of which any weight differs."""
    return {
        module_id
        for module_id, state in before.items()
        if any(np.any(after[module_id][name] != array) for name, array in state.items())
    }


def assert_same(ours, theirs):
    assert set(ours) == set(theirs)
    for module_id, state in theirs.items():
        assert set(ours[module_id]) == set(state)
        for name, array in state.items():
            np.testing.assert_array_equal(ours[module_id][name], array, err_msg=name)


def finite(results):
    """All numbers of the learners' results, which must be finite."""
    values = [
        value
        for module in results["learners"].values()
        for name, value in module.items()
        if "loss" in name or "entropy" in name
    ]
    return bool(values) and bool(np.isfinite(values).all())


@pytest.mark.parametrize("entity_shared", [False, True], ids=["mlp", "entities"])
@pytest.mark.parametrize("critic", CRITICS)
def test_an_iteration_trains_every_module(build, critic, entity_shared):
    algorithm = build(mec_config(critic=critic, entity_shared=entity_shared))
    before = weights_of(algorithm)
    results = algorithm.train()
    assert results["num_env_steps_sampled_lifetime"] == 64
    assert finite(results)
    assert moved(before, weights_of(algorithm)) == set(before)
    episodes = results["env_runners"]["episode_metrics"]
    assert episodes["reward"] < 0
    assert len(episodes) > 1  # the environment's own metrics


@pytest.mark.parametrize("emulator_action", ["keep_or_retention", "layers"])
@pytest.mark.parametrize("entity_shared", [False, True], ids=["mlp", "entities"])
def test_other_readings_of_the_emulators_action(build, emulator_action, entity_shared):
    env_config = {"emulator_action": emulator_action}
    assert finite(build(mec_config(env_config, entity_shared=entity_shared)).train())


def test_the_local_runner_plays_what_was_learned(build):
    algorithm = build(mec_config())
    algorithm.train()
    learned = weights_of(algorithm)
    played = algorithm.env_runner.module.get_state()
    assert_same(played, {agent: learned[agent] for agent in played})


def test_a_remote_runner_plays_what_was_learned_and_has_no_critics(build):
    algorithm = build(mec_config().env_runners(num_env_runners=1))
    for _ in range(3):
        [played] = algorithm.env_runner_group.foreach_env_runner(
            lambda runner: runner.module.get_state(), local_env_runner=False
        )
        assert set(played) == {"case_decision", "emulator_config"}
        learned = weights_of(algorithm)
        assert CENTRAL_CRITIC in learned
        assert_same(played, {agent: learned[agent] for agent in played})
        algorithm.train()


class CountingEnv(MultiAgentEnv):
    """Seven steps; the agents' rewards are 1 and 3, so the team's return is 14."""

    def __init__(self, env_config=None):
        super().__init__()
        self.agents = self.possible_agents = ["one", "three"]
        self.observation_spaces = {a: box(1) for a in self.agents}
        self.action_spaces = {a: box(1) for a in self.agents}

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return {a: np.zeros(1, np.float32) for a in self.agents}, {}

    def step(self, action_dict):
        self.steps += 1
        observations = {a: np.full(1, self.steps, np.float32) for a in self.agents}
        end = {"__all__": self.steps == 7}
        return observations, {"one": 1.0, "three": 3.0}, end, {"__all__": False}, {}


def test_episodes_that_are_cut_by_fragments_count_as_whole_ones(build):
    """Three environments, fragments of 5 of 7 steps."""
    config = toy_config(CountingEnv, train_batch_size_per_learner=15, minibatch_size=15)
    config.env_runners(num_envs_per_env_runner=3, rollout_fragment_length=5)
    algorithm = build(config)
    for iteration in range(1, 4):
        results = algorithm.train()
        assert results["num_env_steps_sampled_lifetime"] == 15 * iteration
        assert finite(results)
        if iteration > 1:
            assert results["env_runners"]["episode_metrics"]["reward"] == pytest.approx(14)


def test_evaluation_plays_without_exploring(build):
    config = mec_config().evaluation(
        evaluation_interval=2,
        evaluation_num_env_runners=1,
        evaluation_duration=3,
        evaluation_config={"explore": False, "num_envs_per_env_runner": 1},
    )
    algorithm = build(config)
    assert "evaluation" not in algorithm.train()
    results = algorithm.train()["evaluation"]["env_runners"]
    assert results["num_episodes"] == 3
    assert results["episode_metrics"]["reward"] < 0
    [runner] = algorithm.eval_env_runner_group.foreach_env_runner(
        lambda runner: (runner.config.explore, runner.module.get_state()), local_env_runner=False
    )
    assert runner[0] is False
    learned = weights_of(algorithm)
    assert_same(runner[1], {agent: learned[agent] for agent in runner[1]})


@pytest.mark.parametrize(
    ("observation_filter", "training"),
    [
        ("NoFilter", {"critic": "separate", "update": "sequential"}),
        ("MeanStdFilter", {"entity_shared": True, "case_head": "autoregressive"}),
    ],
)
def test_two_learners_stay_equal(build, observation_filter, training):
    """And an uneven number of rows: each learner gets half of them."""
    config = mec_config(train_batch_size_per_learner=30, minibatch_size=8, **training)
    config.env_runners(num_envs_per_env_runner=3, rollout_fragment_length=21)
    config.env_runners(observation_filter=observation_filter)
    algorithm = build(config.learners(num_learners=2))
    before = weights_of(algorithm)
    for _ in range(2):
        results = algorithm.train()
    assert finite(results)
    states = [
        result.get()
        for result in algorithm.learner_group.foreach_learner(
            lambda learner: learner.get_state(components="rl_module")["rl_module"]
        )
    ]
    assert len(states) == 2
    assert_same(states[0], states[1])
    assert moved(before, states[0]) == set(before)


@pytest.mark.parametrize("learners", [0, 1])
def test_autograd_is_for_losses_of_ones_own(build, learners):
    """On remote learners, too, whose methods Ray wraps."""

    class Own(HMPPOTorchLearner):
        def compute_loss_for_module(self, **kwargs):
            return super().compute_loss_for_module(**kwargs)

    for learner_class, expected in ((HMPPOTorchLearner, False), (Own, True)):
        config = mec_config().learners(num_learners=learners).training(learner_class=learner_class)
        group = build(config).learner_group
        [result] = group.foreach_learner(lambda learner: learner.needs_autograd)
        assert result.get() is expected


def test_same_seed_same_training(build):
    metrics, weights = [], []
    for seed in (7, 7, 8):
        algorithm = build(mec_config().debugging(seed=seed))
        algorithm.train()
        results = algorithm.train()
        metrics.append(results["env_runners"]["episode_metrics"]["reward"])
        weights.append(weights_of(algorithm))
    assert metrics[0] == metrics[1] != metrics[2]
    assert_same(weights[0], weights[1])
    assert moved(weights[0], weights[2]) == set(weights[0])


def test_agents_that_take_turns_train(build):
    algorithm = build(mec_config({"turn_based": True}))
    before = weights_of(algorithm)
    for _ in range(2):
        results = algorithm.train()
        assert finite(results)
    assert moved(before, weights_of(algorithm)) == set(before)
    sampled = results["env_runners"]["num_agent_steps_sampled_lifetime"]
    assert sampled == {"case_decision": 64, "emulator_config": 64}
    assert results["env_runners"]["episode_metrics"]["reward"] < 0


def test_ten_iterations_without_a_sample_are_an_error(build, impatient, monkeypatch):
    """A good iteration in between starts the count anew."""
    algorithm = build(mec_config())
    nothing = lambda **kwargs: ([], [])  # noqa: E731
    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(ppo, "synchronous_parallel_sample", nothing)
            for _ in range(9):
                algorithm.train()
        algorithm.train()
    monkeypatch.setattr(ppo, "synchronous_parallel_sample", nothing)
    for _ in range(9):
        algorithm.train()
    with pytest.raises(RuntimeError, match=r"10 iterations and \d+ s without a sample, every"):
        algorithm.train()


def one_iteration(build, config):
    """Trains once and returns the learner's device."""
    algorithm = build(config)
    assert finite(algorithm.train())
    return algorithm.learner_group._learner._device.type


def test_one_iteration_on_the_cpu(build):
    config = toy_config(MobileEdge, {"num_ues": 2, "num_tasks": 8})
    assert one_iteration(build, config.learners(num_gpus_per_learner=0)) == "cpu"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_one_iteration_on_the_gpu(build):
    config = toy_config(MobileEdge, {"num_ues": 2, "num_tasks": 8})
    assert one_iteration(build, config.learners(num_gpus_per_learner=1)) == "cuda"
