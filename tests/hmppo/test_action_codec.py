"""The action codec: structured actions to flat vectors and back, and what others see of them."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from ray.rllib.utils.spaces.space_utils import (
    batch,
    get_base_struct_from_space,
    unsquash_action,
)
from toy_teams import row_of

from rllib_mec.errors import InputError
from rllib_mec.hmppo.action_codec import ActionCodec

SPACES = {
    "Discrete(2)": spaces.Discrete(2),
    "Discrete(5)": spaces.Discrete(5),
    "Discrete(4, start)": spaces.Discrete(4, start=-1),
    "Discrete(2, start)": spaces.Discrete(2, start=7),
    "MultiDiscrete": spaces.MultiDiscrete([3, 2, 4]),
    "MultiDiscrete(2s)": spaces.MultiDiscrete([2, 2, 2]),
    "MultiDiscrete(start)": spaces.MultiDiscrete([3, 4], start=[10, -2]),
    "MultiDiscrete(2D)": spaces.MultiDiscrete([[2, 3], [4, 5]]),
    "MultiBinary": spaces.MultiBinary(4),
    "MultiBinary(2D)": spaces.MultiBinary([2, 3]),
    "Box": spaces.Box(-3.0, 5.0, (3,), np.float32),
    "Box(2D)": spaces.Box(0.0, 1.0, (2, 2), np.float32),
    "Dict": spaces.Dict(
        {"keep": spaces.MultiDiscrete([2, 2]), "share": spaces.Box(0.2, 0.8, (2,), np.float32)}
    ),
    "Tuple": spaces.Tuple((spaces.Discrete(3), spaces.MultiBinary(2), spaces.Discrete(5))),
    "nested": spaces.Dict(
        {
            "b": spaces.Tuple((spaces.Discrete(3, start=1), spaces.Box(-1.0, 1.0, (2,)))),
            "a": spaces.Dict({"x": spaces.MultiBinary(2)}),
        }
    ),
}


@pytest.fixture(params=SPACES.values(), ids=SPACES.keys())
def space(request):
    request.param.seed(0)
    return request.param


def structured(space, rows=6):
    """A batch of samples in the space's own structure, (rows, ...) each."""
    return batch([space.sample() for _ in range(rows)])


def leaves(values):
    if isinstance(values, dict):
        return [leaf for value in values.values() for leaf in leaves(value)]
    if isinstance(values, tuple):
        return [leaf for value in values for leaf in leaves(value)]
    return [np.asarray(values)]


def test_flat_actions_become_the_same_actions_again(space):
    codec = ActionCodec(space)
    actions = structured(space)
    flat = codec.flatten(actions)
    assert flat.shape == (6, codec.size)
    assert flat.dtype == np.float32
    again = codec.unflatten(torch.as_tensor(flat))
    for before, after in zip(leaves(actions), leaves(again), strict=True):
        assert before.shape == after.shape
        np.testing.assert_array_equal(before, after)
    np.testing.assert_array_equal(codec.flatten(again), flat)


def test_flat_discrete_actions_count_from_zero():
    codec = ActionCodec(spaces.MultiDiscrete([3, 4], start=[10, -2]))
    np.testing.assert_array_equal(codec.flatten(np.array([[10, 1], [12, -2]])), [[0, 3], [2, 0]])


@pytest.mark.parametrize(
    ("space", "flat", "code"),
    [
        (spaces.Discrete(2), [1.0], [1.0]),
        (spaces.Discrete(3), [1.0], [0.0, 1.0, 0.0]),
        (spaces.Discrete(3, start=5), [0.0], [1.0, 0.0, 0.0]),
        (spaces.MultiBinary(3), [1.0, 0.0, 1.0], [1.0, -1.0, 1.0]),
        (spaces.MultiDiscrete([2, 3]), [1.0, 2.0], [0.0, 1.0, 0.0, 0.0, 1.0]),
        (spaces.Box(0.0, 9.0, (3,)), [-4.0, 0.25, 1.5], [-1.0, 0.25, 1.0]),
        (
            spaces.Tuple((spaces.Discrete(3), spaces.MultiBinary(1))),
            [2.0, 0.0],
            [0.0, 0.0, 1.0, -1.0],
        ),
    ],
)
def test_code_of_an_action(space, flat, code):
    codec = ActionCodec(space)
    assert codec.code(torch.tensor([flat])).tolist() == [code]
    assert codec.code_size == len(code)


def test_code_is_never_all_zeros_for_a_decision(space):
    """All zeros in a slot mean that nothing is decided yet."""
    codec = ActionCodec(space)
    flat = codec.flatten(structured(space, rows=50))
    assert codec.code(torch.as_tensor(flat)).abs().sum(-1).min() > 0


def test_to_env_scales_as_rllib_does(space):
    """The environment gets the same actions whether RLlib's connectors or to_env scale them."""
    codec = ActionCodec(space)
    flat = codec.flatten(structured(space))
    ours = codec.to_env(flat)
    rows = codec.unflatten(torch.as_tensor(flat))
    for i in range(len(flat)):
        theirs = unsquash_action(row_of(rows, i), get_base_struct_from_space(space))
        for mine, other in zip(leaves(row_of(ours, i)), leaves(theirs), strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-6)


def test_to_env_stays_inside_the_space(space):
    codec = ActionCodec(space)
    wild = codec.flatten(structured(space)) * [
        5.0 if not leaf.choices else 1.0 for leaf in codec.leaves for _ in range(leaf.size)
    ]
    actions = codec.to_env(wild.astype(np.float32))
    assert all(space.contains(row_of(actions, i)) for i in range(6))


def test_to_env_maps_the_unit_interval_to_the_box():
    codec = ActionCodec(spaces.Box(np.float32([0.2, -4]), np.float32([0.8, 6]), dtype=np.float32))
    flat = np.array([[-1, -1], [0, 0], [1, 1], [-7, 9]], np.float32)
    np.testing.assert_allclose(
        codec.to_env(flat), [[0.2, -4], [0.5, 1], [0.8, 6], [0.2, 6]], rtol=1e-6
    )


@pytest.mark.parametrize("leaf", [spaces.Text(3), spaces.Box(0, 9, (2,), np.int64)])
def test_other_spaces_are_refused_by_name(leaf):
    """RLlib would send the environment a Gaussian's floats for an integer Box."""
    with pytest.raises(InputError, match=r"action space of scout = .*expected Discrete"):
        ActionCodec(spaces.Dict({"x": leaf}), agent="scout")


@pytest.mark.parametrize(
    "space",
    [
        spaces.MultiBinary(4),
        spaces.MultiDiscrete([2, 3, 3]),
        spaces.Dict(a=spaces.MultiBinary(3), b=spaces.Box(0, 1, (2,))),
    ],
)
def test_parts_of_an_action_are_alike(space):
    with pytest.raises(InputError, match=r"action space of x = .*: expected 3 equal parts"):
        ActionCodec(space, agent="x", parts=3)
