"""Checkpoints: everything that training needs comes back, in both ways to load one."""

import numpy as np
import pytest
import tree
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.core.columns import Columns
from toy_teams import random_batch, toy_config

from rllib_mec.hmppo.modules.critic_plan import CENTRAL_CRITIC

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_session")]


def config():
    return toy_config(
        "mec",
        {"num_ues": 2, "num_tasks": 8, "emulator_action": "keep_or_retention"},
        lr=[[0, 1e-2], [1000, 1e-4]],
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory, ray_session):
    """An algorithm after two iterations, and where it was saved."""
    algorithm = config().build_algo()
    algorithm.train()
    results = algorithm.train()
    path = str(tmp_path_factory.mktemp("checkpoint"))
    algorithm.save_to_path(path)
    yield algorithm, path, results
    algorithm.stop()


def restored(path):
    algorithm = config().debugging(seed=99).build_algo()
    algorithm.restore_from_path(path)
    return algorithm


@pytest.fixture(scope="module", params=[Algorithm.from_checkpoint, restored])
def loaded(request, saved):
    """The same algorithm again."""
    algorithm = request.param(saved[1])
    yield algorithm
    algorithm.stop()


def learner_state(algorithm):
    return algorithm.learner_group.get_state()["learner"]


def assert_same(ours, theirs):
    tree.assert_same_structure(ours, theirs)
    for one, other in zip(tree.flatten(ours), tree.flatten(theirs), strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_and_critic_statistics_come_back(saved, loaded):
    ours, theirs = learner_state(loaded)["rl_module"], learner_state(saved[0])["rl_module"]
    assert_same(ours, theirs)
    critic = theirs[CENTRAL_CRITIC]
    assert critic["mean"] < 0
    assert critic["std"] != 1
    assert critic["moments"][0] == pytest.approx(1 - 0.99**2, rel=1e-3)


def test_optimizers_come_back(saved, loaded):
    ours, theirs = learner_state(loaded)["optimizer"], learner_state(saved[0])["optimizer"]
    assert_same(ours, theirs)
    for state in theirs.values():
        moments = state["state"]["state"].values()
        assert moments
        assert all(m["step"] == 8 for m in moments)  # 2 iterations, epochs and minibatches


def test_the_number_of_updates_comes_back(loaded):
    """From it, agents that learn one after the other draw their order."""
    assert loaded.learner_group._learner.num_updates == 2


def test_runners_play_what_was_saved(saved, loaded):
    team = saved[0].config.team()
    observations, _ = random_batch(team, 5)
    batch = {agent: {Columns.OBS: o} for agent, o in observations.items()}
    ours, theirs = (
        algorithm.env_runner.module.forward_inference(batch) for algorithm in (loaded, saved[0])
    )
    assert_same(ours, theirs)


def test_training_goes_on_where_it_stopped(saved, loaded):
    before = saved[2]
    results = loaded.train()
    assert before["training_iteration"] == 2
    assert results["training_iteration"] == 3
    key = "num_env_steps_sampled_lifetime"
    assert (before[key], results[key]) == (128, 192)
    assert results["learners"]["__all_modules__"]["num_env_steps_trained_lifetime"] == 192
    # The schedule of the learning rate goes on too, from 1e-2 at 0 to 1e-4 at 1000 steps.
    rate = results["learners"]["case_decision"]["default_optimizer_learning_rate"]
    assert rate == pytest.approx(1e-2 + 0.192 * (1e-4 - 1e-2), rel=1e-3)
    moved = learner_state(loaded)["rl_module"]["case_decision"]
    stayed = learner_state(saved[0])["rl_module"]["case_decision"]
    assert any((moved[name] != stayed[name]).any() for name in stayed)


def test_settings_of_its_own_go_before_those_that_were_saved(saved):
    """A trial that takes over the weights of another brings its own settings along."""
    own = config().training(lr=3e-3, gamma=0.5, entropy_coeff=0.07, clip_param=0.1)
    algorithm = own.build_algo()
    try:
        algorithm.restore_from_path(saved[1])
        learned, saved_weights = (learner_state(a)["rl_module"] for a in (algorithm, saved[0]))
        assert_same(learned, saved_weights)
        learner = algorithm.learner_group._learner
        for module_id, module_config in learner.module_configs.items():
            (optimizer,) = [o for _, o in learner.get_optimizers_for_module(module_id)]
            assert [group["lr"] for group in optimizer.param_groups] == [3e-3]
            assert optimizer.state  # the moments are the other's
            assert (module_config.gamma, module_config.clip_param) == (0.5, 0.1)
            scheduler = learner.entropy_coeff_schedulers_per_module[module_id]
            assert scheduler.get_current_value() == 0.07
    finally:
        algorithm.stop()


def test_remote_runners_play_what_was_saved(saved):
    """Also those that have learned more since than was saved."""
    learned = learner_state(saved[0])["rl_module"]
    algorithm = config().env_runners(num_env_runners=1).build_algo()
    try:
        for _ in range(2):
            algorithm.restore_from_path(saved[1])
            states = algorithm.env_runner_group.foreach_env_runner(
                lambda runner: runner.module.get_state()
            )
            assert len(states) == 2  # a local one and a remote one
            for state in states:
                assert set(state) == {"case_decision", "emulator_config"}
                assert_same(state, {agent: learned[agent] for agent in state})
            for _ in range(2):
                algorithm.train()
    finally:
        algorithm.stop()
