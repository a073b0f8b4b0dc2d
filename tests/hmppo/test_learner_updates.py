"""What an update moves, and what it must leave alone."""

import functools

import pytest
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.evaluation.postprocessing import Postprocessing
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED_LIFETIME
from toy_teams import AGENTS, toy_config, toy_episode, toy_learner

from rllib_mec.hmppo.finite import NotFiniteError
from rllib_mec.hmppo.learning.episodes_to_team_batch import TEAM_BATCH, EpisodesToTeamBatch
from rllib_mec.hmppo.modules.critic_plan import CENTRAL_CRITIC

MODULES = (*AGENTS, CENTRAL_CRITIC)


def episodes_for(learner, steps=24):
    """Episodes that the learner's own policy has played."""
    return [
        toy_episode(learner.plan.team, steps, policy=learner.module, seed=seed, end="truncated")
        for seed in range(2)
    ]


def update(learner, steps_sampled=0, **kwargs):
    torch.manual_seed(0)
    return learner.update(
        episodes=episodes_for(learner),
        timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: steps_sampled},
        **{"num_epochs": 1, "minibatch_size": 16} | kwargs,
    )


def batch_for(learner):
    torch.manual_seed(0)
    connector = EpisodesToTeamBatch(learner.plan.team)
    batch = connector(episodes=episodes_for(learner), batch={}, rl_module=None)
    return learner.module_batches(batch[TEAM_BATCH])


def losses_of(learner, batch):
    return learner.compute_losses(fwd_out=learner.module.forward_train(batch), batch=batch)


def gradients(learner, loss):
    """Norm of the gradient of ``loss`` in each module."""
    result = {}
    for module_id in MODULES:
        parameters = list(learner.module[module_id].parameters())
        found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        result[module_id] = sum(g.square().sum().item() for g in found if g is not None) ** 0.5
    return result


def weights(learner):
    return {
        module_id: {k: v.clone() for k, v in learner.module[module_id].state_dict().items()}
        for module_id in MODULES
    }


def moved(before, after):
    return {
        module_id
        for module_id in before
        if any(not torch.equal(v, after[module_id][k]) for k, v in before[module_id].items())
    }


def test_every_loss_reaches_its_own_module_only():
    learner = toy_learner()
    losses = losses_of(learner, batch_for(learner))
    assert set(losses) == set(MODULES)
    for module_id, loss in losses.items():
        norms = gradients(learner, loss)
        assert {m for m, norm in norms.items() if norm > 0} == {module_id}


def test_no_advantage_no_gradient():
    """And what is left in the loss of an actor is its entropy."""
    learner = toy_learner(toy_config(entropy_coeff=0.0))
    batch = batch_for(learner)
    for agent in AGENTS:
        batch[agent][Postprocessing.ADVANTAGES] = torch.zeros(48, 1)
    losses = losses_of(learner, batch)
    assert gradients(learner, sum(losses[a] for a in AGENTS)) == dict.fromkeys(MODULES, 0.0)

    learner = toy_learner(toy_config(entropy_coeff=0.5))
    losses = losses_of(learner, batch)
    for agent in AGENTS:
        entropy = learner.module[agent].distribution(batch[agent]["obs"]).entropy().mean()
        torch.testing.assert_close(losses[agent], -0.5 * entropy)


def test_an_update_makes_what_went_well_more_probable():
    learner = toy_learner()
    batch = batch_for(learner)
    good = torch.zeros(48, 1)
    good[:10] = 1.0

    def log_probs(agent):
        distribution = learner.module[agent].distribution(batch[agent]["obs"])
        return distribution.log_prob(batch[agent]["actions"])[:10].mean().item()

    before = {agent: log_probs(agent) for agent in AGENTS}
    for agent in AGENTS:
        batch[agent][Postprocessing.ADVANTAGES] = good
    learner._update(batch)
    assert all(log_probs(agent) > before[agent] for agent in AGENTS)


def test_the_critic_learns_the_returns():
    learner = toy_learner(toy_config(lr=1e-2))
    first = update(learner)
    for _ in range(20):
        last = update(learner, num_epochs=5)
    assert last[CENTRAL_CRITIC]["vf_loss"].peek() < 0.5 * first[CENTRAL_CRITIC]["vf_loss"].peek()


def test_an_update_moves_every_module():
    learner = toy_learner()
    before = weights(learner)
    update(learner)
    assert moved(before, weights(learner)) == set(MODULES)


@pytest.mark.parametrize(
    "trained", [["leader"], ["leader", "tail"], [*AGENTS], [CENTRAL_CRITIC]], ids="+".join
)
def test_only_modules_to_be_trained_move(trained):
    learner = toy_learner(toy_config().multi_agent(policies_to_train=trained))
    before = weights(learner)
    update(learner)
    assert moved(before, weights(learner)) == set(trained)


def test_torchs_schedulers_step_with_every_minibatch():
    """A setting that RLlib's own step carries out."""
    halving = functools.partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5)
    learner = toy_learner(toy_config(lr=1e-2).experimental(_torch_lr_scheduler_classes=[halving]))
    batch = batch_for(learner)
    for _ in range(3):
        learner._update(batch)
        learner.after_gradient_based_update(timesteps={"num_env_steps_sampled_lifetime": 0})
    for module_id in MODULES:
        assert learner.get_optimizer(module_id).param_groups[0]["lr"] < 1e-2


def test_learning_rates_follow_their_schedule():
    learner = toy_learner(toy_config(lr=[[0, 1e-2], [1000, 2e-3]]))
    for sampled, rate in ((0, 1e-2), (500, 6e-3), (1000, 2e-3), (5000, 2e-3)):
        update(learner, steps_sampled=sampled)
        for module_id in MODULES:
            assert learner.get_optimizer(module_id).param_groups[0]["lr"] == pytest.approx(rate)


