"""An algorithm's state as data: what a checkpoint's ``state.msgpack`` holds.

RLlib's own files are pickles, and to load a pickle is to run whatever it says. RLlib can write
MessagePack instead, by msgpack_numpy, but that unpickles arrays of objects, and it changes msgpack
for the whole process: Ray, which sends results by msgpack, then sends NumPy's numbers in a form
that other processes cannot read. So the state is packed here: numbers, texts, arrays of these, and
containers; nothing else can be read back, whatever a file says.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from msgpack import ExtType, fallback  # which msgpack_numpy leaves as it is

from rllib_mec.errors import InputError

STATE = "state.msgpack"

_ARRAY, _SCALAR, _TENSOR, _TUPLE, _SET, _DEQUE = range(6)

_CONTAINERS: dict[type, tuple[int, Callable[[Any], list[Any]]]] = {
    tuple: (_TUPLE, list),
    set: (_SET, list),
    deque: (_DEQUE, lambda value: [list(value), value.maxlen]),
}

_PLAIN_DTYPE = re.compile(r"[<>=|]?[biufcUS]\d+")


def pack(state: Any) -> bytes:
    """Returns a state as bytes.

    Raises:
        TypeError: it holds what is none of the above.
    """
    # Strict: tuples are no lists, and NumPy's float64 is no float.
    return fallback.Packer(default=_encoded, strict_types=True).pack(state)


def unpack(data: bytes, place: str) -> Any:
    """Returns the state that was packed.

    Args:
        place: names the file for error messages.

    Raises:
        InputError: these are not bytes of :func:`pack`.
    """
    try:
        return fallback.unpackb(data, ext_hook=_decoded, strict_map_key=False)
    except Exception as error:  # whatever a decoder may raise at foreign bytes
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{place}: cannot be read: {reason}") from None


def _encoded(value: Any) -> ExtType | dict[Any, Any]:
    if isinstance(value, np.ndarray):
        return ExtType(_ARRAY, _array(value))
    if isinstance(value, np.generic):
        return ExtType(_SCALAR, _array(np.asarray(value)))
    if isinstance(value, torch.Tensor):
        return ExtType(_TENSOR, _array(value.detach().cpu().numpy()))
    if type(value) in _CONTAINERS:
        kind, parts = _CONTAINERS[type(value)]
        return ExtType(kind, pack(parts(value)))
    if isinstance(value, dict):
        return dict(value)
    raise TypeError(
        f"{value!r} of type {type(value).__name__}: expected numbers, texts, arrays of these, and "
        "containers"
    )


def _array(value: np.ndarray) -> bytes:
    if not _PLAIN_DTYPE.fullmatch(value.dtype.str):
        raise TypeError(f"an array of type {value.dtype}: expected numbers or texts")
    return pack([value.dtype.str, list(value.shape), value.tobytes()])


def _decoded(kind: int, data: bytes) -> Any:
    decoders: dict[int, Callable[[bytes], Any]] = {
        _ARRAY: _to_array,
        _SCALAR: lambda packed: _to_array(packed)[()],
        _TENSOR: lambda packed: torch.from_numpy(_to_array(packed)),
        _TUPLE: lambda packed: tuple(unpack(packed, "a tuple")),
        _SET: lambda packed: set(unpack(packed, "a set")),
        _DEQUE: lambda packed: deque(*unpack(packed, "a deque")),
    }
    return decoders[kind](data)


def _to_array(data: bytes) -> np.ndarray:
    dtype, shape, raw = unpack(data, "an array")
    if not _PLAIN_DTYPE.fullmatch(dtype):
        raise ValueError(f"an array of type {dtype!r}: expected numbers or texts")
    return np.frombuffer(raw, np.dtype(dtype)).reshape(shape).copy()
