"""Critics: what each baseline depends on, and values that do not move with their statistics."""

import pytest
import torch
from ray.rllib.core.columns import Columns
from toy_teams import AGENTS, box, entity_team, random_batch, toy_team

from rllib_mec.hmppo.modules.critic import Critic
from rllib_mec.hmppo.modules.critic_plan import CENTRAL_CRITIC, CriticPlan


def build(plan, critic_id=CENTRAL_CRITIC, hidden=(16,)):
    torch.manual_seed(0)
    return Critic(
        observation_space=box(*plan.input_shape(critic_id)),
        action_space=None,
        model_config={
            "fcnet_hiddens": list(hidden),
            "fcnet_activation": "tanh",
            "num_entities": plan.team.num_entities if plan.entity_shared else None,
        },
        inference_only=False,
    )


def baselines(plan, observations, actions):
    """The baseline of each agent, (R,), as the learner computes it."""
    team = plan.team
    observed = {a: team.fill_slots(a, observations[a], actions) for a in team.agents}
    result = {}
    for critic_id, agents in plan.critics.items():
        inputs = plan.inputs(critic_id, observed)
        values = build(plan, critic_id).compute_values({Columns.OBS: inputs})
        assert values.shape == (len(inputs), plan.num_points)
        result |= {agent: values[:, plan.baseline_point(agent)] for agent in agents}
    return result


def dependence(plan, of="actions"):
    """Returns {(agent, other)}: the agent's baseline depends on the other's action/observation."""
    observations, actions = random_batch(plan.team, 8, seed=0)
    new_observations, new_actions = random_batch(plan.team, 8, seed=1)
    before = baselines(plan, observations, actions)
    found = set()
    for other in plan.team.agents:
        if of == "actions":
            changed = (observations, actions | {other: new_actions[other]})
        else:
            changed = (observations | {other: new_observations[other]}, actions)
        after = baselines(plan, *changed)
        found |= {(a, other) for a in plan.team.agents if not torch.equal(after[a], before[a])}
    return found


def test_decision_point_baselines_depend_on_earlier_actions_only():
    plan = CriticPlan("decision_point", toy_team(), entity_shared=False)
    expected = {("painter", "leader"), ("tail", "leader"), ("tail", "painter")}
    assert dependence(plan) == expected


def test_decision_point_baselines_of_two_agents():
    plan = CriticPlan("decision_point", toy_team(agents=AGENTS[:2]), entity_shared=False)
    assert dependence(plan) == {("painter", "leader")}


def test_decision_point_baselines_with_entities():
    plan = CriticPlan("decision_point", entity_team(3), entity_shared=True)
    assert dependence(plan) == {("second", "first")}


def test_an_agent_that_decides_unseen_shares_its_point_with_the_next():
    team = toy_team(slots={"tail": {"painter": (5, 0)}})
    plan = CriticPlan("decision_point", team, entity_shared=False)
    assert plan.num_points == 2
    assert dependence(plan) == {("tail", "painter")}


def test_the_value_to_bootstrap_from_depends_on_no_action():
    """It is that of point 0, the baseline of whoever decides first."""
    plan = CriticPlan("decision_point", toy_team(), entity_shared=False)
    assert plan.baseline_point("leader") == 0
    assert not {pair for pair in dependence(plan) if pair[0] == "leader"}
    assert not plan.bootstraps_from_actions


def test_joint_state_baselines_depend_on_every_action_that_is_seen():
    plan = CriticPlan("joint_state", toy_team(), entity_shared=False)
    assert dependence(plan) == {(a, o) for a in AGENTS for o in ("leader", "painter")}
    assert plan.bootstraps_from_actions


def test_separate_baselines_depend_on_what_the_agent_sees():
    plan = CriticPlan("separate", toy_team(), entity_shared=False)
    assert set(plan.critics) == {"leader_critic", "painter_critic", "tail_critic"}
    assert dependence(plan, of="observations") == {(agent, agent) for agent in AGENTS}
    assert dependence(plan) == {("painter", "leader"), ("tail", "leader"), ("tail", "painter")}


