"""One agent after the other: what the later ones learn, and what else stays as it is."""

import copy
import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from learners import assert_same, batch_for, build, state, update
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing
from toy_seekers import Seekers
from toy_teams import AGENTS, toy_config

from rllib_mec.errors import InputError
from rllib_mec.hmppo.learning.active_rows import ACTIVE
from rllib_mec.hmppo.learning.sequential import in_turns, order_of
from rllib_mec.hmppo.learning.update import StackedUpdate
from rllib_mec.hmppo.modules.critic_plan import CENTRAL_CRITIC, CRITICS

WHOLE = {"minibatch_size": None, "num_epochs": 5, "shuffle_batch_per_epoch": False}
"""Each epoch is one step on all rows."""


def config(**training):
    return toy_config(**{"update": "sequential", "lr": 1e-2, **training})


def log_probs(actor, rows):
    return actor.distribution(rows[Columns.OBS]).log_prob(rows[Columns.ACTIONS])[:, None]


def trained(actor, rows, advantages, epochs, lr):
    """The actor after PPO's clipped steps, by torch's own means."""
    actor = copy.deepcopy(actor)
    adam = torch.optim.Adam(actor.parameters(), lr)
    for _ in range(epochs):
        ratio = (log_probs(actor, rows) - rows[Columns.ACTION_LOGP]).exp()
        clipped = ratio.clamp(0.8, 1.2)
        loss = -torch.minimum(ratio * advantages, clipped * advantages).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    return actor


def test_later_agents_weight_their_advantages_by_the_ratios_of_earlier_ones():
    learner, untouched = (build(config(grad_clip=None)) for _ in range(2))
    batch = batch_for(learner)
    rows = untouched.module_batches(batch)
    update(learner, batch, **WHOLE)
    weights = torch.ones(len(batch), 1)
    for agent in order_of(AGENTS, 1):
        own = rows[agent]
        advantages = own[Postprocessing.ADVANTAGES] * weights
        actor = trained(untouched.module[agent].unwrapped(), own, advantages, epochs=5, lr=1e-2)
        found = learner.module[agent].unwrapped().state_dict()
        torch.testing.assert_close(found, actor.state_dict(), rtol=1e-4, atol=1e-6)
        with torch.no_grad():
            weights = weights * (log_probs(actor, own) - own[Columns.ACTION_LOGP]).exp()
        assert (weights - 1).abs().max() > 0.05


def with_odds(actor, weight, bias):
    """Makes an actor's log odds of choosing 1 weight · observation + bias."""
    with torch.no_grad():
        actor.network.last.weight.copy_(torch.tensor([weight]))
        actor.network.last.bias.copy_(torch.tensor([bias]))


def test_correction_factors_by_hand():
    """Two seekers and a host, whose choices have had a chance of 1/2 each, and a row of 3.

    The seekers, who share an actor, come to choose 1 with 4/5 where they see (0, 1), else as
    before: their ratios are 8/5 and 2/5 there, and their product is the host's correction. The host
    comes to choose 1 with 3/4: ratios of 3/2 and 1/2.
    """
    model = {"fcnet_hiddens": []}
    groups = {"pair": ["seeker_0", "seeker_1"], "rest": ["seeker_2"]}
    learner = build(config(env=Seekers, agent_groups=groups).rl_module(model_config=model))
    seen = {
        "pair": [[1.0, 0, 0, 1], [0, 1, 0, 1], [0, 1, 1, 0]],
        "host": [[1.0, 1, 1]] * 3,
        "rest": [[1.0, 0]] * 3,
    }
    chosen = {"pair": [[1.0, 1], [1, 0], [0, 0]], "host": [[1.0], [0], [1]], "rest": [[1.0]] * 3}
    advantages = {"pair": [1.0, 2, 3], "host": [10.0, 20, 30], "rest": [1.0, -1, 2]}
    rows = {
        agent: {
            Columns.OBS: torch.tensor([seen[agent]]),
            Columns.ACTIONS: torch.tensor([chosen[agent]]),
            Columns.ACTION_LOGP: torch.full((1, 3, len(chosen[agent][0])), 0.5).log(),
            Postprocessing.ADVANTAGES: torch.tensor([advantages[agent]])[..., None],
        }
        for agent in seen
    }
    networks = learner.stacked_update.networks
    turns = in_turns(rows, ["pair", "host", "rest"], networks)
    assert next(turns)["pair"] is rows["pair"]
    with_odds(learner.module["pair"], [0.0, math.log(4)], 0.0)
    second = next(turns)["host"][Postprocessing.ADVANTAGES]
    factors = torch.tensor([8 / 5, 8 / 5 * 2 / 5, 2 / 5])
    torch.testing.assert_close(second[0, :, 0], factors * torch.tensor(advantages["host"]))
    with_odds(learner.module["host"], [0.0, 0.0, 0.0], math.log(3))
    third = next(turns)["rest"][Postprocessing.ADVANTAGES]
    factors = factors * torch.tensor([3 / 2, 1 / 2, 3 / 2])
    torch.testing.assert_close(third[0, :, 0], factors * torch.tensor(advantages["rest"]))
    # A seeker that was not there has changed nothing.
    rows["pair"][ACTIVE] = torch.tensor([[[1.0, 1], [0, 1], [0, 1]]])
    turns = in_turns(rows, ["pair", "host"], networks)
    next(turns)
    alone = next(turns)["host"][Postprocessing.ADVANTAGES] / torch.tensor([[[10.0], [20], [30]]])
    torch.testing.assert_close(alone[0, :, 0], torch.tensor([8 / 5, 2 / 5, 1.0]))


