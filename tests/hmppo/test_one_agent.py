"""A team of one: HMPPO is then plain PPO over a hybrid action."""

import numpy as np
import pytest
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from toy_teams import toy_config

from rllib_mec.envs import ORCHESTRATOR, MECEnv
from rllib_mec.hmppo import Team
from rllib_mec.hmppo.config import module_of_agent
from rllib_mec.hmppo.modules.actor import Actor
from rllib_mec.hmppo.modules.critic_plan import CRITICS
from rllib_mec.hmppo.stacked import StackedTraining
from rllib_mec.system import DECISIONS, METRICS, Scenario

ENV = {"num_ues": 2, "num_tasks": 8, "single_agent": True}


def one_agent_config(env_config=None, **training):
    return toy_config("mec", ENV | (env_config or {}), **training)


@pytest.mark.ray
@pytest.mark.parametrize("entity_shared", [False, True], ids=["mlp", "entities"])
@pytest.mark.parametrize("critic", CRITICS)
def test_every_critic_trains(build, critic, entity_shared):
    algorithm = build(one_agent_config(critic=critic, entity_shared=entity_shared))
    results = [algorithm.train() for _ in range(2)][-1]
    assert results["num_env_steps_sampled_lifetime"] == 128
    own = "orchestrator_critic" if critic == "separate" else "central_critic"
    assert set(results["learners"]) == {ORCHESTRATOR, own, "__all_modules__"}
    assert np.isfinite(results["learners"][own]["vf_loss"])
    assert set(results["env_runners"]["episode_metrics"]) == {*METRICS, *DECISIONS}


@pytest.mark.ray
@pytest.mark.parametrize("entity_shared", [False, True], ids=["mlp", "entities"])
def test_with_nobody_else_every_critic_teaches_the_same(build, entity_shared):
    """There is no other observation to add, and no earlier action to hide."""
    learned = []
    for critic in CRITICS:
        algorithm = build(one_agent_config(critic=critic, entity_shared=entity_shared))
        algorithm.train()
        learned.append(algorithm.learner_group.get_weights()[ORCHESTRATOR])
    for other in learned[1:]:
        for name, array in learned[0].items():
            np.testing.assert_allclose(other[name], array, rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.ray
@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("reading", ["retention", "keep_or_retention"])
def test_it_is_sampled_in_batches_and_by_episodes(build, batched, reading):
    results = build(one_agent_config({"emulator_action": reading}, batched=batched)).train()
    assert results["env_runners"]["episode_metrics"]["reward"] < 0


@pytest.mark.ray
def test_seeds_are_stacked(build):
    """The member with the seed of a single run is that run."""
    alone = build(one_agent_config(entity_shared=True))  # seed 1
    stack = StackedTraining(one_agent_config(entity_shared=True), [{"seed": 0}, {"seed": 1}])
    try:
        stack.train(), alone.train()
        ours, theirs = (
            algorithm.learner_group.get_weights()[ORCHESTRATOR]
            for algorithm in (stack.algorithms["seed_1"], alone)
        )
        for name, array in theirs.items():
            np.testing.assert_allclose(ours[name], array, rtol=1e-3, atol=1e-5, err_msg=name)
    finally:
        stack.stop()


@pytest.mark.ray
def test_rllib_s_own_ppo_trains_it(build):
    config = PPOConfig().environment("mec", env_config=ENV)
    config.multi_agent(policies={ORCHESTRATOR}, policy_mapping_fn=module_of_agent)
    config.env_runners(num_env_runners=0, num_envs_per_env_runner=2)
    config.training(train_batch_size_per_learner=64, minibatch_size=32, num_epochs=2)
    algorithm = build(config)
    for _ in range(2):
        results = algorithm.train()
    assert np.isfinite(results["learners"][ORCHESTRATOR]["policy_loss"])
    assert results["env_runners"]["episode_return_mean"] < 0


@pytest.mark.parametrize("reading", ["retention", "keep_or_retention"])
def test_ues_that_change_places_change_places_in_every_decision(reading):
    team = Team.of_env(MECEnv(Scenario(num_ues=4, emulator_action=reading), single_agent=True))
    torch.manual_seed(0)
    actor = Actor(
        observation_space=team.observation_spaces[ORCHESTRATOR],
        action_space=team.action_spaces[ORCHESTRATOR],
        model_config={
            "fcnet_hiddens": [16],
            "fcnet_activation": "tanh",
            "initial_log_std": 0.0,
            "num_entities": team.require_entities(),
            "observation_filter": False,
        },
        inference_only=False,
    )
    torch.nn.init.normal_(actor.network.last.weight)
    observations, order = torch.randn(5, 16), torch.tensor([2, 0, 3, 1])
    shuffled = observations.unflatten(1, (4, 4))[:, order].flatten(1)
    ours, theirs = (
        actor.distribution(x).mode().unflatten(1, (-1, 4)) for x in (observations, shuffled)
    )
    # A row for each decision, in it a column for each UE.
    assert ours.shape[1] == (3 if reading == "keep_or_retention" else 2)
    torch.testing.assert_close(theirs, ours[:, :, order])
    assert not torch.allclose(ours, theirs)
