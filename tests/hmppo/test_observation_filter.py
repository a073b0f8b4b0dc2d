"""Observation filters: running statistics that learners move and everybody else reads."""

import numpy as np
import pytest
import torch
from ray.rllib.core.columns import Columns
from test_stacked_update import assert_same, batch_for, build, update
from toy_teams import MobileEdge, toy_config

from rllib_mec.errors import InputError
from rllib_mec.hmppo.learning.update import StackedUpdate
from rllib_mec.hmppo.modules.observation_filter import ObservationFilter, filter_stacked


def filtered_config(env_config=None, **training):
    config = toy_config(MobileEdge, env_config or {"num_ues": 3, "num_tasks": 6}, **training)
    return config.env_runners(observation_filter="MeanStdFilter")


def test_statistics_are_those_of_all_that_was_seen():
    generator = np.random.default_rng(0)
    seen = generator.normal(50, [1, 20, 0.1], (200, 3)).astype(np.float32)
    own = ObservationFilter(3)
    for part in np.split(seen, [7, 8, 150]):
        own.track(torch.as_tensor(part))
    np.testing.assert_allclose(own.mean, seen.mean(0), rtol=1e-6)
    np.testing.assert_allclose(own.variance, seen.var(0), rtol=1e-4)
    assert own.count == 200
    scaled = own(torch.as_tensor(seen))
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(scaled.std(0, correction=0), 1, rtol=1e-3)


def test_before_it_has_seen_anything_it_changes_nothing():
    observations = torch.tensor([[3.0, -4.0]])
    assert torch.equal(ObservationFilter(2)(observations), observations)


def test_a_feature_that_never_changes_is_not_blown_up():
    own = ObservationFilter(2)
    own.track(torch.tensor([[0.0, 1.0], [0.0, 3.0]]))
    assert own(torch.tensor([[0.0, 3.0]])).tolist() == [[0.0, 1.0]]
    assert own(torch.tensor([[0.0, 1e6]])).tolist() == [[0.0, 10.0]]  # clipped


def test_all_entities_of_an_observation_share_statistics():
    own = ObservationFilter(2)
    own.track(torch.tensor([[0.0, 5.0, 2.0, 7.0]]))  # two entities of two features
    assert own.mean.tolist() == [1.0, 6.0]
    assert own(torch.tensor([[2.0, 7.0, 0.0, 5.0, 1.0, 6.0]])).tolist() == [[1, 1, -1, -1, 0, 0]]


def test_each_of_several_actors_has_its_own():
    filters, observations = [ObservationFilter(2) for _ in range(3)], torch.randn(3, 5, 4)
    for index, own in enumerate(filters):
        own.track(torch.randn(9, 2) * (index + 1))
    stacked = filter_stacked(filters, observations)
    for own, mine, expected in zip(filters, observations, stacked, strict=True):
        torch.testing.assert_close(own(mine), expected)


@pytest.mark.parametrize("entity_shared", [False, True], ids=["mlp", "entities"])
def test_a_batch_is_learnt_from_as_it_was_seen(entity_shared):
    """Statistics move after learning: the first ratio is 1."""
    learner = build(filtered_config(entity_shared=entity_shared))
    update(learner, batch_for(learner, 1))
    batch = batch_for(learner, 2)
    out = learner.module.forward_train(learner.module_batches(batch))
    for agent, parameters in batch.parameters.items():
        found = out[agent][Columns.ACTION_DIST_INPUTS]
        torch.testing.assert_close(found, torch.as_tensor(parameters))
        assert learner.module[agent].filter.count == 60 * (3 if entity_shared else 1)
    before = {agent: learner.module[agent].filter.mean.clone() for agent in batch.parameters}
    update(learner, batch)
    for agent, mean in before.items():
        assert not torch.equal(mean, learner.module[agent].filter.mean)


def test_together_and_by_autograd_it_is_the_same():
    config = filtered_config(critic="joint_state")
    together, alone = ([build(config, seed) for seed in (1, 2)] for _ in range(2))
    by_autograd = build(config, 1, by_autograd=True)
    stacked = StackedUpdate(together)
    for seed in (1, 2):
        batches = [batch_for(learner, seed) for learner in alone]
        stacked.run(batches, 16, 2, shuffle=True)
        for learner, batch in zip(alone, batches, strict=True):
            update(learner, batch)
        update(by_autograd, batches[0])
    for ours, theirs in [*zip(together, alone, strict=True), (by_autograd, alone[0])]:
        assert_same(ours, theirs)


def test_agents_that_are_not_trained_keep_their_statistics():
    config = filtered_config().multi_agent(policies_to_train=["emulator_config"])
    learner = build(config)
    update(learner, batch_for(learner))
    assert learner.module["emulator_config"].filter.count > 0
    assert learner.module["case_decision"].filter.count == 0


def test_an_unknown_filter():
    with pytest.raises(InputError, match="did you mean 'MeanStdFilter'"):
        toy_config().env_runners(observation_filter="MeanStd").validate()


@pytest.mark.ray
@pytest.mark.parametrize("batched", [True, False])
def test_runners_and_checkpoints_have_it_with_the_weights(ray_session, tmp_path, batched):
    config = toy_config("mec", {"num_ues": 3, "num_tasks": 8}, batched=batched)
    config.env_runners(observation_filter="MeanStdFilter", num_envs_per_env_runner=8)
    algorithm = config.build_algo()
    for _ in range(2):
        algorithm.train()
    learnt = algorithm.learner_group._learner.module["case_decision"].filter
    sampling = algorithm.env_runner.module["case_decision"].filter
    assert learnt.count == 128
    torch.testing.assert_close(sampling.state_dict(), learnt.state_dict())
    algorithm.save_to_path(str(tmp_path))
    other = config.copy(copy_frozen=False).build_algo()
    other.restore_from_path(str(tmp_path))
    loaded = other.env_runner.module["case_decision"].filter
    torch.testing.assert_close(loaded.state_dict(), learnt.state_dict())
    for own in (algorithm, other):
        own.stop()
