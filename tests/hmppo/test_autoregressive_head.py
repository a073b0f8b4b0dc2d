"""Entities that choose one after the other: the head."""

import dataclasses
import itertools

import gymnasium as gym
import learners
import pytest
import torch
from ray.rllib.core.columns import Columns
from toy_teams import CopyEnv, MobileEdge, box, toy_config

from rllib_mec.envs import MECEnv
from rllib_mec.envs.observations import numbers_of
from rllib_mec.errors import InputError
from rllib_mec.hmppo.distributions import draw_noise
from rllib_mec.hmppo.modules.actor import Actor
from rllib_mec.hmppo.modules.autoregressive import AutoregressiveHeads
from rllib_mec.hmppo.modules.stacked import Stacked
from rllib_mec.hmppo.modules.stacked_policies import StackedPolicies
from rllib_mec.hmppo.team import Team
from rllib_mec.system import Scenario

IN_TURN = {"entity_shared": True, "case_head": "autoregressive"}
CHOICES = (2, 3)
FEATURES = 2


def actor_for(entities=3, choices=2, seed=0, entity_order=None):
    """An actor of whose choices each depends on those before it."""
    torch.manual_seed(seed)
    actor = Actor(
        observation_space=box(FEATURES * entities),
        action_space=gym.spaces.MultiDiscrete([choices] * entities),
        model_config={
            "fcnet_hiddens": [16, 12],
            "fcnet_activation": "tanh",
            "initial_log_std": 0.0,
            "num_entities": entities,
            "observation_filter": False,
            "autoregressive": True,
            "entity_order": entity_order,
        },
        inference_only=False,
    )
    torch.nn.init.normal_(actor.network.last.weight)
    return actor


def decided(actor, rows=50, explore=True, seed=0):
    """Random observations, what is decided on them, and the parameters."""
    generator = torch.Generator().manual_seed(seed)
    observations = torch.randn(rows, FEATURES * actor.num_entities, generator=generator)
    noise = draw_noise(actor.codec, (rows,), generator) if explore else None
    return observations, *actor.decide_alone(observations, noise)[:2]


def joint_actions(actor):
    """All joint actions, (K^N, N)."""
    choices = range(actor.network.num_choices)
    return torch.tensor(list(itertools.product(choices, repeat=actor.num_entities))).float()


