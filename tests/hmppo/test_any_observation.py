"""Training on observations of all kinds of spaces: by episodes, in batches, saved and scored."""

import numpy as np
import pytest
from ray.tune.registry import register_env
from toy_spaces import SIZES, BatchableLibrary, Library
from toy_teams import toy_config

from rllib_mec.experiment.evaluate import evaluate
from rllib_mec.hmppo.sampling.batched_env_runner import BatchedEnvRunner

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_session")]


def library_config(batched, **training):
    name = "toy_spaces:BatchableLibrary" if batched else "toy_spaces:Library"
    register_env(name, BatchableLibrary if batched else Library)
    config = toy_config(name, train_batch_size_per_learner=480, gamma=0.0, lr=1e-2, **training)
    return config.env_runners(num_envs_per_env_runner=16)


@pytest.mark.parametrize("batched", [False, True], ids=["episodes", "batches"])
def test_what_only_structured_observations_tell_is_learned(build, tmp_path, batched):
    """At random, a hit is expected of the reader in 1/3 and of the others in 1/2 of the steps."""
    config = library_config(batched, num_epochs=8, minibatch_size=120)
    algorithm = build(config.env_runners(observation_filter="MeanStdFilter"))
    assert isinstance(algorithm.env_runner, BatchedEnvRunner) is batched
    rewards = [algorithm.train()["env_runners"]["episode_metrics"]["reward"] / 6 for _ in range(12)]
    assert rewards[0] < 0.7
    assert rewards[-1] > 0.9
    path = str(tmp_path / "checkpoint")
    algorithm.save_to_path(path)
    scores = evaluate(path, None, {}, 20, 0, trust=True)["reward"] / 6
    assert scores.shape == (20,)
    assert scores.mean() > 0.9
    again = build(config)
    again.restore_from_path(path)
    for agent, states in algorithm.learner_group.get_weights().items():
        restored = again.learner_group.get_weights()[agent]
        for name, values in restored.items():
            np.testing.assert_array_equal(values, states[name])


def test_episodes_hold_flat_vectors(build):
    """With what RLlib's connectors and episodes are told of the spaces."""
    runner = build(library_config(batched=False)).env_runner
    [episode, *_] = runner.sample(num_timesteps=16)
    for agent, size in SIZES.items():
        observations = episode.agent_episodes[agent].get_observations()
        shape = (2, 3) if agent == "plain" else (size,)
        assert observations.shape[1:] == shape
        space = episode.agent_episodes[agent].observation_space
        assert space.shape == shape
        assert runner.env.single_observation_space[agent].shape == shape
