"""Whole algorithms with agents that come and go: by episodes, in batches, in stacks, saved."""

import copy

import numpy as np
import pytest
import torch
from ray.tune.registry import register_env
from toy_masks import BatchableLocks, Locks
from toy_relay import SIZES, BatchableRelay, Relay
from toy_teams import toy_config

from rllib_mec.experiment.evaluate import evaluate
from rllib_mec.hmppo import read_recording
from rllib_mec.hmppo.stacked import StackedTraining

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_session")]

ENVS = {"relay": Relay, "relays": BatchableRelay, "locks": Locks, "lockses": BatchableLocks}


def config_of(name, seed=1, **training):
    target = f"{ENVS[name].__module__}:{ENVS[name].__name__}"
    register_env(target, ENVS[name])
    config = toy_config(target, **training).debugging(seed=seed)
    return config.env_runners(observation_filter="MeanStdFilter")


def trained(build, config, iterations=3):
    algorithm = build(config)
    for _ in range(iterations):
        results = algorithm.train()
    return algorithm, results


def weights_of(algorithm):
    return copy.deepcopy(algorithm.learner_group.get_weights())


def same(ours, theirs):
    return all(
        np.array_equal(array, theirs[module_id][name])
        for module_id, state in ours.items()
        for name, array in state.items()
    )


@pytest.mark.parametrize("name", [*ENVS])
@pytest.mark.parametrize(
    "training",
    [{"entropy_coeff": 0.01}, {"critic": "joint_state", "update": "sequential"}],
    ids=["default", "sequential"],
)
def test_the_same_seed_is_the_same_training(build, name, training):
    runs = [trained(build, config_of(name, seed, **training)) for seed in (1, 1, 2)]
    weights = [weights_of(algorithm) for algorithm, _ in runs]
    assert same(weights[0], weights[1])
    assert not same(weights[0], weights[2])
    for module_id, own in runs[0][1]["learners"].items():
        if "total_loss" in own:
            assert np.isfinite(own["total_loss"]), module_id
    rewards = [results["env_runners"]["episode_metrics"]["reward"] for _, results in runs]
    assert rewards[0] == rewards[1]


@pytest.mark.parametrize("name", ["relay", "relays", "lockses"])
def test_what_is_saved_comes_back_and_is_scored(build, tmp_path, name):
    algorithm, _ = trained(build, config_of(name))
    path = str(tmp_path / "checkpoint")
    algorithm.save_to_path(path)
    again = build(config_of(name, seed=9))
    again.restore_from_path(path)
    assert same(weights_of(algorithm), weights_of(again))
    for explore in (False, True):
        scores = evaluate(path, None, {}, 3, 0, trust=True, explore=explore)
        if "relay" in name:  # 1 + ... + 10, of which a fifth is the guest's in even steps alone
            assert scores["reward"] == pytest.approx([30 + 25 * 0.8] * 3)
        else:
            assert ((scores["reward"] >= 0) & (scores["reward"] <= 6)).all()


def test_two_learners_stay_equal_and_count_who_was_there(build):
    config = config_of("relays", train_batch_size_per_learner=40, minibatch_size=8)
    algorithm = build(config.learners(num_learners=2))
    for _ in range(2):
        results = algorithm.train()
    states = [
        result.get()
        for result in algorithm.learner_group.foreach_learner(
            lambda learner: learner.get_state(components="rl_module")["rl_module"]
        )
    ]
    assert len(states) == 2
    assert same(states[0], states[1])
    # 160 steps are 16 episodes: of ten steps each.
    steps = results["env_runners"]["num_agent_steps_sampled_lifetime"]
    expected = {"walker": 3, "porter": 10, "guest": 3, "left": 6, "right": 5}
    assert steps == {agent: 16 * count for agent, count in expected.items()}
    assert set(expected) == set(SIZES)


def test_members_of_a_stack_are_what_they_are_alone(build):
    config = config_of("relays", lr=3e-3)
    config.env_runners(num_envs_per_env_runner=4)
    stack = StackedTraining(config, [{"seed": 3}, {"seed": 4}])
    try:
        for _ in range(2):
            stack.train()
        for seed in (3, 4):
            alone, _ = trained(build, config_of("relays", seed, lr=3e-3), 2)
            ours, theirs = (
                {mid: learner.module[mid].state_dict() for mid in learner.module_configs}
                for learner in (
                    own.learner_group._learner for own in (stack.algorithms[f"seed_{seed}"], alone)
                )
            )
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)
    finally:
        stack.stop()


@pytest.mark.parametrize("name", ["relay", "relays"])
def test_what_is_recorded_is_who_was_there(build, tmp_path, name):
    config = config_of(name, train_batch_size_per_learner=40).offline_data(output=str(tmp_path))
    algorithm, _ = trained(build, config, 2)
    algorithm.stop()
    batch = read_recording(tmp_path)
    assert len(batch) == 80
    assert batch.active["twins"].shape == (80, 2)
    assert batch.active["walker"].mean() == 0.3
    assert (batch.observations["walker"][~batch.active["walker"]] == 0).all()
