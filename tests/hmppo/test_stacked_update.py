"""The update by hand is autograd's, and that of several learners is that of each alone."""

import dataclasses
import itertools
import logging

import numpy as np
import pytest
import torch
from learners import TIMESTEPS, assert_same, batch_for, build, state, update
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing
from toy_groups import Crew, Pairs
from toy_images import lights_config
from toy_memory import recall_config
from toy_teams import MobileEdge, toy_config

from rllib_mec.hmppo.learning.update import Compiled, StackedUpdate
from rllib_mec.hmppo.modules.critic_plan import CRITICS
from rllib_mec.hmppo.modules.dense import ACTIVATIONS
from rllib_mec.hmppo.sampling.batched_env_runner import BatchedEnvRunner


def losses(results):
    names = ("policy_loss", "vf_loss", "entropy", "total_loss", "mean_kl_loss")
    return {
        (mid, name): float(value)
        for mid, own in results.items()
        for name, value in own.items()
        if name in names
    }


ENTITIES = {"env": MobileEdge, "env_config": {"num_ues": 3, "emulator_action": "keep_or_retention"}}
ENTITY_RATIO = {**ENTITIES, "entity_shared": True, "ratio": "entity"}
IN_TURN = {**ENTITIES, "entity_shared": True, "case_head": "autoregressive"}
CASES = {
    **{f"critic={kind}": {"critic": kind} for kind in CRITICS},
    "entities": {**ENTITIES, "entity_shared": True},
    "entities joint_state": {**ENTITIES, "entity_shared": True, "critic": "joint_state"},
    "kl loss": {"use_kl_loss": True, "kl_coeff": 0.3},
    "entropy": {"entropy_coeff": 0.05},
    "value loss": {"vf_loss_coeff": 0.3},
    "no clipping": {"grad_clip": None},
    "clip by norm": {"grad_clip": 1e-2, "grad_clip_by": "norm"},
    "clip by value": {"grad_clip": 1e-3, "grad_clip_by": "value"},
    "wide ratio": {"clip_param": 1e-3, "lr": 1e-2},
    "sequential": {"update": "sequential", "lr": 1e-2},
    "sequential joint_state": {"update": "sequential", **ENTITIES, "critic": "joint_state"},
    "entity ratio": ENTITY_RATIO,
    "entity ratio, wide": {**ENTITY_RATIO, "clip_param": 1e-3, "lr": 1e-2, "use_kl_loss": True},
    "branch ratio": {"ratio": "branch"},
    "branch ratio, wide": {"ratio": "branch", "clip_param": 1e-3, "lr": 1e-2},
    "branch ratio sequential": {"ratio": "branch", "update": "sequential", "lr": 1e-2},
    "entity ratio sequential": {**ENTITY_RATIO, "update": "sequential", "lr": 1e-2},
    **{f"groups critic={kind}": {"env": Crew, "critic": kind, "lr": 1e-2} for kind in CRITICS},
    "groups kl loss, entropy": {"env": Crew, "use_kl_loss": True, "entropy_coeff": 0.05},
    "groups sequential": {"env": Crew, "update": "sequential", "critic": "separate", "lr": 1e-2},
    "groups as entities": {"env": Pairs, "entity_shared": True},
    "groups as entities, separate": {"env": Pairs, "entity_shared": True, "critic": "separate"},
    **{f"in turn critic={kind}": {**IN_TURN, "critic": kind} for kind in CRITICS},
    "in turn sequential": {**IN_TURN, "update": "sequential", "lr": 1e-2},
    "in turn kl loss": {**IN_TURN, "use_kl_loss": True, "kl_coeff": 0.3, "entropy_coeff": 0.05},
    "in turn, entity ratio": {**IN_TURN, "ratio": "entity", "lr": 1e-2},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_by_hand_it_is_autograds(case):
    config = toy_config(**{"lr": 3e-3, **case})
    ours, theirs = build(config), build(config, by_autograd=True)
    assert theirs.needs_autograd
    assert not ours.needs_autograd
    batch = batch_for(ours)
    before = state(ours)["modules"]
    before = {mid: {k: v.clone() for k, v in own.items()} for mid, own in before.items()}
    results = update(ours, batch), update(theirs, batch)
    assert_same(ours, theirs)
    assert losses(results[0]) == pytest.approx(losses(results[1]), rel=1e-3, abs=1e-5)
    for mid, own in state(ours)["modules"].items():
        assert any(not torch.equal(own[name], before[mid][name]) for name in own)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", [[8], [12, 8, 6]], ids=len)
@pytest.mark.parametrize("entity_shared", [False, True], ids=["mlp", "entities"])
def test_all_networks(activation, hidden, entity_shared):
    config = toy_config(**ENTITIES, entity_shared=entity_shared)
    config.rl_module(model_config={"fcnet_hiddens": hidden, "fcnet_activation": activation})
    ours, theirs = build(config), build(config, by_autograd=True)
    batch = batch_for(ours)
    update(ours, batch, num_epochs=1)
    update(theirs, batch, num_epochs=1)
    assert_same(ours, theirs)


@pytest.mark.parametrize("rows", [1, 3000])
def test_large_products_too(rows):
    """From a size on, other kernels compute them."""
    torch.manual_seed(0)
    x, weight = torch.randn(2, rows, 40), torch.randn(2, 60, 40, requires_grad=True)
    bias, gradient = torch.randn(2, 60, requires_grad=True), torch.randn(2, rows, 60)
    from rllib_mec.hmppo.modules.dense import dense, pull_dense

    for activation in (*ACTIVATIONS.values(), None):
        x.requires_grad_()
        expected, _ = dense(x, weight, bias, activation)
        wanted = torch.autograd.grad(expected, (x, weight, bias), gradient)
        x = x.detach()
        with torch.no_grad():
            y, saved = dense(x, weight, bias, activation)
            found = pull_dense(gradient, x, weight, saved, activation)
        torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=5e-4)


