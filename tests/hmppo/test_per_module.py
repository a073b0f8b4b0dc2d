"""Settings and networks that single actors and critics have of their own."""

import copy

import numpy as np
import pytest
import torch
from learners import batch_for, state, update
from learners import build as learner_of
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.evaluation.postprocessing import Postprocessing
from toy_groups import Crew
from toy_seekers import GROUPS, Seekers
from toy_teams import toy_config

from rllib_mec.errors import InputError
from rllib_mec.experiment.export.write import About, write_policy
from rllib_mec.hmppo import HMPPOConfig
from rllib_mec.hmppo.learning.update import StackedUpdate
from rllib_mec.hmppo.modules.critic_plan import CENTRAL_CRITIC
from rllib_mec.hmppo.modules.dense import ACTIVATIONS

WHOLE = {"minibatch_size": None, "num_epochs": 1, "shuffle_batch_per_epoch": False}


def config_of(overrides=None, model_config=None, env=Seekers, **training):
    if env is Seekers:
        training = {"agent_groups": GROUPS, **training}
    config = toy_config(env, **training)
    config.rl_module(algorithm_config_overrides_per_module=copy.deepcopy(overrides or {}))
    if model_config is not None:
        config.rl_module(model_config=model_config)
    return config


@pytest.mark.parametrize("by_autograd", [False, True], ids=["by hand", "autograd"])
@pytest.mark.parametrize("update_", ["simultaneous", "sequential"])
def test_a_group_without_a_learning_rate_stays_as_it_is(by_autograd, update_):
    learner = learner_of(
        config_of({"seekers": {"lr": 0.0}}, update=update_), by_autograd=by_autograd
    )
    before = copy.deepcopy(state(learner)["modules"])
    update(learner, batch_for(learner))
    after = state(learner)["modules"]
    for module_id, weights in before.items():
        for name, value in weights.items():
            same = torch.equal(after[module_id][name], value)
            assert same == (module_id == "seekers"), (module_id, name)


@pytest.mark.parametrize("by_autograd", [False, True], ids=["by hand", "autograd"])
def test_clips_and_entropies_of_single_actors_by_hand(by_autograd):
    """Every ratio is e^0.1 = 1.105: clipped at 1.2, 1.05 or 1 if the advantage is above zero.

    The advantages are those of the whole team, of mean 0, and count once for each member.
    """
    overrides = {"scouts": {"clip_param": 0.0, "entropy_coeff": 0.3}, "chief": {"clip_param": 0.05}}
    learner = learner_of(
        config_of(overrides, env=Crew, entropy_coeff=0.01, lr=0.0), by_autograd=by_autograd
    )
    batch = batch_for(learner)
    for own in batch.log_probs.values():
        own -= 0.1
    rows = learner.module_batches(batch)
    results = update(learner, batch, **WHOLE)
    clips = {"scouts": 1.0, "porters": 1.2, "chief": 1.05}
    for agent, members in (("scouts", 3), ("porters", 2), ("chief", 1)):
        advantages = rows[agent][Postprocessing.ADVANTAGES][:, 0].numpy()
        most = np.where(advantages > 0, min(np.exp(0.1), clips[agent]), np.exp(0.1))
        found = {
            name: results[agent][name].peek() for name in ("policy_loss", "entropy", "total_loss")
        }
        assert found["policy_loss"] == pytest.approx(
            -members * (most * advantages).mean(), abs=1e-5
        )
        weight = 0.3 if agent == "scouts" else 0.01
        assert found["entropy"] > 0.1
        expected = found["policy_loss"] - weight * found["entropy"]
        assert found["total_loss"] == pytest.approx(expected, abs=1e-5)
    scouts, porters = (results[agent]["policy_loss"].peek() for agent in ("scouts", "porters"))
    assert porters == pytest.approx(0, abs=1e-5)
    assert scouts > 0.05


def test_limits_of_gradients_by_module():
    overrides = {
        "seekers": {"grad_clip": 1e-4, "grad_clip_by": "value"},
        "host": {"grad_clip": None},
    }
    learner = learner_of(config_of(overrides, grad_clip=0.5))
    limits = {}
    step = StackedUpdate([learner])
    for mid in ("seekers", "host", CENTRAL_CRITIC):
        most = step._coefficients(mid).most
        limits[mid] = None if most is None else round(most.item(), 6)
    assert limits == {"seekers": 1e-4, "host": None, CENTRAL_CRITIC: 0.5}
    results = update(learner, batch_for(learner), **WHOLE)
    assert "gradients_global_norm" not in results["host"]
    assert "gradients_global_norm" in results["seekers"]


