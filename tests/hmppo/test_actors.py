"""Actors: shapes, layout of their parameters, and networks that do not care how many entities."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.core.columns import Columns
from toy_teams import AGENTS, box, entity_team, random_batch, toy_team

from rllib_mec.errors import InputError
from rllib_mec.hmppo import Team
from rllib_mec.hmppo.modules.actor import Actor
from rllib_mec.hmppo.modules.dense import ACTIVATIONS
from rllib_mec.hmppo.modules.networks import MLP, EntityValue


def build(team, agent, entities=None, hidden=(16, 12), log_std=-0.5, seed=0):
    torch.manual_seed(seed)
    return Actor(
        observation_space=team.observation_spaces[agent],
        action_space=team.action_spaces[agent],
        model_config={
            "fcnet_hiddens": list(hidden),
            "fcnet_activation": "tanh",
            "initial_log_std": log_std,
            "num_entities": entities,
            "observation_filter": False,
        },
        inference_only=False,
    )


def boldened(actor):
    """The actor with a last layer of ordinary size: its outputs then depend on its inputs."""
    torch.nn.init.normal_(actor.network.last.weight)
    return actor


@pytest.mark.parametrize("agent", AGENTS)
def test_parameters_have_the_size_that_the_distribution_needs(agent):
    team = toy_team()
    actor = build(team, agent)
    observations, _ = random_batch(team, 5)
    out = actor.forward_train({Columns.OBS: observations[agent]})
    assert set(out) == {Columns.ACTION_DIST_INPUTS}
    assert out[Columns.ACTION_DIST_INPUTS].shape == (5, team.codecs[agent].num_parameters)
    distribution = actor.distribution(observations[agent])
    assert distribution.sample().shape == (5, team.codecs[agent].size)


def test_observations_of_several_axes_are_flattened():
    team = toy_team()
    actor = build(team, "painter")
    rows = torch.randn(3, 2, 2)
    out = actor.forward_train({Columns.OBS: rows})[Columns.ACTION_DIST_INPUTS]
    torch.testing.assert_close(out, actor.parameters_of(rows.reshape(3, 4)))


def test_the_first_policy_hardly_depends_on_the_observation():
    team = toy_team()
    observations, _ = random_batch(team, 50)
    parameters = build(team, "leader").parameters_of(observations["leader"])
    assert parameters.abs().max() < 0.1
    log_std = build(team, "tail").parameters_of(observations["tail"])[:, 1]
    assert torch.equal(log_std, torch.full((50,), -0.5))


def test_mlp_has_the_widths_it_is_given():
    network = MLP(3, [5, 7, 2], "relu", 1.0)
    assert [tuple(layer.weight.shape) for layer in network.layers] == [(5, 3), (7, 5), (2, 7)]
    assert network(torch.zeros(4, 3)).tolist() == [[0.0, 0.0]] * 4
    assert MLP(3, [2], "relu", 1.0)(torch.zeros(4, 3)).shape == (4, 2)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_bends(activation):
    torch.manual_seed(0)
    network = MLP(1, [8, 1], activation, 1.0)
    points = torch.linspace(-2, 3, 11)[:, None]
    bends = network(points).diff(dim=0).diff(dim=0)
    assert bends.abs().max() > 1e-3


@pytest.mark.parametrize("agent", ["first", "second"])
@pytest.mark.parametrize("hidden", [(16,), (16, 12)])
def test_entities_that_change_places_change_places_in_the_action(agent, hidden):
    n, team = 5, entity_team(5)
    actor = boldened(build(team, agent, entities=n, hidden=hidden))
    observations, _ = random_batch(team, 6)
    order = torch.tensor([3, 0, 4, 1, 2])
    shuffled = observations[agent].reshape(6, n, -1)[:, order].reshape(6, -1)
    parameters = actor.parameters_of(observations[agent])
    leaf_sizes = [leaf.num_parameters for leaf in team.codecs[agent].leaves]
    for ours, other in zip(
        parameters.split(leaf_sizes, -1),
        actor.parameters_of(shuffled).split(leaf_sizes, -1),
        strict=True,
    ):
        # A column per entity; of a continuous leaf, first all means, then all log deviations.
        columns = ours.reshape(6, -1, n)[:, :, order].reshape(6, -1)
        torch.testing.assert_close(other, columns)
    assert not torch.allclose(parameters, actor.parameters_of(shuffled))


def test_an_entity_sees_the_others_through_their_mean():
    team = entity_team(3)
    actor = boldened(build(team, "first", entities=3))
    observations, _ = random_batch(team, 1)
    one, two = observations["first"], observations["first"].clone()
    two[:, 8:] += 1.0  # the third entity
    change = actor.parameters_of(one) - actor.parameters_of(two)
    assert change[:, :2].abs().min() > 1e-4


@pytest.mark.parametrize("agent", ["first", "second"])
def test_weights_learned_with_6_entities_run_with_9(agent):
    six, nine = entity_team(6), entity_team(9)
    trained = boldened(build(six, agent, entities=6))
    moved = build(nine, agent, entities=9, seed=1)
    moved.set_state(trained.get_state())
    observations, _ = random_batch(six, 4)
    flat = observations[agent].reshape(4, 6, -1)
    # As many copies of one entity as there is room for: the context is that entity.
    same = flat[:, :1].expand(4, 6, -1).reshape(4, -1)
    more = flat[:, :1].expand(4, 9, -1).reshape(4, -1)
    ours, theirs = moved.parameters_of(more), trained.parameters_of(same)
    assert ours.shape[1] == 9 * theirs.shape[1] // 6
    torch.testing.assert_close(ours.reshape(4, -1, 9)[..., 0], theirs.reshape(4, -1, 6)[..., 0])


def test_the_value_of_a_set_does_not_grow_with_its_size():
    network = EntityValue(3, [8], "tanh")
    entity = torch.randn(4, 1, 3)
    values = [network(entity.expand(4, n, 3)) for n in (1, 6, 9)]
    torch.testing.assert_close(values[0], values[1])
    torch.testing.assert_close(values[0], values[2])


def test_entity_networks_need_a_hidden_layer():
    with pytest.raises(InputError, match="expected a width at least"):
        build(entity_team(2), "first", entities=2, hidden=())


def test_rllib_gets_the_distribution_of_the_action_space():
    team = toy_team()
    actor = build(team, "tail")
    form = actor.get_train_action_dist_cls()
    parameters = actor.parameters_of(torch.zeros(2, 6)).detach()
    greedy = form.from_logits(parameters).to_deterministic().sample()
    np.testing.assert_allclose(greedy, parameters[:, :1], rtol=1e-6)


def test_outputs_per_entity_become_parameters_per_leaf():
    """Within a leaf they stand entity by entity, as the action does."""
    space = gym.spaces.Dict(
        {"case": gym.spaces.MultiDiscrete([3, 3]), "place": gym.spaces.Box(-1, 1, (2, 2))}
    )
    team = Team(("a",), {"a": box(6)}, {"a": space}, num_entities=2)
    actor = build(team, "a", entities=2)
    with torch.no_grad():
        actor.network.last.weight.zero_()
        actor.network.last.bias.copy_(torch.arange(1.0, 6.0))
        actor.log_std.copy_(torch.tensor([-1.0, -2.0]))
    case, mean, log_std = [1.0, 2.0, 3.0] * 2, [4.0, 5.0] * 2, [-1.0, -2.0] * 2
    assert actor.parameters_of(torch.zeros(1, 6)).tolist() == [case + mean + log_std]
