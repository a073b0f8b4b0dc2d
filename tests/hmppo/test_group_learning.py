"""Groups of agents learn: advantages by member, what is saved, and what is learned."""

import dataclasses

import numpy as np
import pytest
import torch
from learners import batch_for, update
from learners import build as learner_of
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing
from toy_groups import SIZES, Crew, Pairs
from toy_teams import toy_config

from rllib_mec.hmppo.modules.critic_plan import CENTRAL_CRITIC


def with_values(learner, values):
    """Makes the critics give ``values(critic_id, inputs)``, (S, R, K)."""
    for critic_id in learner.plan.critics:
        critic = learner.module[critic_id]
        critic.trace = lambda _, inputs, mid=critic_id: (values(mid, inputs), None)


def test_members_have_advantages_of_their_own_with_separate_critics():
    """Returns are all the rest (gamma = lambda = 1); each scout is valued by what it sees."""
    learner = learner_of(toy_config(Crew, critic="separate", gamma=1.0, lambda_=1.0))
    with_values(learner, lambda _, inputs: inputs[..., 3])
    batch = batch_for(learner)
    batch = dataclasses.replace(batch, terminated=np.zeros_like(batch.terminated))
    rows = learner.module_batches(batch)
    length, scouts = batch.lengths[0], 3
    rewards = batch.rewards.reshape(-1, length)
    seen = batch.observations["scouts"].reshape(-1, length, scouts, SIZES["scouts"])
    after = batch.final_observations["scouts"].reshape(-1, 1, scouts, SIZES["scouts"])
    remaining = rewards[:, ::-1].cumsum(axis=1)[:, ::-1, None]
    expected = (remaining + after[..., 3] - seen[..., 3]).reshape(-1, scouts)
    expected = (expected - expected.mean()) / expected.std()
    own = rows["scouts"]
    torch.testing.assert_close(
        own[Postprocessing.ADVANTAGES], torch.as_tensor(expected), rtol=1e-4, atol=1e-4
    )
    assert own[Columns.ACTION_LOGP].shape == own[Postprocessing.ADVANTAGES].shape
    assert rows["scouts_critic"][Columns.OBS].shape == (len(batch), scouts, SIZES["scouts"])
    assert rows["chief"][Postprocessing.ADVANTAGES].shape == (len(batch), 1)


def test_a_member_that_is_not_valued_alike_changes_no_other_members_advantage():
    """But for the common normalisation, whose scale is taken out."""

    def advantages(shift):
        learner = learner_of(toy_config(Crew, critic="separate"))
        weights = torch.tensor([shift, 0.0, 0.0])
        with_values(
            learner,
            lambda mid, inputs: inputs[..., 3] + (weights if mid == "scouts_critic" else 0),
        )
        return learner.module_batches(batch_for(learner))["scouts"][Postprocessing.ADVANTAGES]

    def shape_of(column):
        return (column - column.mean()) / column.std()

    before, after = advantages(0.0), advantages(5.0)
    for member in (1, 2):
        torch.testing.assert_close(shape_of(after[:, member]), shape_of(before[:, member]))
    assert not torch.allclose(after, before, atol=0.1)


def test_a_central_critic_over_members_as_entities():
    learner = learner_of(toy_config(Pairs, entity_shared=True))
    rows = learner.module_batches(batch_for(learner))
    # Two members: what a scout and a porter see, and which of two points it is.
    assert rows[CENTRAL_CRITIC][Columns.OBS].shape[1:] == (2, 2, 7 + 7 + 2)
    assert rows["scouts"][Postprocessing.ADVANTAGES].shape[1:] == (1,)
    assert rows["scouts"][Columns.ACTION_LOGP].shape[1:] == (2,)


@pytest.mark.ray
@pytest.mark.parametrize("batched", [None, False])
def test_what_is_saved_acts_the_same(build, tmp_path, batched):
    first, second = (build(toy_config(Crew, batched=batched).debugging(seed=s)) for s in (1, 2))
    results = first.train()
    assert set(results["learners"]) == {
        "scouts",
        "porters",
        "chief",
        CENTRAL_CRITIC,
        "__all_modules__",
    }
    second.restore_from_path(first.save_to_path(str(tmp_path / "checkpoint")))
    torch.manual_seed(0)
    team = first.config.team()
    observations = {a: torch.randn(5, team.observation_size(a)) for a in team.agents}
    acted = [
        algorithm.env_runner.module.act(observations, explore=False)
        for algorithm in (first, second)
    ]
    torch.testing.assert_close(*acted, rtol=0, atol=0)
    assert second.train()["num_env_steps_sampled_lifetime"] == 128


@pytest.mark.ray
@pytest.mark.parametrize("critic", ["decision_point", "separate"])
def test_scouts_learn_to_name_what_each_of_them_sees(build, critic):
    """By chance a third of the three hits, which is 1/3 of the reward."""
    config = toy_config(
        Crew,
        train_batch_size_per_learner=512,
        minibatch_size=128,
        num_epochs=8,
        lr=1e-2,
        gamma=0.0,
        critic=critic,
    )
    algorithm = build(config.env_runners(num_envs_per_env_runner=16))
    rewards = [algorithm.train()["env_runners"]["episode_metrics"]["reward"] / 8 for _ in range(8)]
    assert rewards[0] < 0.6
    assert rewards[-1] > 0.9


def test_an_update_moves_every_network():
    learner = learner_of(toy_config(Crew))
    before = {m: learner.module[m].network.last.weight.clone() for m in learner.module_configs}
    update(learner, batch_for(learner))
    for mid, weight in before.items():
        assert not torch.equal(learner.module[mid].network.last.weight, weight)


def test_all_members_share_the_statistics_of_observations():
    config = toy_config(Crew).env_runners(observation_filter="MeanStdFilter")
    learner = learner_of(config)
    batch = batch_for(learner)
    update(learner, batch)
    own = learner.module["scouts"].filter
    assert own.count == len(batch) * 3
    members = batch.observations["scouts"].reshape(-1, SIZES["scouts"])
    np.testing.assert_allclose(own.mean, members.mean(axis=0), atol=1e-6)