def test_divergence_is_weighed_and_limited_by_actor():
    overrides = {"seekers": {"kl_coeff": 3.0, "kl_target": 1e-9}, "host": {"kl_target": 1e9}}
    learner = learner_of(config_of(overrides, use_kl_loss=True, kl_coeff=0.2))
    batch = batch_for(learner)
    for factors in ({"seekers": 1.0, "host": 1.0}, {"seekers": 1.5, "host": 0.5}):
        found = {a: learner.curr_kl_coeffs_per_module[a].item() for a in ("seekers", "host")}
        expected = {"seekers": 3.0 * factors["seekers"], "host": 0.2 * factors["host"]}
        assert found == pytest.approx(expected)
        update(learner, batch)


def test_returns_are_discounted_as_their_critic_says():
    """A discount of 0 leaves the rewards; gamma = lambda = 1 with values of 0 their sums."""
    overrides = {"seekers_critic": {"gamma": 0.0}, "host_critic": {"gamma": 1.0, "lambda": 1.0}}
    learner = learner_of(config_of(overrides, critic="separate"))
    batch = batch_for(learner)
    batch.terminated[:] = True
    for mid in learner.plan.critics:
        with torch.no_grad():
            for parameter in learner.module[mid].parameters():
                parameter.zero_()
    rows = learner.module_batches(batch)

    def returns(mid):
        critic = learner.module[mid]
        return rows[mid][Postprocessing.VALUE_TARGETS] * critic.std + critic.mean

    rewards = torch.as_tensor(batch.rewards)
    torch.testing.assert_close(returns("seekers_critic"), rewards[:, None].expand(-1, 3))
    remaining = rewards.reshape(4, 15).flip(1).cumsum(1).flip(1).reshape(-1, 1)
    torch.testing.assert_close(returns("host_critic"), remaining, rtol=1e-4, atol=1e-4)


def test_networks_by_module(tmp_path):
    config = config_of(
        model_config={
            "fcnet_hiddens": [7, 5],
            "per_module": {
                "seekers": {"fcnet_hiddens": [3], "fcnet_activation": "relu"},
                CENTRAL_CRITIC: {"fcnet_hiddens": [11]},
            },
        }
    )
    learner = learner_of(config)
    widths = {
        mid: [layer.out_features for layer in getattr(network, "each", network).layers[:-1]]
        for mid in learner.module_configs
        for network in [learner.module[mid].network]
    }
    assert widths == {"seekers": [3], "host": [7, 5], CENTRAL_CRITIC: [11]}
    activations = {
        mid: getattr(network, "each", network).activations[0]
        for mid in widths
        for network in [learner.module[mid].network]
    }
    assert activations["seekers"] == ACTIVATIONS["relu"]
    assert activations["host"] == activations[CENTRAL_CRITIC] == ACTIVATIONS["tanh"]
    update(learner, batch_for(learner))
    # The exported policy decides the same, or this raises.
    about = About("HMPPO", {"name": "seekers", "config": {}})
    policy = learner.config.get_multi_rl_module_spec(inference_only=True).build()
    assert set(policy.keys()) == {"seekers", "host"}
    assert write_policy(policy, about, tmp_path / "exported") < 1e-5


@pytest.mark.parametrize(
    ("config", "message", "at"),
    [
        (
            config_of({"seeker": {"lr": 0}}),
            "of 'seeker': expected one of seekers, host, central_critic, did you mean 'seekers'",
            ("seeker",),
        ),
        (
            config_of({"seeker_1": {}}),
            "'seeker_1': expected its group's name, 'seekers'",
            ("seeker_1",),
        ),
        (config_of({"host": 3}), "of 'host' = 3: expected settings", ("host",)),
        (
            config_of({"host": {"minibatch_size": 3}}),
            "minibatch_size of 'host': expected a setting that can differ for a single actor, one "
            "of lr, grad_clip, grad_clip_by, clip_param, entropy_coeff, kl_coeff, kl_target",
            ("host", "minibatch_size"),
        ),
        (
            config_of({"host": {"gamma": 0.3}}),
            "gamma of 'host': .*, this one is the critic's, 'central_critic'",
            ("host", "gamma"),
        ),
        (
            config_of({"host": {"lambda": 0.3}}, critic="separate"),
            "lambda of 'host': .*, this one is the critic's, 'host_critic'",
            ("host", "lambda"),
        ),
        (
            config_of({CENTRAL_CRITIC: {"clip_param": 0.3}}),
            "clip_param of 'central_critic': .* single critic, one of lr, grad_clip, grad_clip_by, "
            "vf_loss_coeff, gamma, lambda_",
            (CENTRAL_CRITIC, "clip_param"),
        ),
        (
            config_of({"host": {"model_config": {}}}),
            "model_config of 'host': .*, networks do by model_config.per_module",
            ("host", "model_config"),
        ),
        (
            config_of({"host": {"lr": -1}}),
            r"_per_module\[host\]: lr = -1: expected a number >= 0",
            ("host", "lr"),
        ),
        (config_of({"host": {"lr": "1"}}), "lr = '1': expected a number", ("host", "lr")),
        (config_of({"host": {"lr": [[5, 1.0], [9, 2.0]]}}), "first timestep", ("host", "lr")),
        (config_of({"host": {"lr": [1, 2]}}), r"_per_module\[host\]: ", ("host", "lr")),
        (
            config_of({CENTRAL_CRITIC: {"gamma": 1.5}}),
            r"gamma = 1.5: expected a number in \[0, 1\]",
            (CENTRAL_CRITIC, "gamma"),
        ),
        (
            config_of({"host": {"grad_clip_by": "all"}}),
            "grad_clip_by = 'all': expected one of global_norm, norm, value",
            ("host", "grad_clip_by"),
        ),
    ],
)
def test_mistakes_in_settings_are_named(config, message, at):
    with pytest.raises(InputError, match=message) as caught:
        config.validate()
    assert caught.value.at == ("algorithm_config_overrides_per_module", *at)


