"""Observation spaces as flat vectors: what lies where, and what has no such form."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_spaces import SIZES, SPACES, BatchedLibrary, Library
from toy_teams import box, toy_config

from rllib_mec.errors import InputError
from rllib_mec.hmppo import Team
from rllib_mec.hmppo.action_codec import ActionCodec
from rllib_mec.hmppo.observation_codec import ObservationCodec
from rllib_mec.hmppo.sampling.batched_env import BatchOfOne

NO_ACTIONS = ActionCodec(box(1))
SHAPES = st.lists(st.integers(1, 3), max_size=3).map(tuple)
LEAVES = st.one_of(
    SHAPES.map(lambda shape: gym.spaces.Box(-3, 3, shape, np.float32)),
    SHAPES.map(lambda shape: gym.spaces.Box(-9, 9, shape, np.int16)),
    st.builds(lambda n, s: gym.spaces.Discrete(n, start=s), st.integers(1, 5), st.integers(-2, 2)),
    st.lists(st.integers(1, 4), min_size=1, max_size=3).map(
        lambda nvec: gym.spaces.MultiDiscrete(nvec, start=list(range(len(nvec))))
    ),
    SHAPES.filter(bool).map(gym.spaces.MultiBinary),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from("zyxa"), inner, min_size=1, max_size=3).map(
            gym.spaces.Dict
        ),
        st.lists(inner, min_size=1, max_size=3).map(gym.spaces.Tuple),
    ),
    max_leaves=5,
)


def stacked(space, elements):
    """Elements of a space as a batch, (B, …) in each leaf."""
    if isinstance(space, gym.spaces.Dict):
        return {k: stacked(s, [e[k] for e in elements]) for k, s in space.spaces.items()}
    if isinstance(space, gym.spaces.Tuple):
        return tuple(stacked(s, [e[i] for e in elements]) for i, s in enumerate(space.spaces))
    return np.stack(elements)


@settings(deadline=None, max_examples=60)
@given(TREES, st.integers(1, 4), st.integers(0, 2**31))
def test_a_batch_is_what_gymnasium_makes_of_each(space, count, seed):
    space.seed(seed)
    elements = [space.sample() for _ in range(count)]
    codec = ObservationCodec(space, NO_ACTIONS)
    flat = codec.flatten(stacked(space, elements))
    expected = np.stack([gym.spaces.flatten(space, own) for own in elements])
    assert flat.dtype == np.float32
    assert codec.size == gym.spaces.flatdim(space) == flat.shape[1]
    np.testing.assert_array_equal(flat, expected.astype(np.float32))
    for own, row in zip(elements, flat, strict=True):
        np.testing.assert_array_equal(codec.flatten_one(own), row)


@settings(deadline=None, max_examples=30)
@given(TREES, st.integers(1, 3), st.integers(1, 3), st.booleans())
def test_members_lie_one_after_the_other(space, count, members, joined):
    """Whether the leaves keep members apart, (B, A, …), or not, (B, A * …)."""
    space.seed(1)
    elements = [[space.sample() for _ in range(members)] for _ in range(count)]
    codec = ObservationCodec(space, NO_ACTIONS)
    batch = stacked(space, [stacked(space, own) for own in elements])
    if joined:
        batch = _mapped(batch, lambda leaf: leaf.reshape(count, -1))
    expected = [np.concatenate([codec.flatten_one(e) for e in own]) for own in elements]
    np.testing.assert_array_equal(codec.flatten(batch, members), np.stack(expected))


def _mapped(tree, function):
    if isinstance(tree, dict):
        return {key: _mapped(value, function) for key, value in tree.items()}
    if isinstance(tree, tuple):
        return tuple(_mapped(value, function) for value in tree)
    return function(tree)


BAD = [
    gym.spaces.Graph(box(2), None),
    gym.spaces.Sequence(box(2)),
    gym.spaces.Text(5),
    gym.spaces.OneOf([box(1), box(2)]),
]


@pytest.mark.parametrize("space", BAD, ids=lambda space: type(space).__name__)
def test_spaces_without_a_flat_form_are_refused_by_name(space):
    actions = {"ann": gym.spaces.Discrete(2)}
    with pytest.raises(InputError) as caught:
        Team(("ann",), {"ann": space}, actions)
    assert str(caught.value).startswith(f"observation space of ann = {space}: expected Box,")
    within = gym.spaces.Dict({"far": gym.spaces.Tuple([box(1), space])})
    with pytest.raises(InputError) as caught:
        Team(("ann",), {"ann": within}, actions)
    assert str(caught.value).startswith(f"observation space of ann['far'][1] = {space}: expected")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("value", "row"), [(4, 0), (8, 2)])
def test_a_choice_out_of_range_is_an_error(value, row):
    codec = ObservationCodec(SPACES["reader"], NO_ACTIONS, "reader")
    cards = np.array([5, 6, 7])
    cards[row] = value
    batch = {"card": cards, "desk": (np.zeros((3, 2, 2)), np.zeros((3, 3)))}
    message = rf"^observation of reader\['card'\]: expected a value of Discrete\(3, .*\[{value}\]$"
    with pytest.raises(ValueError, match=message):
        codec.flatten(batch)


def test_the_team_of_an_environment_with_spaces_of_all_kinds():
    team = Team.of_env(Library())
    assert {a: team.observation_size(a) for a in team.agents} == SIZES
    assert Team.from_dict(team.to_dict(), team.observation_spaces, team.action_spaces) == team


def test_entities_must_be_laid_out_one_by_one():
    space = gym.spaces.Dict({"place": box(2, 3), "load": box(2)})
    team = Team(("a",), {"a": space}, {"a": gym.spaces.MultiBinary(2)}, num_entities=2)
    with pytest.raises(InputError, match=r"expected a Box, laid out entity by entity.* of a, got"):
        team.require_entities()


def test_one_environment_is_a_batch_of_one_in_each_leaf():
    one, many = BatchOfOne(Library()), BatchedLibrary([Library()])
    team = Team.of_env(Library())
    ours, theirs = team.flatten(one.reset(3)), team.flatten(many.reset(3))
    for agent in team.agents:
        np.testing.assert_array_equal(ours[agent], theirs[agent])


def test_a_policy_of_such_a_team_acts():
    config = toy_config(Library)
    config.validate()
    policy = config.rl_module_spec.build()
    observations = BatchedLibrary([Library() for _ in range(4)]).reset(0)
    flat = {a: torch.from_numpy(o) for a, o in policy.team.flatten(observations).items()}
    actions, _, _ = policy.act(flat, explore=True)
    assert {a: own.shape for a, own in actions.items()} == dict.fromkeys(SIZES, (4, 1))


def test_a_runner_of_ones_own_has_to_make_vectors():
    from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner

    class Own(MultiAgentEnvRunner):
        pass

    config = toy_config(Library).env_runners(env_runner_cls=Own)
    with pytest.raises(InputError, match="env_runner_cls = Own: expected a subclass of EpisodeEnv"):
        config.validate()