SEEDS = (1, 2, 3)
MEMBERS = {
    "seeds": [{}] * 3,
    "settings": [
        {"lr": 1e-3},
        {"lr": 5e-3, "gamma": 0.5, "lambda_": 0.7, "clip_param": 0.05},
        {"entropy_coeff": 0.1, "vf_loss_coeff": 0.5, "grad_clip": 0.01},
    ],
}


@pytest.mark.parametrize("members", MEMBERS.values(), ids=MEMBERS.keys())
@pytest.mark.parametrize(
    "case",
    [
        {},
        {**ENTITIES, "entity_shared": True},
        {"critic": "separate"},
        {"update": "sequential"},
        ENTITY_RATIO,
        {"env": Crew},
        {"env": Crew, "critic": "separate"},
        IN_TURN,
        {**IN_TURN, "ratio": "entity"},
    ],
    ids=[
        "mlp",
        "entities",
        "separate",
        "sequential",
        "entity ratio",
        "groups",
        "groups separate",
        "in turn",
        "in turn, entity ratio",
    ],
)
def test_learners_together_learn_what_each_learns_alone(members, case):
    def learners():
        return [
            build(toy_config(**{**case, **own}), seed)
            for own, seed in zip(members, SEEDS, strict=True)
        ]

    together, alone = learners(), learners()
    batches = [batch_for(learner, seed) for learner, seed in zip(alone, SEEDS, strict=True)]
    stacked = StackedUpdate(together)
    for _ in range(2):
        for learner in together:
            learner.begin_update(TIMESTEPS)
        parts = stacked.run(batches, 16, 2, shuffle=True)
        expected = [update(learner, batch) for learner, batch in zip(alone, batches, strict=True)]
    for own, other, part, result in zip(together, alone, parts, expected, strict=True):
        assert_same(own, other)
        assert losses(part) == pytest.approx(losses(result), rel=1e-3, abs=1e-5)
    for one, two in itertools.combinations(together, 2):
        weights = [
            learner.module[learner.plan.team.agents[0]].network.last.weight
            for learner in (one, two)
        ]
        assert not torch.allclose(*weights)


