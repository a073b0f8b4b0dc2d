"""Training with images and with memories, both ways of sampling; what checkpoints keep of it."""

import numpy as np
import pytest
import torch
import toy_memory
import toy_teams
from ray import cloudpickle
from toy_images import lights_config
from toy_memory import FORGETFUL, recall_config

from rllib_mec.experiment.evaluate import evaluate

cloudpickle.register_pickle_by_value(toy_teams)
cloudpickle.register_pickle_by_value(toy_memory)

pytestmark = pytest.mark.ray

LEARNING = {
    "lr": 3e-3,
    "gamma": 0.95,
    "train_batch_size_per_learner": 320,
    "minibatch_size": 80,
    "num_epochs": 4,
}


def trained(config, iterations):
    algorithm = config.env_runners(num_envs_per_env_runner=8).build_algo()
    for _ in range(iterations):
        result = algorithm.train()["env_runners"]
    found = result.get("episode_metrics", {}).get("reward", result["episode_return_mean"])
    return algorithm, float(found)


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize(
    ("layer", "batched"), [("gru", True), ("lstm", False)], ids=["gru-batched", "lstm-episodes"]
)
def test_agents_with_a_memory_recall(layer, batched):
    algorithm, reward = trained(recall_config(layer, batched=batched, **LEARNING), 14)
    algorithm.stop()
    assert reward > FORGETFUL + 0.2


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("batched", [True, False], ids=["batched", "episodes"])
def test_agents_with_convolutions_see(batched):
    config = lights_config(batched=batched, **LEARNING | {"gamma": 0.0})
    config.rl_module(model_config={"fcnet_hiddens": [32], "conv_filters": [[8, 3, 2], [8, 3, 2]]})
    algorithm, reward = trained(config, 10)
    algorithm.stop()
    assert reward > 0.7  # a coin gets 0.5


@pytest.mark.usefixtures("ray_session")
def test_a_checkpoint_goes_on_as_it_was_and_is_evaluated_with_its_memory(tmp_path):
    config = recall_config(**LEARNING)
    algorithm, _ = trained(config, 12)
    path = algorithm.save_to_path(str(tmp_path / "checkpoint"))
    other = config.copy(copy_frozen=False).build_algo()
    other.restore_from_path(path)
    for mid, module in algorithm.learner_group._learner.module.items():
        theirs = other.learner_group._learner.module[mid].state_dict()
        torch.testing.assert_close(module.state_dict(), theirs)
    for each in (algorithm, other):
        each.stop()
    remembered = evaluate(path, "toy_memory:Recall", {}, 100, 0, trust=True)["reward"]
    assert remembered.mean() > FORGETFUL + 0.2
    again = evaluate(path, "toy_memory:Recall", {}, 100, 0, trust=True)["reward"]
    np.testing.assert_array_equal(remembered, again)


@pytest.mark.cluster
@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("ahead", [0, 1], ids=["in turn", "ahead"])
def test_runners_and_learners_apart_remember(ahead):
    config = recall_config(sample_ahead=ahead, **LEARNING)
    config.env_runners(num_env_runners=1).learners(num_learners=1)
    algorithm, reward = trained(config, 14)
    algorithm.stop()
    assert reward > FORGETFUL + 0.15
