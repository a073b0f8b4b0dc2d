"""Observation spaces as flat vectors: what networks see of an observation of any kind.

An observation space is one leaf, or a Dict or Tuple of leaves, in any depth. As in
``gymnasium.spaces.utils.flatten``, leaves lie one after the other, in the space's own order:

| spaces                  | entries of the flat observation |
|-------------------------|---------------------------------|
| Box, MultiBinary        | the numbers, row by row         |
| Discrete, MultiDiscrete | one-hot, for each choice        |

Other spaces (Graph, Sequence, Text, OneOf) have no flat form of a fixed size that a network could
tell apart.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib_mec.errors import InputError
from rllib_mec.hmppo.space_leaves import batch_of_one, leaf_of, leaves_of

Floats = NDArray[np.float32]


@dataclasses.dataclass(frozen=True, slots=True)
class _Leaf:
    """One simple space: numbers, or choices to be told by one-hot entries.

    numbers: entries of an observation as the environment gives it.
    choice, value: of each one-hot entry, which of the numbers it is about and what that must be;
        None if the numbers are entries themselves.
    """

    path: tuple[Any, ...]
    numbers: int
    choice: NDArray[np.int64] | None = None
    value: NDArray[np.int64] | None = None

    @property
    def size(self) -> int:
        """Entries of the flat observation."""
        return self.numbers if self.value is None else len(self.value)


class ObservationCodec:
    """Makes flat vectors of observations.

    Args:
        agent: whose observations they are, for messages.

    Attributes:
        is_array: whether observations are arrays of numbers as they are (a Box).
        size: entries of a flat observation.
    """

    def __init__(self, space: gym.Space, agent: str = "agent") -> None:
        self.space = space
        self._agent = agent
        self._leaves = [_leaf(path, own, agent) for path, own in leaves_of(space)]
        self.is_array = isinstance(space, gym.spaces.Box)
        self.size = sum(leaf.size for leaf in self._leaves)

    @property
    def flat_space(self) -> gym.Space:
        """Where flat observations lie; a Box is its own."""
        if self.is_array:
            return self.space
        return gym.spaces.Box(-np.inf, np.inf, (self.size,), np.float32)

    def flatten(self, observations: Any, members: int = 1) -> Floats:
        """Returns flat observations, (B, members * size), of B, in the space's structure.

        Args:
            observations: (B, …) in each leaf.
            members: of a group, whose observations lie one after the other: (B, members, …), or
                with these two axes in one.

        Raises:
            ValueError: a choice that there is none of.
        """
        if self.is_array:
            return np.asarray(observations, np.float32).reshape(len(observations), -1)
        columns = [self._column(leaf, observations) for leaf in self._leaves]
        flat = columns[0] if len(columns) == 1 else np.concatenate(columns, axis=-1)
        return flat.reshape(-1, members * self.size)

    def flatten_one(self, observation: Any) -> Floats:
        """Returns the flat form, (size,), of one observation."""
        return self.flatten(batch_of_one(observation))[0]

    def _column(self, leaf: _Leaf, observations: Any) -> Floats:
        numbers = np.asarray(leaf_of(observations, leaf.path)).reshape(-1, leaf.numbers)
        if leaf.value is None:
            return numbers.astype(np.float32)
        hot = numbers[:, leaf.choice] == leaf.value
        if np.count_nonzero(hot) != numbers.size:  # one for each number, unless it is out of range
            raise ValueError(
                f"observation of {self._agent}{_where(leaf.path)}: expected a value of "
                f"{leaf_of(self.space, leaf.path)}, got {numbers[_misses(hot, leaf)][0].tolist()}"
            )
        return hot.astype(np.float32)


def _misses(hot: NDArray[np.bool_], leaf: _Leaf) -> NDArray[np.bool_]:
    """Which rows hold a number that is none of its choices."""
    return np.count_nonzero(hot, axis=-1) != leaf.numbers


def _leaf(path: tuple[Any, ...], space: gym.Space, agent: str) -> _Leaf:
    if isinstance(space, (gym.spaces.Box, gym.spaces.MultiBinary)):
        return _Leaf(path, math.prod(space.shape))
    if isinstance(space, gym.spaces.Discrete):
        counts, starts = np.array([space.n]), np.array([space.start])
    elif isinstance(space, gym.spaces.MultiDiscrete):
        counts, starts = space.nvec.ravel(), np.ravel(space.start)
    else:
        raise InputError(
            f"observation space of {agent}{_where(path)} = {space}: expected Box, Discrete, "
            "MultiDiscrete, MultiBinary, or a Dict or Tuple of them"
        )
    choice = np.repeat(np.arange(len(counts)), counts)
    value = np.concatenate([start + np.arange(n) for n, start in zip(counts, starts, strict=True)])
    return _Leaf(path, len(counts), choice, value)


def _where(path: tuple[Any, ...]) -> str:
    return "".join(f"[{key!r}]" for key in path)
