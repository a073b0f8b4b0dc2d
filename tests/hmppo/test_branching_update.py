"""SABPPO's update by hand is autograd's, and each branch has a ratio and a clip of its own."""

import numpy as np
import pytest
import torch
from learners import assert_same, batch_for, build, state, update
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing
from toy_branches import SPACE, branching_config

from rllib_mec.envs.fedpeat import FedPEATEnv
from rllib_mec.hmppo.action_codec import ActionCodec
from rllib_mec.hmppo.distributions import ActionDistribution
from rllib_mec.hmppo.learning.gradients import Coefficients, actor_gradient
from rllib_mec.hmppo.learning.update import StackedUpdate

FEDPEAT = {"env": FedPEATEnv, "env_config": {"num_ues": 3, "num_rounds": 4}}
CASES = {
    "branch": {},
    "joint": {"ratio": "joint"},
    "wide": {"clip_param": 1e-3, "lr": 1e-2},
    "kl loss, entropy": {"use_kl_loss": True, "kl_coeff": 0.3, "entropy_coeff": 0.05},
    "no hidden layer in the branches": {"model": {"branch_width": 0}},
    "relu": {"model": {"fcnet_activation": "relu", "fcnet_hiddens": [8, 6]}},
    "fedpeat": FEDPEAT,
    "entities": {**FEDPEAT, "entity_shared": True},
    "entities, joint": {**FEDPEAT, "entity_shared": True, "ratio": "joint"},
    "entities, entity": {**FEDPEAT, "entity_shared": True, "ratio": "entity"},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_by_hand_it_is_autograds(case):
    config = branching_config(**{"lr": 3e-3, **case})
    ours, theirs = build(config), build(config, by_autograd=True)
    assert theirs.needs_autograd
    assert not ours.needs_autograd
    batch = batch_for(ours)
    before = {k: v.clone() for k, v in _actor(ours).state_dict().items()}
    update(ours, batch), update(theirs, batch)
    assert_same(ours, theirs)
    after = _actor(ours).state_dict()
    assert all(not torch.equal(after[name], before[name]) for name in after)


@pytest.mark.parametrize("case", [{}, {**FEDPEAT, "entity_shared": True}], ids=["mlp", "entities"])
def test_learners_together_learn_what_each_learns_alone(case):
    together, alone = ([build(branching_config(**case), seed) for seed in (1, 2)] for _ in range(2))
    batches = [batch_for(learner, seed) for seed, learner in enumerate(alone)]
    for learner in together:
        learner.begin_update({"num_env_steps_sampled_lifetime": 0})
    StackedUpdate(together).run(batches, 16, 2, shuffle=True)
    for own, other, batch in zip(together, alone, batches, strict=True):
        update(other, batch)
        assert_same(own, other)


def test_branches_log_probabilities_make_up_the_joint_one():
    joint, branch = (batch_for(build(branching_config(ratio=r))) for r in ("joint", "branch"))
    assert branch.log_probs["mirror"].shape[1:] == (6,)
    np.testing.assert_array_equal(branch.actions["mirror"], joint.actions["mirror"])
    sums = branch.log_probs["mirror"].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(sums, joint.log_probs["mirror"], rtol=1e-5, atol=1e-5)


def test_a_branchs_log_probability_is_that_of_its_dimension():
    codec = ActionCodec(SPACE, branches=True)
    assert [leaf.size for leaf in codec.leaves] == [2, 2, 2]
    parameters = torch.zeros(1, codec.num_parameters)
    parameters[0, 0] = np.log(3.0)  # of a choice among three: 3 : 1 : 1
    first = next(iter(SPACE.spaces))
    assert first == "choices"
    actions = torch.zeros(1, codec.size)
    found = ActionDistribution(codec, parameters).log_probs(actions)[0]
    gauss = -0.5 * np.log(2 * np.pi)
    expected = [np.log(3 / 5), np.log(1 / 4), np.log(0.5), np.log(0.5), gauss, gauss]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float32))


@pytest.mark.parametrize(("ratio", "is_clipped"), [("joint", True), ("branch", False)])
def test_small_moves_of_all_branches_are_no_large_move(ratio, is_clipped):
    """Each branch's ratio is 1.1, within the clip of 0.2; the joint one is 1.1 ** 6 = 1.8."""
    shift = np.log(1.1) * (6 if ratio == "joint" else 1)
    gradient, _ = _gradient(ratio, lambda logp: logp - shift)
    assert (gradient.abs().max() == 0) == is_clipped


def test_only_the_branch_that_has_moved_too_far_is_clipped():
    """By hand: the surrogate's gradient is -ratio * advantage / rows in a branch, or 0."""

    def one_far(logp):
        return logp - torch.tensor([0.0, 0.0, 0.0, np.log(1.5), 0.0, 0.0], dtype=torch.float32)

    gradient, actor = _gradient("branch", one_far)
    sizes = [parameter.numel() for parameter in actor.parameters()]
    names = [name for name, _ in actor.named_parameters()]
    parts = dict(zip(names, gradient[0].split(sizes), strict=True))
    bias = parts["network.branches.output.bias"]  # 3 + 4 choices, 2 coins, 2 means
    assert (bias[:8] != 0).all()
    assert bias[8] == 0
    assert (bias[9:] != 0).all()


def _gradient(ratio, move):
    learner = build(branching_config(ratio=ratio))
    rows = learner.module_batches(batch_for(learner))["mirror"]
    rows[Columns.ACTION_LOGP] = move(rows[Columns.ACTION_LOGP])
    rows[Postprocessing.ADVANTAGES] = torch.ones_like(rows[Postprocessing.ADVANTAGES])
    actor, one = _actor(learner), torch.ones(1, 1)
    with torch.no_grad():
        gradient, _ = actor_gradient(
            actor,
            [value[None] for value in actor.parameters()],
            {name: column[None] for name, column in rows.items()},
            Coefficients(clip=0.2 * one, entropy=None, kl=None, value=one, most=None),
        )
    return gradient, actor


def _actor(learner):
    return learner.module[learner.plan.team.agents[0]].unwrapped()


def test_a_branch_hears_of_no_other_branch():
    """What one branch outputs does not hang on another's weights; the trunk serves all."""
    learner = build(branching_config())
    actor = _actor(learner)
    observations = torch.randn(5, 11)
    before = actor.parameters_of(observations)
    with torch.no_grad():
        actor.network.branches.hidden.weight[:5] += 1.0  # the first branch's, of width 5
    after = actor.parameters_of(observations)
    changed = (before != after).any(dim=0)
    assert changed.nonzero().flatten().tolist() == [0, 1, 2]
    assert state(learner)["modules"]["mirror"]["network.branches.hidden.weight"].shape == (30, 16)
