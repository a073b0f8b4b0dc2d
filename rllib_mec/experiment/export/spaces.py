"""Spaces as JSON, and the leaves of an action space."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from rllib_mec.errors import InputError

Path = tuple[str | int, ...]


def described(space: gym.Space) -> dict[str, Any]:
    """Returns what a space is as plain values; bounds that are all the same as one number.

    Infinite bounds are None.

    >>> described(gym.spaces.Discrete(3))
    {'type': 'Discrete', 'n': 3, 'start': 0}

    Raises:
        InputError: another kind of space than actors observe or act in.
    """
    if isinstance(space, gym.spaces.Dict):
        return {"type": "Dict", "spaces": {key: described(s) for key, s in space.spaces.items()}}
    if isinstance(space, gym.spaces.Tuple):
        return {"type": "Tuple", "spaces": [described(own) for own in space.spaces]}
    if isinstance(space, gym.spaces.Discrete):
        return {"type": "Discrete", "n": int(space.n), "start": int(space.start)}
    about: dict[str, Any] = {"type": type(space).__name__, "shape": list(space.shape or ())}
    if isinstance(space, gym.spaces.Box):
        bounds = {"low": _bounds(space.low), "high": _bounds(space.high)}
        return about | bounds | {"dtype": str(space.dtype)}
    if isinstance(space, gym.spaces.MultiDiscrete):
        return about | {"nvec": space.nvec.tolist(), "start": np.asarray(space.start).tolist()}
    if isinstance(space, gym.spaces.MultiBinary):
        return about
    raise InputError(f"space {space}: expected Box, Discrete, MultiDiscrete, MultiBinary, Dict")


def leaves(space: gym.Space) -> list[tuple[Path, gym.Space]]:
    """Returns the simple spaces in a space with the paths to them, in the codec's order."""
    if isinstance(space, gym.spaces.Dict):
        parts: Any = space.spaces.items()
    elif isinstance(space, gym.spaces.Tuple):
        parts = enumerate(space.spaces)
    else:
        return [((), space)]
    return [((key, *path), leaf) for key, own in parts for path, leaf in leaves(own)]


def _bounds(values: np.ndarray) -> Any:
    plain = [float(value) if np.isfinite(value) else None for value in values.ravel()]
    if len(set(plain)) == 1:
        return plain[0]
    return np.array(plain, object).reshape(values.shape).tolist()
