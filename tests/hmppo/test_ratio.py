"""Ratios of entities: the same policy and first step, and a clip that N does not tighten."""

import numpy as np
import pytest
import torch
from learners import batch_for, build, state, update
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing
from toy_teams import MobileEdge, toy_config

from rllib_mec.hmppo.learning.episodes_to_team_batch import TEAM_BATCH, EpisodesToTeamBatch
from rllib_mec.hmppo.learning.gradients import Coefficients, actor_gradient
from rllib_mec.hmppo.sampling.batched_env_runner import BatchedEnvRunner
from rllib_mec.hmppo.sampling.episode_runner import EpisodeEnvRunner
from rllib_mec.registry import register

NUM_UES = 8


def config(ratio, env=MobileEdge, **training):
    env_config = {"num_ues": NUM_UES, "num_tasks": 5, "emulator_action": "keep_or_retention"}
    return toy_config(env, env_config, entity_shared=True, ratio=ratio, **training)


def test_parts_make_up_the_joint_probability():
    joint, parts = (batch_for(build(config(ratio))) for ratio in ("joint", "entity"))
    for agent in joint.log_probs:
        assert joint.log_probs[agent].shape[1:] == (1,)
        assert parts.log_probs[agent].shape[1:] == (NUM_UES,)
        np.testing.assert_array_equal(parts.actions[agent], joint.actions[agent])
        sums = parts.log_probs[agent].sum(axis=1, keepdims=True)
        np.testing.assert_allclose(sums, joint.log_probs[agent], rtol=1e-4)


def test_the_first_step_is_that_of_the_joint_ratio_and_later_ones_are_not():
    learners = [build(config(ratio, lr=1e-2)) for ratio in ("joint", "entity")]
    for epochs, alike in ((1, True), (10, False)):
        for learner in learners:
            update(learner, batch_for(learner), minibatch_size=None, num_epochs=epochs)
        ours, theirs = (state(learner)["modules"] for learner in learners)
        for agent in ("case_decision", "emulator_config"):
            for name, value in ours[agent].items():
                close = torch.allclose(value, theirs[agent][name], rtol=1e-3, atol=1e-5)
                assert close == alike, (agent, name, epochs)


@pytest.mark.parametrize(("ratio", "is_clipped"), [("joint", True), ("entity", False)])
def test_small_moves_of_all_entities_are_no_large_move(ratio, is_clipped):
    """Each entity's ratio is 1.1, within the clip of 0.2; the joint one is 1.1 ** 8 = 2.1."""
    learner = build(config(ratio))
    rows = learner.module_batches(batch_for(learner))["case_decision"]
    parts = rows[Columns.ACTION_LOGP].shape[-1]
    rows[Columns.ACTION_LOGP] = rows[Columns.ACTION_LOGP] - np.log(1.1) * NUM_UES / parts
    rows[Postprocessing.ADVANTAGES] = torch.ones_like(rows[Postprocessing.ADVANTAGES])
    actor = learner.module["case_decision"].unwrapped()
    one = torch.ones(1, 1)
    with torch.no_grad():
        gradient, _ = actor_gradient(
            actor,
            [value[None] for value in actor.parameters()],
            {name: column[None] for name, column in rows.items()},
            Coefficients(clip=0.2 * one, entropy=None, kl=None, value=one, most=None),
        )
    assert (gradient.abs().max() == 0) == is_clipped


def test_batches_and_episodes_are_the_same_training_data():
    register()

    def runner(cls, **training):
        made = config("entity", "mec", **training).env_runners(num_envs_per_env_runner=1)
        made.debugging(seed=3).validate()
        torch.manual_seed(0)
        return cls(config=made, worker_index=0)

    by_batch, by_episode = runner(BatchedEnvRunner), runner(EpisodeEnvRunner, batched=False)
    by_episode.module.set_state(by_batch.module.get_state())
    by_episode.module.generator = torch.Generator().manual_seed(3)
    [batch] = by_batch.sample(num_episodes=1)
    episodes = by_episode.sample(num_episodes=1)
    connector = EpisodesToTeamBatch(by_batch.module.team)
    other = connector(episodes=episodes, batch={}, rl_module=None)[TEAM_BATCH]
    for agent, column in batch.log_probs.items():
        assert column.shape == other.log_probs[agent].shape == (5, NUM_UES)
        np.testing.assert_allclose(other.log_probs[agent], column, rtol=1e-5, atol=1e-6)