@pytest.mark.parametrize("critic", CRITICS)
def test_critics_and_the_first_agent_learn_what_they_would_at_once(critic):
    ours, theirs = build(config(critic=critic)), build(config(critic=critic, update="simultaneous"))
    batch = batch_for(ours)
    results = update(ours, batch), update(theirs, batch)
    first, *later = order_of(AGENTS, 1)
    one, other = (state(learner)["modules"] for learner in (ours, theirs))
    for mid in (first, *ours.plan.critics):
        torch.testing.assert_close(one[mid], other[mid], rtol=0, atol=0)
        for name in ("total_loss", "gradients_global_norm"):
            assert float(results[0][mid][name]) == float(results[1][mid][name])
    for agent in later:
        assert any(not torch.equal(one[agent][name], other[agent][name]) for name in one[agent])


@pytest.mark.parametrize("by_autograd", [False, True], ids=["by hand", "autograd"])
@pytest.mark.parametrize("settings", [{}, {"num_total_minibatches": 7}], ids=["epochs", "fixed"])
def test_every_network_takes_as_many_steps_as_at_once(by_autograd, settings):
    def steps(kind):
        learner = build(config(update=kind), by_autograd=by_autograd)
        results = update(learner, batch_for(learner), **settings)
        for mid in learner.module_configs:
            norms = [v for name, v in results[mid].items() if name.endswith("global_norm")]
            assert norms
            assert all(float(norm) > 0 for norm in norms)
        return {
            mid: {int(own["step"]) for own in moments.values()}
            for mid, moments in state(learner)["moments"].items()
        }

    assert steps("sequential") == steps("simultaneous")


@pytest.mark.parametrize("by_autograd", [False, True], ids=["by hand", "autograd"])
@pytest.mark.parametrize(
    "trained", [["leader", "tail"], ["painter"], [CENTRAL_CRITIC]], ids="+".join
)
def test_only_modules_to_be_trained_move(trained, by_autograd):
    learner = build(config().multi_agent(policies_to_train=trained), by_autograd=by_autograd)
    before = copy.deepcopy(state(learner)["modules"])
    update(learner, batch_for(learner))
    after = state(learner)["modules"]
    moved = {
        mid
        for mid in after
        for name in after[mid]
        if not torch.equal(after[mid][name], before[mid][name])
    }
    assert moved == set(trained)


def test_a_run_goes_on_in_the_same_order():
    """Bit for bit, where minibatches are not shuffled."""
    whole, resumed = build(config(), seed=1), build(config(), seed=2)
    batch = batch_for(whole)
    for _ in range(2):
        update(whole, batch, **WHOLE)
    resumed.set_state(whole.get_state())
    for learner in (whole, resumed):
        update(learner, batch, **WHOLE)
    assert order_of(AGENTS, 3) != order_of(AGENTS, 1)
    assert_same(resumed, whole, rtol=0, atol=0)


def test_members_of_a_stack_must_have_come_equally_far():
    ahead, behind = build(config()), build(config())
    batch = batch_for(ahead)
    update(ahead, batch)
    with pytest.raises(InputError, match=r"expected members .* equally many updates, got \[0, 1\]"):
        StackedUpdate([ahead, behind]).run([batch, batch])


@given(number=st.integers(0, 10**9), agents=st.integers(1, 9))
def test_an_order_has_every_agent_once_and_is_drawn_alike_again(number, agents):
    names = [f"agent_{i}" for i in range(agents)]
    order = order_of(names, number)
    assert sorted(order) == names
    assert order == order_of(names, number)


def test_all_orders_come_about_equally_often():
    counts = Counter(tuple(order_of(AGENTS, number)) for number in range(1, 601))
    assert len(counts) == 6
    assert all(70 < count < 130 for count in counts.values())