def test_entropy_coefficients_follow_their_schedule():
    learner = toy_learner(toy_config(entropy_coeff=[[0, 0.4], [1000, 0.0]]))
    batch = batch_for(learner)
    for agent in AGENTS:
        batch[agent][Postprocessing.ADVANTAGES] = torch.zeros(48, 1)
    for sampled, coefficient in ((0, 0.4), (750, 0.1), (1000, 0.0)):
        update(learner, steps_sampled=sampled)
        losses = losses_of(learner, batch)
        for agent in AGENTS:
            entropy = learner.module[agent].distribution(batch[agent]["obs"]).entropy().mean()
            # The surrogate is zero; new and old policies differ, advantages do not.
            torch.testing.assert_close(losses[agent], -coefficient * entropy)


def test_overrides_reach_one_module_only():
    overrides = {
        "leader": PPOConfig.overrides(clip_param=0.0, entropy_coeff=0.3, lr=1e-5),
        CENTRAL_CRITIC: PPOConfig.overrides(vf_loss_coeff=7.0, lr=2e-5),
    }
    plain = toy_learner(toy_config(vf_loss_coeff=1.0))
    config = toy_config(vf_loss_coeff=1.0)
    special = toy_learner(config.multi_agent(algorithm_config_overrides_per_module=overrides))
    batch = batch_for(plain)
    special.module.set_state(plain.module.get_state())
    for agent in AGENTS:
        # As if the policy had moved: the ratio is 1.1, inside the clip parameter but for 0.
        batch[agent]["action_logp"] = batch[agent]["action_logp"] - 0.1
        batch[agent][Postprocessing.ADVANTAGES] = torch.ones(48, 1)
    ours, theirs = losses_of(special, batch), losses_of(plain, batch)
    entropy = special.module["leader"].distribution(batch["leader"]["obs"]).entropy().mean()
    torch.testing.assert_close(ours["leader"], -1.0 - 0.3 * entropy)
    for agent in ("painter", "tail"):
        torch.testing.assert_close(ours[agent], theirs[agent])
        assert ours[agent].item() == pytest.approx(-1.1052, abs=1e-3)
    torch.testing.assert_close(ours[CENTRAL_CRITIC], 7 * theirs[CENTRAL_CRITIC])
    rates = {m: special.get_optimizer(m).param_groups[0]["lr"] for m in MODULES}
    assert rates == {"leader": 1e-5, "painter": 3e-3, "tail": 3e-3, CENTRAL_CRITIC: 2e-5}


@pytest.mark.parametrize(("target", "factor"), [(1e-9, 1.5), (1e9, 0.5)])
def test_the_kl_coefficient_seeks_its_target(target, factor):
    config = toy_config(use_kl_loss=True, kl_coeff=0.2, kl_target=target)
    learner = toy_learner(config)
    update(learner, num_epochs=3)
    for agent in AGENTS:
        assert learner.curr_kl_coeffs_per_module[agent].item() == pytest.approx(0.2 * factor)


def test_the_kl_loss_holds_the_policy_back():
    distances = {}
    for coefficient in (0.0, 100.0):
        config = toy_config(use_kl_loss=True, kl_coeff=coefficient, kl_target=0.01)
        learner = toy_learner(config)
        results = update(learner, num_epochs=20)
        distances[coefficient] = {a: results[a]["mean_kl_loss"].peek() for a in AGENTS}
    for agent in AGENTS:
        assert 0 <= distances[100.0][agent] < 0.3 * distances[0.0][agent]


@pytest.mark.parametrize(
    ("where", "what"), [("reward", "rewards"), ("observation", "observations of painter")]
)
def test_what_is_not_finite_is_not_learned_from(where, what):
    learner = toy_learner()
    episode = episodes_for(learner)[0]
    own = episode.agent_episodes["painter"]
    if where == "reward":
        own.rewards.data[3] = float("nan")
    else:
        own.observations.data[3][2] = float("nan")
    before = weights(learner)
    with pytest.raises(NotFiniteError, match=f"^{what}: nan in row 3 of the training batch"):
        learner.update(episodes=[episode], timesteps={}, num_epochs=1, minibatch_size=4)
    after = weights(learner)
    for module_id, state in before.items():
        for name, value in state.items():
            assert torch.equal(value, after[module_id][name])


def test_numbers_too_large_to_be_squared_are_fine():
    learner = toy_learner()
    episode = episodes_for(learner)[0]
    episode.agent_episodes["painter"].observations.data[3][2] = 3e38
    learner.update(episodes=[episode], timesteps={}, num_epochs=1, minibatch_size=4)


@pytest.mark.parametrize(
    ("epochs", "what"), [(1, "the weights of"), (2, "the (loss|weights) of")], ids=str
)
def test_training_that_diverges_says_so(epochs, what):
    """Also if only the last step did it, after which there is no loss any more."""
    learner = toy_learner(toy_config(lr=1e38))
    with pytest.raises(FloatingPointError, match=rf"{what} \w+ (is|are) .*: training has diverged"):
        learner.update(
            episodes=episodes_for(learner), timesteps={}, num_epochs=epochs, minibatch_size=None
        )


def test_results_name_losses_and_steps_of_every_module():
    learner = toy_learner(toy_config(use_kl_loss=True))
    results = update(learner)
    for agent in AGENTS:
        assert {"policy_loss", "entropy", "mean_kl_loss", "total_loss"} <= set(results[agent])
        assert results[agent]["num_module_steps_trained"].peek() == 48
    assert {"vf_loss", "total_loss"} <= set(results[CENTRAL_CRITIC])
    assert results["__all_modules__"]["num_env_steps_trained"].peek() == 48
