"""States as bytes: they come back as they were, and bytes of others run no code."""

import collections
import contextlib
import pickle

import msgpack
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from msgpack import ExtType, fallback

from rllib_mec.errors import InputError
from rllib_mec.experiment.checkpoints.state import pack, unpack

PLAIN = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
)
KEYS = st.text() | st.integers(-(2**63), 2**63)
STATES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner) | st.tuples(inner, inner),
)


def same_types(one, other):
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same_types(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same_types, one, other))
    return one == other


@given(STATES)
def test_what_is_packed_comes_back(state):
    assert same_types(unpack(pack(state), ""), state)


@pytest.mark.parametrize(
    "dtype", ["f2", "f4", "f8", "i1", "i8", "u4", "?", "c8", "U3", "S3", ">f4"]
)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3)])
def test_arrays_come_back_with_type_and_shape_and_can_be_written(dtype, shape):
    array = np.arange(6).astype(dtype)[: int(np.prod(shape))].reshape(shape)
    (back,) = unpack(pack([array]), "")
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(back, array)
    back[...] = array
    (fortran,) = unpack(pack([np.asfortranarray(array)]), "")
    np.testing.assert_array_equal(fortran, array)


@pytest.mark.parametrize(
    "value",
    [np.float32(0.1), np.float64(0.1), np.int64(-3), np.bool_(True), np.str_("a")],
)
def test_numbers_of_numpy_keep_their_type(value):
    back = unpack(pack({1: value}), "")[1]
    assert type(back) is type(value)
    assert back == value


def test_other_containers_and_tensors_come_back():
    state = {"a": {1, 2}, "b": collections.deque([1, (2,)], maxlen=3)}
    assert unpack(pack(state), "") == state
    assert unpack(pack(state), "")["b"].maxlen == 3
    assert unpack(pack(collections.OrderedDict(a=1)), "") == {"a": 1}
    back = unpack(pack(torch.eye(2)), "")
    assert torch.equal(back, torch.eye(2))


@pytest.mark.parametrize("value", [object(), lambda: 0, np.array([None]), slice(1), 2**70])
def test_what_is_no_data_cannot_be_packed(value):
    with pytest.raises((TypeError, OverflowError)):
        pack({"a": [value]})


class Bomb:
    exploded = False

    def __reduce__(self):
        return setattr, (Bomb, "exploded", True)


def test_pickles_are_not_loaded():
    bomb = pickle.dumps(Bomb())
    # As msgpack_numpy writes an array of objects, and as arrays are written here.
    foreign = {b"nd": True, b"kind": b"O", b"type": "|O", b"shape": (1,), b"data": bomb}
    assert unpack(msgpack.packb(foreign), "")[b"data"] == bomb
    for dtype in ("|O", "O", "O8", "V8", [["a", "O"]], 3):
        array = fallback.Packer().pack([dtype, [1], bomb])
        with pytest.raises(InputError, match="here: cannot be read"):
            unpack(msgpack.packb(ExtType(0, array)), "here")
    assert not Bomb.exploded
    pickle.loads(bomb)
    assert Bomb.exploded


@given(st.binary())
def test_any_bytes_are_read_or_refused(data):
    with contextlib.suppress(InputError):
        unpack(data, "here")


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x82\xa1a\x01", b"\x91" * 5000])
def test_what_is_no_state_is_refused(data):
    with pytest.raises(InputError, match="here: cannot be read"):
        unpack(data, "here")


def test_it_does_not_hang_on_what_others_have_done_to_msgpack(monkeypatch):
    """msgpack_numpy replaces the functions of the module, for a whole process."""

    def patched(*args, **kwargs):
        raise AssertionError("unpickles")

    for name in ("packb", "unpackb", "Packer", "Unpacker", "pack", "unpack"):
        monkeypatch.setattr(msgpack, name, patched)
    assert unpack(pack([np.float32(1), (2,)]), "") == [1, (2,)]