@pytest.mark.parametrize(
    "case",
    [
        {},
        IN_TURN,
        pytest.param(
            {**ENTITIES, "entity_shared": True, "use_kl_loss": True, "update": "sequential"},
            marks=pytest.mark.cluster,  # a minute of compiling
        ),
    ],
)
def test_compiled_it_is_the_same(case, caplog):
    ours, plain = build(toy_config(compiled=True, **case)), build(toy_config(**case))
    batch = batch_for(plain)
    with caplog.at_level(logging.WARNING):
        update(ours, batch)
    update(plain, batch)
    assert "torch.compile" not in caplog.text
    assert_same(ours, plain)


def test_without_a_compiler_it_goes_on_and_says_so(caplog):
    def fails(*_):
        raise RuntimeError("no working C++ compiler\nand more")

    compiled = Compiled(lambda a, b: a + b)
    compiled.function = fails
    with caplog.at_level(logging.WARNING):
        assert compiled(1, 2) == compiled(3, 0) == 3
    [record] = caplog.records
    assert "going on without: no working C++ compiler" in record.getMessage()


def test_an_error_of_the_functions_own_is_not_taken_for_the_compilers():
    def broken(x):
        raise KeyError(x)

    compiled = Compiled(broken)
    compiled.function = broken
    with pytest.raises(KeyError, match="row"):
        compiled("row")


def test_mixed_precision_is_the_same_up_to_bfloat16s_digits():
    """On a GPU it is bfloat16 all the same."""
    mixed, plain = build(toy_config(mixed_precision=True)), build(toy_config())
    batch = batch_for(plain)
    for learner in (mixed, plain):
        update(learner, batch, num_epochs=1, minibatch_size=None)
    gradients = [
        {mid: own[0]["exp_avg"] for mid, own in state(learner)["moments"].items()}
        for learner in (mixed, plain)
    ]
    for mid in gradients[0]:
        one, two = (own[mid].flatten() for own in gradients)
        assert one.dtype == torch.float32
        assert not torch.equal(one, two)
        assert torch.nn.functional.cosine_similarity(one, two, dim=0) > 0.98


def test_the_stacked_rows_are_those_of_the_batches():
    config = toy_config(use_kl_loss=True)
    learners = [build(config, seed) for seed in SEEDS]
    batches = [batch_for(learner, seed) for learner, seed in zip(learners, SEEDS, strict=True)]
    rows = StackedUpdate(learners).rows(batches)
    for index, batch in enumerate(batches):
        for agent in ("leader", "painter", "tail"):
            own = {name: column[index].numpy() for name, column in rows[agent].items()}
            np.testing.assert_array_equal(own[Columns.ACTIONS], batch.actions[agent])
            np.testing.assert_array_equal(own[Columns.ACTION_LOGP], batch.log_probs[agent])
            assert own[Postprocessing.ADVANTAGES].mean() == pytest.approx(0, abs=1e-6)
            parameters = own[Columns.ACTION_DIST_INPUTS]
            np.testing.assert_array_equal(parameters, batch.parameters[agent])


def test_batches_that_begin_with_slots_empty_end_with_them_empty():
    learner = build(toy_config())
    batch = batch_for(learner)
    copy = dataclasses.replace(
        batch, observations={a: o.copy() for a, o in batch.observations.items()}
    )
    update(learner, batch)
    for agent, observed in batch.observations.items():
        np.testing.assert_array_equal(observed, copy.observations[agent])


@pytest.mark.parametrize("config", [recall_config, lights_config], ids=["memory", "images"])
def test_mixed_precision_is_nearly_the_same_with_what_autograd_differentiates(config):
    plain, mixed = config(), config(mixed_precision=True)
    plain.validate()
    [batch] = BatchedEnvRunner(config=plain, worker_index=0).sample(num_timesteps=40)
    weights = []
    for own in (plain, mixed):
        learner = build(own)
        update(learner, batch)
        modules = [learner.module[mid].unwrapped() for mid in learner.module_configs]
        weights.append(torch.cat([p.flatten() for m in modules for p in m.parameters()]))
    assert weights[1].dtype == torch.float32
    assert 0 < (weights[0] - weights[1]).abs().max() < 0.05