@pytest.mark.parametrize("choices", CHOICES)
@pytest.mark.parametrize("order_by", [None, 1])
def test_the_gradient_by_hand_is_autograds(choices, order_by):
    torch.manual_seed(0)
    form = (FEATURES, [8, 6], choices, "tanh", 1.0, order_by)
    networks = [AutoregressiveHeads(*form) for _ in range(2)]
    values = [value.detach().requires_grad_() for value in Stacked(networks).values]
    x, actions = torch.randn(2, 7, 5, FEATURES), torch.randint(choices, (2, 7, 5)).float()
    expected, _ = networks[0].trace(values, x, actions)
    gradient = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, values, gradient)
    with torch.no_grad():
        found, tape = networks[0].trace(values, x, actions)
        torch.testing.assert_close(found, expected)
        gradients = networks[0].pull(values, tape, gradient)
    assert all(own.abs().max() > 0.01 for own in wanted)
    torch.testing.assert_close(gradients, list(wanted), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("explore", [True, False])
@pytest.mark.parametrize("entity_order", [None, 0])
@pytest.mark.parametrize(("entities", "choices"), [(1, 2), (5, 2), (5, 3)])
def test_what_was_drawn_from_is_what_is_learned_from(entities, choices, entity_order, explore):
    actor = actor_for(entities, choices, entity_order=entity_order)
    observations, actions, parameters = decided(actor, explore=explore)
    assert set(actions.unique().tolist()) == set(range(choices))
    torch.testing.assert_close(actor.parameters_of(observations, actions), parameters)


@pytest.mark.parametrize("choices", CHOICES)
def test_the_probabilities_of_all_joint_actions_sum_to_1(choices):
    actor = actor_for(3, choices)
    actions = joint_actions(actor)
    for row in torch.randn(4, FEATURES * 3):
        log_probs = actor.distribution(row.expand(len(actions), -1), actions).log_prob(actions)
        assert log_probs.exp().sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("choices", CHOICES)
def test_joint_actions_are_drawn_as_often_as_is_likely(choices):
    actor, many = actor_for(3, choices), 40_000
    actions, row = joint_actions(actor), torch.randn(1, FEATURES * 3)
    expected = actor.distribution(row.expand(len(actions), -1), actions).log_prob(actions).exp()
    noise = draw_noise(actor.codec, (many,), torch.Generator().manual_seed(0))
    drawn, *_ = actor.decide_alone(row.expand(many, -1), noise)
    weights = torch.tensor([choices**2, choices, 1.0])
    counts = torch.bincount((drawn @ weights).long(), minlength=len(actions))
    torch.testing.assert_close(counts / many, expected.detach(), rtol=0, atol=0.015)


def test_the_largest_chooses_first_wherever_it_lies():
    """Entities that lie in another order decide the same, each for itself."""
    actor, n = actor_for(4, entity_order=1), 4
    observations = torch.randn(50, n, FEATURES)
    noise = draw_noise(actor.codec, (50,), torch.Generator().manual_seed(0))
    actions, parameters, _ = actor.decide_alone(observations.flatten(1), noise)
    layout = torch.tensor([2, 0, 3, 1])
    other, theirs, _ = actor.decide_alone(observations[:, layout].flatten(1), noise[:, layout])
    assert torch.equal(other, actions[:, layout])
    torch.testing.assert_close(theirs, parameters[:, layout])
    # Only those with a smaller number see what an entity has chosen.
    first = observations[..., 1].argmax(dim=1)
    changed = actions.clone()
    rows = torch.arange(50)
    changed[rows, first] = 1 - changed[rows, first]
    after = actor.parameters_of(observations.flatten(1), changed)
    moved = ~torch.isclose(after, parameters, atol=1e-5).reshape(50, n)
    assert not moved[rows, first].any()
    assert moved.sum() > 100
    in_layout = actor_for(4)
    one, *_ = in_layout.decide_alone(observations.flatten(1), noise)
    two, *_ = in_layout.decide_alone(observations[:, layout].flatten(1), noise[:, layout])
    assert not torch.equal(two, one[:, layout])


def test_an_order_by_what_is_not_there_is_refused():
    team = Team.of_env(MECEnv(Scenario(num_ues=3)))
    for order, message in (
        (
            {"case_decision": 4},
            r"entity_order\[case_decision\] = 4: expected an index of one",
        ),
        ({"somebody": 0}, r"entity_order of 'somebody': expected one of"),
    ):
        with pytest.raises(InputError, match=message):
            dataclasses.replace(team, entity_order=order)


def test_in_field_ues_with_the_longest_local_training_choose_first():
    env = MECEnv(Scenario.of("field"))
    index = Team.of_env(env).entity_order["case_decision"]
    assert numbers_of(env.scenario)[index] == "local"
    assert Team.of_env(MECEnv(Scenario.of("published"))).entity_order == {}


@pytest.mark.parametrize("choices", CHOICES)
def test_a_choice_changes_the_logits_of_later_entities_only(choices):
    actor, n = actor_for(4, choices), 4
    observations, actions, parameters = decided(actor, 20)
    parameters = actor.parameters_of(observations, actions).unflatten(1, (n, -1))
    for j in range(n):
        other = actions.clone()
        other[:, j] = (other[:, j] + 1) % choices
        changed = actor.parameters_of(observations, other).unflatten(1, (n, -1)) != parameters
        assert not changed[:, : j + 1].any()
        assert changed[:, j + 1 :].any(dim=-1).all()


@pytest.mark.parametrize("choices", CHOICES)
def test_without_exploration_each_takes_what_is_most_probable_after_those_before(choices):
    actor = actor_for(5, choices)
    observations, actions, _ = decided(actor, explore=False)
    assert torch.equal(actor.distribution(observations, actions).mode(), actions)
    _, again, _ = decided(actor, explore=False)
    assert torch.equal(actions, again)


def test_the_first_policy_hardly_depends_on_anything():
    torch.manual_seed(0)
    network = AutoregressiveHeads(FEATURES, [16], 2, "tanh", 0.01)
    x, actions = torch.randn(1, 50, 6, FEATURES), torch.randint(2, (1, 50, 6)).float()
    logits, _ = network.trace([value[None] for value in network.parameters()], x, actions)
    assert logits.abs().max() < 0.1


def test_weights_learned_with_3_entities_run_with_9():
    three, nine = actor_for(3), actor_for(9, seed=1)
    nine.set_state(three.get_state())
    observations, actions, parameters = decided(nine)
    torch.testing.assert_close(nine.parameters_of(observations, actions), parameters)
    # The first entity sees nobody's choice: with copies of one entity it is that of any number.
    same = [observations[:, :FEATURES].repeat(1, n) for n in (3, 9)]
    ours, theirs = (
        own.decide_alone(o, None)[1] for own, o in zip((three, nine), same, strict=True)
    )
    torch.testing.assert_close(ours[:, 0], theirs[:, 0])


def policy_of(config, seed=0):
    config.validate()
    torch.manual_seed(seed)
    policy = config.rl_module_spec.build()
    for agent in policy.team.agents:
        torch.nn.init.normal_(policy[agent].network.last.weight)
    return policy


def mec_observations(policy, rows):
    return {a: torch.randn(rows, policy.team.observation_size(a)) for a in policy.team.agents}


@pytest.mark.parametrize("explore", [True, False])
def test_policies_together_act_as_each_alone(explore):
    config = toy_config(MobileEdge, {"num_ues": 4}, **IN_TURN)
    policies = [policy_of(config, seed) for seed in (0, 1)]
    observations = [mec_observations(policy, 8) for policy in policies]
    alone = []
    for policy, observed in zip(policies, observations, strict=True):
        generator = torch.Generator().manual_seed(5)
        alone.append(policy.act(observed, explore=explore, generator=generator))
    stacked = StackedPolicies(policies, [5, 5])
    both = {a: torch.stack([own[a] for own in observations]) for a in policies[0].team.agents}
    actions, parameters = stacked.act(both, explore=explore)
    for index, (acted, _, drawn) in enumerate(alone):
        for agent in acted:
            torch.testing.assert_close(actions[agent][index], acted[agent])
            torch.testing.assert_close(parameters[agent][index], drawn[agent])


def test_a_seed_decides_what_is_drawn():
    policy = policy_of(toy_config(MobileEdge, {"num_ues": 4}, **IN_TURN))
    observations = {a: o[None] for a, o in mec_observations(policy, 20).items()}
    drawn = [
        StackedPolicies([policy], [seed]).act(observations, explore=True)[0]["case_decision"]
        for seed in (1, 1, 2)
    ]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("observation_filter", ["NoFilter", "MeanStdFilter"])
def test_the_first_ratio_is_1(observation_filter):
    config = toy_config(MobileEdge, {"num_ues": 4}, **IN_TURN, lr=1e-2)
    learner = learners.build(config.env_runners(observation_filter=observation_filter))
    for seed in (1, 2, 3):
        batch = learners.batch_for(learner, seed)
        rows = learner.module_batches(batch)
        for agent, own in rows.items():
            if agent in batch.actions:
                actor = learner.module[agent]
                new = actor.distribution(own[Columns.OBS], own[Columns.ACTIONS])
                log_probs = new.log_prob(own[Columns.ACTIONS])
                torch.testing.assert_close(log_probs, own[Columns.ACTION_LOGP][:, 0])
        learners.update(learner, batch)


def test_only_agents_with_one_choice_for_each_entity_have_the_head():
    for reading in ("retention", "keep_or_retention"):
        policy = policy_of(
            toy_config(MobileEdge, {"num_ues": 3, "emulator_action": reading}, **IN_TURN)
        )
        assert policy["case_decision"].autoregressive
        assert not policy["emulator_config"].autoregressive
    assert not policy_of(toy_config(MobileEdge, entity_shared=True))["case_decision"].autoregressive


class TogetherEnv(MECEnv):
    """A team of one, whose action is a Dict."""

    def __init__(self, env_config=None):
        from rllib_mec.system import Scenario

        super().__init__(Scenario(num_ues=2), single_agent=True)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (toy_config(MobileEdge, case_head="autoregresive"), "did you mean 'autoregressive'"),
        (toy_config(MobileEdge, case_head=None), "unknown case_head None"),
        (
            toy_config(MobileEdge, case_head="autoregressive"),
            "case_head = 'autoregressive': expected entity_shared = true, got false",
        ),
        (toy_config(CopyEnv, **IN_TURN), "expected an environment that declares num_entities"),
        (
            toy_config(TogetherEnv, **IN_TURN),
            "case_head = 'autoregressive': expected an agent whose action .* each of the 2 entit",
        ),
    ],
)
def test_mistakes_are_named(config, message):
    with pytest.raises(InputError, match=message) as caught:
        config.validate()
    assert "\n" not in str(caught.value)


def test_rllib_gets_actions_of_an_actor_and_no_logits_without_them():
    actor = actor_for(4)
    observations = torch.randn(30, FEATURES * 4)
    for forward, explore in (
        (actor.forward_exploration, True),
        (actor.forward_inference, False),
    ):
        out = forward({Columns.OBS: observations})
        actions = out[Columns.ACTIONS]
        assert actions.dtype == torch.int64
        distribution = actor.distribution(observations, actions.float())
        assert torch.equal(distribution.mode(), actions.float()) is not explore
        torch.testing.assert_close(out[Columns.ACTION_LOGP], distribution.log_prob(actions.float()))
    with pytest.raises(ValueError, match="no logits without actions"):
        actor.forward_train({Columns.OBS: observations})
    with pytest.raises(ValueError, match="no logits without actions"):
        actor.distribution(observations)
