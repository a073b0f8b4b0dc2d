"""Teams with action masks: what they sample, and what they learn from it."""

import numpy as np
import pytest
import torch
from learners import assert_same, batch_for, build, update
from toy_masks import BatchableLocks, BatchedLocks, Locks, Rack, TwinDoors
from toy_teams import toy_config

from rllib_mec.baselines.policies import make_policy
from rllib_mec.hmppo.action_mask import NothingAllowedError
from rllib_mec.hmppo.sampling.batched_env import BatchOfOne
from rllib_mec.hmppo.sampling.batched_env_runner import BatchedEnvRunner
from rllib_mec.hmppo.sampling.episode_runner import EpisodeEnvRunner


@pytest.mark.parametrize("env", [Locks, TwinDoors])
@pytest.mark.parametrize("critic", ["decision_point", "separate"])
def test_the_update_by_hand_is_that_of_autograd(env, critic):
    config = toy_config(env, critic=critic, entropy_coeff=0.01, use_kl_loss=True)
    config.env_runners(observation_filter="MeanStdFilter")
    ours, theirs = build(config), build(config, by_autograd=True)
    batch = masked_batch(ours)
    update(ours, batch)
    update(theirs, batch)
    assert_same(ours, theirs)


def masked_batch(learner):
    """Random steps whose masks are masks: of those, and at what the policy does."""
    team = learner.plan.team
    draw = np.random.default_rng(0)

    def mask(observations):
        for agent in team.masked:
            codec = team.observation_codecs[agent]
            members = observations[agent].reshape(len(observations[agent]), -1, codec.size)
            masks = (draw.random(members[..., codec.num_features :].shape) < 0.5).astype(np.float32)
            masks[codec.mask.allows_nothing(masks)] = 1.0
            members[..., codec.num_features :] = masks

    batch = batch_for(learner)
    for observations in (batch.observations, batch.final_observations):
        mask(observations)
    seen = {a: torch.from_numpy(o) for a, o in batch.observations.items()}
    torch.manual_seed(1)
    drawn = learner.module.act(seen, explore=True)
    for name, columns in zip(("actions", "log_probs", "parameters"), drawn, strict=True):
        setattr(batch, name, {a: own.numpy() for a, own in columns.items()})
    return batch


def test_members_have_a_mask_each():
    """Laid out member by member in the observation, leaf by leaf in the action."""
    config = toy_config(TwinDoors)
    config.validate()
    policy = config.rl_module_spec.build()
    team = policy.team
    left, right = [0.5, 1.0, 0, 0, 1, 1, 0], [0.1, 0.2, 1, 0, 0, 0, 1]
    observations = {"doors": torch.tensor([left + right] * 30), "key": torch.ones(30, 6)}
    actions, log_probs, parameters = policy.act(observations, explore=True)
    # how of the left, how of the right, to of the left, to of the right
    assert actions["doors"].unique(dim=0).tolist() == [[2, 0, 0, 1]]
    assert torch.allclose(log_probs["doors"], torch.zeros(30, 2))
    assert (parameters["doors"].abs() == 1e9).sum() == 30 * (2 + 2 + 1 + 1)
    # Each member alone is what it is in the group.
    actor = policy["doors"]
    alone = actor.parameters_of(torch.tensor([right]))
    together = parameters["doors"][0]
    torch.testing.assert_close(alone[0], together[[3, 4, 5, 7]])
    assert team.observation_size("doors") == 14
    assert team.num_features("doors") == 4


@pytest.mark.parametrize(
    "training",
    [{}, {"ratio": "entity"}, {"case_head": "autoregressive"}],
    ids=["shared", "entity", "autoregressive"],
)
def test_entities_keep_to_their_masks_and_learn_as_by_autograd(training):
    config = toy_config(Rack, entity_shared=True, entropy_coeff=0.01, **training)
    config.env_runners(observation_filter="MeanStdFilter", num_envs_per_env_runner=2)
    ours, theirs = build(config), build(config, by_autograd=True)
    batch = masked_batch(ours)
    update(ours, batch)
    update(theirs, batch)
    assert_same(ours, theirs)
    assert ours.module["rack"].unwrapped().filter.mean.shape == (2,)
    validated = config.copy(copy_frozen=False)
    validated.validate()
    runner = validated.env_runner_cls(config=validated)
    for explore in (True, False):
        assert runner.sample(num_timesteps=20, explore=explore)


def runner_of(env, batched=None, **env_config):
    config = toy_config(env, env_config).env_runners(num_envs_per_env_runner=2)
    config.training(batched=batched)
    config.validate()
    return config.env_runner_cls(config=config)


@pytest.mark.parametrize(
    ("env", "kind"), [(Locks, EpisodeEnvRunner), (BatchableLocks, BatchedEnvRunner)]
)
def test_runners_keep_to_the_masks(env, kind):
    """The environment asserts it, when exploring and when not, from one episode to the next."""
    runner = runner_of(env)
    assert isinstance(runner, kind)
    for explore in (True, False):
        samples = runner.sample(num_timesteps=30, explore=explore)
        assert sum(sample.env_steps() for sample in samples) >= 30


@pytest.mark.parametrize("env", [Locks, BatchableLocks])
@pytest.mark.parametrize("step", [0, 3])
def test_a_mask_that_allows_nothing_is_named_with_the_step(env, step):
    runner = runner_of(env, barred_at=step)
    message = rf"^action_mask of bolts allows nothing \(environment 0, step {step}\): expected"
    with pytest.raises(NothingAllowedError, match=message):
        runner.sample(num_timesteps=30)


@pytest.mark.parametrize("batched", [False, True])
def test_random_actions_are_allowed_ones(batched):
    """The environments assert it; where all keys are allowed, all are taken."""
    env = BatchedLocks([Locks() for _ in range(8)]) if batched else BatchOfOne(Locks())
    policy = make_policy("random", env, np.random.SeedSequence(3))
    observations, taken = env.reset(0), []
    for _ in range(60):
        for _ in range(6):
            actions = policy.act(env, observations)
            free = observations["key"]["action_mask"].sum(axis=1) == 4
            taken += actions["key"][free].tolist()
            observations, *_ = env.step(actions)
        observations = env.reset()
    assert set(taken) == {1, 2, 3, 4}