@pytest.mark.parametrize(
    ("model_config", "message", "at"),
    [
        ({"per_module": [1]}, r"model_config.per_module = \[1\]: expected \{module id: ", ()),
        (
            {"per_module": {"hosts": {}}},
            "per_module of 'hosts': expected one of .* 'host'",
            ("hosts",),
        ),
        (
            {"per_module": {"host": {"fcnet_hidens": [3]}}},
            r"per_module\[host\]: unknown model_config key 'fcnet_hidens': did you mean 'fcnet_hid",
            ("host", "fcnet_hidens"),
        ),
        (
            {"per_module": {"host": {"fcnet_hiddens": 3}}},
            r"model_config.per_module\[host\]: model_config.fcnet_hiddens = 3: expected a list",
            ("host",),
        ),
        (
            {"per_module": {"host": {"per_module": {}}}},
            r"model_config.per_module\[host\]: expected no per_module inside",
            ("host",),
        ),
    ],
)
def test_mistakes_in_networks_are_named(model_config, message, at):
    with pytest.raises(InputError, match=message) as caught:
        config_of(model_config=model_config).validate()
    assert caught.value.at == ("model_config", "per_module", *at)


def test_modules_to_be_trained_are_there():
    config_of().multi_agent(policies_to_train=["seekers", CENTRAL_CRITIC]).validate()
    for given, message in (("seeker_1", "its group's name, 'seekers'"), ("guest", "one of seek")):
        with pytest.raises(InputError, match=f"policies_to_train of '{given}': expected {message}"):
            config_of().multi_agent(policies_to_train=[given]).validate()


def test_rllibs_own_specs_are_not_passed_over():
    spec = MultiRLModuleSpec(rl_module_specs={"host": RLModuleSpec(model_config={})})
    for given in (spec, RLModuleSpec()):
        with pytest.raises(InputError, match=r"rl_module_spec: expected none, .*per_module"):
            config_of().rl_module(rl_module_spec=given).validate()


@pytest.mark.ray
def test_a_whole_algorithm_has_them_and_goes_on_with_them(build, tmp_path):
    overrides = {
        "seekers": HMPPOConfig.overrides(lr=0.0),
        CENTRAL_CRITIC: {"lr": [[0, 1.0], [9, 0]]},
    }
    networks = {"fcnet_hiddens": [4], "per_module": {"seekers": {"fcnet_hiddens": [3]}}}

    def weights(algorithm):
        return algorithm.learner_group.get_weights()

    first = build(config_of(overrides, networks))
    before = copy.deepcopy(weights(first))
    first.train()
    learner = first.learner_group._learner
    rates = {
        mid: learner.get_optimizer(mid).param_groups[0]["lr"] for mid in learner.module_configs
    }
    assert rates == pytest.approx({"seekers": 0.0, "host": 3e-3, CENTRAL_CRITIC: 0.0})
    second = build(config_of(overrides, networks).debugging(seed=5))
    second.restore_from_path(first.save_to_path(str(tmp_path / "checkpoint")))
    second.train()
    for name, value in before["seekers"].items():
        np.testing.assert_array_equal(weights(second)["seekers"][name], value)
    moved = [not np.array_equal(weights(second)["host"][n], v) for n, v in before["host"].items()]
    assert all(moved)