@pytest.mark.parametrize("kind", ["decision_point", "joint_state"])
def test_central_baselines_depend_on_every_observation(kind):
    plan = CriticPlan(kind, toy_team(), entity_shared=False)
    assert dependence(plan, of="observations") == {(a, o) for a in AGENTS for o in AGENTS}


def test_points_are_told_apart_even_where_nothing_is_decided():
    """Zero observations and an action that is coded as nothing: only the marker differs."""
    plan = CriticPlan("decision_point", toy_team(), entity_shared=False)
    observed = {a: torch.zeros(1, plan.team.observation_size(a)) for a in AGENTS}
    inputs = plan.inputs(CENTRAL_CRITIC, observed)
    assert torch.equal(inputs[0, :, -3:], torch.eye(3))
    assert not inputs[..., :-3].any()


def test_a_critic_of_entities_does_not_care_about_their_order():
    n, plan = 4, CriticPlan("joint_state", entity_team(4), entity_shared=True)
    observations, _ = random_batch(plan.team, 5)
    order = torch.tensor([2, 0, 3, 1])
    shuffled = {a: o.reshape(5, n, -1)[:, order].reshape(5, -1) for a, o in observations.items()}
    critic = build(plan)
    values = [
        critic.compute_values({Columns.OBS: plan.inputs(CENTRAL_CRITIC, o)})
        for o in (observations, shuffled)
    ]
    torch.testing.assert_close(*values)


def test_tracking_leaves_every_value_where_it_is():
    """PopArt: the last layer moves with the statistics."""
    plan = CriticPlan("decision_point", toy_team(), entity_shared=False)
    critic = build(plan)
    observations, _ = random_batch(plan.team, 50)
    batch = {Columns.OBS: plan.inputs(CENTRAL_CRITIC, observations)}
    before = critic.compute_values(batch)
    for scale, shift in ((3.0, -100.0), (500.0, 20.0), (0.01, 0.0)):
        critic.track(torch.randn(400) * scale + shift)
        torch.testing.assert_close(critic.compute_values(batch), before, rtol=1e-4, atol=1e-3)
    assert critic.std.item() > 2
    assert before.std() > 0.1


def test_normalised_targets_have_mean_zero_and_deviation_one():
    critic = build(CriticPlan("decision_point", toy_team(), entity_shared=False))
    targets = torch.randn(5000) * 25 - 300
    critic.track(targets)
    normal = critic.normalise(targets)
    assert normal.mean().item() == pytest.approx(0, abs=0.01)
    assert normal.std().item() == pytest.approx(1, abs=0.01)


def test_statistics_follow_targets_that_move():
    critic = build(CriticPlan("decision_point", toy_team(), entity_shared=False))
    critic.track(torch.randn(1000) - 50)
    for _ in range(1000):
        critic.track(torch.randn(1000) * 4 + 10)
    assert critic.mean.item() == pytest.approx(10, abs=0.3)
    assert critic.std.item() == pytest.approx(4, abs=0.2)


def test_constant_targets_are_no_division_by_zero():
    critic = build(CriticPlan("decision_point", toy_team(), entity_shared=False))
    critic.track(torch.full((10,), 7.0))
    assert critic.normalise(torch.tensor([7.0])).item() == pytest.approx(0, abs=0.1)
    assert all(parameter.isfinite().all() for parameter in critic.parameters())


def test_the_forward_pass_gives_values_in_normalised_units():
    plan = CriticPlan("decision_point", toy_team(), entity_shared=False)
    critic = build(plan)
    critic.track(torch.randn(1000) * 5 + 40)
    observations, _ = random_batch(plan.team, 9)
    batch = {Columns.OBS: plan.inputs(CENTRAL_CRITIC, observations)}
    normal = critic.forward_train(batch)[Columns.VF_PREDS]
    torch.testing.assert_close(critic.normalise(critic.compute_values(batch)), normal)
