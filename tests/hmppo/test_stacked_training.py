"""Stacks: each member is the run that it would be alone, with its own results and checkpoint."""

import json

import numpy as np
import pytest
import torch
from ray.rllib.algorithms.algorithm import Algorithm
from toy_teams import CopyEnv, toy_config

from rllib_mec.baselines import IPPOConfig
from rllib_mec.errors import InputError
from rllib_mec.hmppo.stacked import StackedTraining
from rllib_mec.hmppo.stacked.members import check_members, configured
from rllib_mec.hmppo.stacked.trainable import CONFIG_CLASS, MEMBERS, StackedTrial

ENV = {"num_ues": 2, "num_tasks": 8}
SEEDS = [{"seed": 3}, {"seed": 4}]
SETTINGS = [{"lr": 1e-3, "gamma": 0.5, "seed": 3}, {"lr": 5e-3, "gamma": 0.9, "seed": 3}]


def config(decentralised=False, **training):
    made = toy_config("mec", ENV | {"decentralised": decentralised}, **{"lr": 3e-3, **training})
    return made.env_runners(num_envs_per_env_runner=8)


def weights(algorithm):
    learner = algorithm.learner_group._learner
    return {mid: learner.module[mid].state_dict() for mid in learner.module_configs}


def assert_close(ours, theirs, rtol=1e-3, atol=1e-5):
    torch.testing.assert_close(weights(ours), weights(theirs), rtol=rtol, atol=atol)


@pytest.fixture
def stack(ray_session):
    """Makes stacks, and ends them."""
    made = []

    def build(*arguments):
        made.append(StackedTraining(*arguments))
        return made[-1]

    yield build
    for own in made:
        own.stop()


@pytest.mark.ray
@pytest.mark.parametrize("members", [SEEDS, SETTINGS], ids=["seeds", "settings"])
@pytest.mark.parametrize(
    "training",
    [
        {},
        {"entity_shared": True},
        {"critic": "joint_state"},
        {"update": "sequential"},
        {"decentralised": True, "critic": "separate"},
        {"case_head": "autoregressive", "entity_shared": True},
        {"entropy_coeff": [[0, 0.1], [99, 0]]},
    ],
    ids=lambda training: next(iter(training), "default"),
)
def test_a_member_is_what_it_would_be_alone(stack, members, training):
    together = stack(config(**training), members)
    alone = [configured(config(**training), own).build_algo() for own in members]
    for _ in range(2):
        results = together.train()
        expected = [algorithm.train() for algorithm in alone]
    for name, own, other in zip(results, alone, expected, strict=True):
        assert_close(together.algorithms[name], own)
        mine = results[name]
        for key in ("num_env_steps_sampled_lifetime", "training_iteration"):
            assert mine[key] == other[key]
        for key, value in other["env_runners"]["episode_metrics"].items():
            assert mine["env_runners"]["episode_metrics"][key] == pytest.approx(value, rel=1e-3)
        for mid, losses in other["learners"].items():
            for key in losses.keys() & {"total_loss", "num_module_steps_trained_lifetime"}:
                found = mine["learners"][mid][key]
                assert found == pytest.approx(losses[key], rel=1e-2, abs=1e-4)
        own.stop()


@pytest.mark.ray
def test_a_member_can_be_saved_and_go_on_alone(stack, tmp_path):
    together = stack(config(), SEEDS)
    together.train()
    member = together.algorithms["seed_4"]
    member.save_to_path(str(tmp_path))
    other = Algorithm.from_checkpoint(str(tmp_path))
    torch.testing.assert_close(weights(other), weights(member), rtol=0, atol=0)
    assert other.iteration == 1
    steps = ("env_runners", "num_env_steps_sampled_lifetime")
    assert other.metrics.peek(steps) == member.metrics.peek(steps) == 64
    assert other.train()["num_env_steps_sampled_lifetime"] == 128
    other.stop()


@pytest.mark.ray
def test_members_can_be_evaluated(stack):
    evaluated = config().evaluation(evaluation_interval=1, evaluation_duration=8)
    results = stack(evaluated, SEEDS).train()
    for result in results.values():
        assert np.isfinite(result["evaluation"]["env_runners"]["episode_metrics"]["reward"])


def trial(members=SEEDS, made=None):
    made = made or config()
    return StackedTrial(made.to_dict() | {CONFIG_CLASS: type(made), MEMBERS: members})


@pytest.mark.ray
def test_a_trial_reports_means_and_comes_back(ray_session, tmp_path):
    first = trial()
    result = first.train()
    members = result["members"]
    assert set(members) == {"seed_3", "seed_4"}
    for key in ("reward", "total_delay_min"):
        values = [own["env_runners"]["episode_metrics"][key] for own in members.values()]
        assert result["env_runners"]["episode_metrics"][key] == pytest.approx(np.mean(values))
        assert values[0] != values[1]
    assert result["num_env_steps_sampled_lifetime"] == 64
    first.save_checkpoint(str(tmp_path))
    assert json.loads((tmp_path / "stack.json").read_text()) == {"members": ["seed_3", "seed_4"]}
    second = trial()
    second.load_checkpoint(str(tmp_path))
    for name, algorithm in second.training.algorithms.items():
        assert_close(algorithm, first.training.algorithms[name], rtol=0, atol=0)
    assert second.train()["num_env_steps_sampled_lifetime"] == 128
    other = trial([{"seed": 5}])
    with pytest.raises(InputError, match=r"holds \['seed_3', 'seed_4'\]: expected \['seed_5'\]"):
        other.load_checkpoint(str(tmp_path))
    for own in (first, second, other):
        own.stop()


@pytest.mark.ray
def test_ippo_too(ray_session):
    made = IPPOConfig().environment("mec", env_config=ENV)
    made.env_runners(num_envs_per_env_runner=8)
    made.training(train_batch_size_per_learner=64, minibatch_size=32)
    own = trial(made=made)
    for algorithm in own.training.algorithms.values():
        assert type(algorithm).__name__ == "IPPO"
    assert own.train()["num_env_steps_sampled_lifetime"] == 64
    own.stop()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "expected one member at least"),
        ([{"seed": 1}, {"seed": 1}], "seed_1 comes twice"),
        ([{"learning_rate": 1}], "learning_rate"),
        ([{"lamda_": 0.9}], "did you mean 'lambda_'"),
        ([{"seed": 1}, {"seed": 2, "lr": 1e-3}], "expected the same settings in each member"),
        ([{"lr": [[0, 1], [1, 0]]}], "expected a number for each member"),
    ],
)
def test_members_that_are_none(members, message):
    with pytest.raises(InputError, match=message):
        check_members(members)


@pytest.mark.ray
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.env_runners(num_env_runners=1), "num_env_runners = 1: expected 0"),
        (lambda c: c.learners(num_learners=1), "num_learners = 1: expected 0"),
        (lambda c: c.environment(CopyEnv, env_config={}), "sampled in batches"),
        (lambda c: c.training(batched=False), "sampled in batches"),
        (lambda c: c.offline_data(output="/tmp/x"), "output = '/tmp/x': expected none"),
    ],
)
def test_what_cannot_be_stacked(ray_session, change, message):
    with pytest.raises(InputError, match=message):
        StackedTraining(change(config()), SEEDS)
