"""Observation spaces as flat vectors: what networks see of an observation of any kind.

An observation space is one leaf, or a Dict or Tuple of leaves, in any depth. As in
``gymnasium.spaces.utils.flatten``, leaves lie one after the other, in the space's own order:

| spaces                  | entries of the flat observation |
|-------------------------|---------------------------------|
| Box, MultiBinary        | the numbers, row by row         |
| Discrete, MultiDiscrete | one-hot, for each choice        |

A Box of three axes is an image, which networks see by convolutions; see
:mod:`rllib_mec.hmppo.modules.images`.

Where the environment gives an action mask with the observation, it comes last; see
:mod:`rllib_mec.hmppo.action_mask`. All before it are *features*, what networks see.

Other spaces (Graph, Sequence, Text, OneOf) have no flat form of a fixed size that a network could
tell apart.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rllib_mec.errors import InputError
from rllib_mec.hmppo.action_codec import ActionCodec
from rllib_mec.hmppo.action_mask import MASK, ActionMask, NothingAllowedError, observed_key
from rllib_mec.hmppo.images import Image, image_of
from rllib_mec.hmppo.space_leaves import Path, leaf_of, leaves_of

Floats = NDArray[np.float32]


@dataclasses.dataclass(frozen=True, slots=True)
class _Leaf:
    """One simple space: numbers, or choices to be told by one-hot entries.

    numbers: entries of an observation as the environment gives it.
    choice, value: of each one-hot entry, which of the numbers it is about and what that must be;
        None if the numbers are entries themselves.
    """

    path: Path
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
        actions: the codec of the agent's actions, which a mask is about.
        agent: whose observations they are, for messages.

    Attributes:
        is_array: whether observations are arrays of numbers as they are (a Box, and not one of
            whole numbers, which have no NaN for who is not there).
        features: the space of the observation without its mask.
        num_features: entries of the features.
        images: among the features.
        mask: what is known of the mask; None where there is none.
        size: entries of a flat observation.
    """

    def __init__(self, space: gym.Space, actions: ActionCodec, agent: str = "agent") -> None:
        self.space = space
        self._agent = agent
        key = observed_key(space, agent)
        prefix: Path = () if key is None else (key,)
        self.features: gym.Space = leaf_of(space, prefix)
        self._leaves = [
            _leaf((*prefix, *path), own, agent) for path, own in leaves_of(self.features)
        ]
        self._is_box = isinstance(space, gym.spaces.Box)
        self.is_array = self._is_box and np.issubdtype(space.dtype, np.floating)
        starts = [0, *itertools.accumulate(leaf.size for leaf in self._leaves)]
        self.num_features = starts.pop()
        found = [
            image_of(own, start)
            for start, (_, own) in zip(starts, leaves_of(self.features), strict=True)
        ]
        self.images: tuple[Image, ...] = tuple(image for image in found if image is not None)
        self.mask = None if key is None else ActionMask(leaf_of(space, (MASK,)), actions, agent)
        self.size = self.num_features + (self.mask.size if self.mask else 0)
        if not self.num_features:
            raise InputError(f"observation space of {agent} = {space}: expected a number at least")

    @functools.cached_property
    def flat_space(self) -> gym.Space:
        """Where flat observations lie; a Box keeps its shape."""
        if self.is_array:
            return self.space
        if self._is_box:
            return gym.spaces.Box(-np.inf, np.inf, self.space.shape, np.float32)
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
        if self._is_box:
            return np.asarray(observations, np.float32).reshape(len(observations), -1)
        columns = [self._column(leaf, observations) for leaf in self._leaves]
        if self.mask is not None:
            columns.append(self.mask.flatten(observations[MASK], len(columns[0])))
        flat = columns[0] if len(columns) == 1 else np.concatenate(columns, axis=-1)
        return flat.reshape(-1, members * self.size)

    def flatten_one(self, observation: Any) -> Floats:
        """Returns the flat form, (size,), of one observation, after :meth:`check_one`."""
        columns = [self._column(leaf, observation) for leaf in self._leaves]
        if self.mask is not None:
            columns.append(self.mask.flatten(observation[MASK], 1))
        return np.concatenate(columns, axis=-1)[0]

    def check_one(self, observation: Any) -> None:
        """Checks that one observation has all that its space says.

        Raises:
            ValueError: names the agent, the place and what was expected.
        """
        for leaf in self._leaves:
            own = self._own(observation, leaf.path)
            if np.size(own) != leaf.numbers or own is None:
                raise ValueError(
                    f"observation of {self._agent}{_where(leaf.path)} = {own!r}: expected one in "
                    f"{leaf_of(self.space, leaf.path)}"
                )
        if self.mask is not None:
            self.mask.check(self._own(observation, (MASK,)), f"{MASK} of {self._agent}")

    def _own(self, observation: Any, path: Path) -> Any:
        try:
            return leaf_of(observation, path)
        except (KeyError, IndexError, TypeError):
            raise ValueError(
                f"observation of {self._agent} = {observation!r}: expected one with {_where(path)}"
            ) from None

    def split(self, flat: Tensor) -> tuple[Tensor, Tensor | None]:
        """Takes flat observations apart into what networks see and masks.

        Args:
            flat: (…, A * size), of A members one after the other.

        Returns:
            features, (…, A * num_features), and masks, (…, A, mask size); None: there are none.
        """
        if self.mask is None:
            return flat, None
        sizes = [self.num_features, self.mask.size]
        features, masks = flat.unflatten(-1, (-1, self.size)).split(sizes, dim=-1)
        return features.flatten(-2), masks

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


def check_masks(
    codec: ObservationCodec,
    flat: Floats,
    agents: Sequence[str],
    step: int,
    environment: int = 0,
    active: NDArray[np.bool_] | None = None,
) -> None:
    """Checks the masks of agents that are to act in B environments.

    Args:
        codec: of each agent's observations.
        flat: the agents' flat observations, one after the other, (B, agents * size).
        step: how many steps the episodes have taken. environment: number of the first one.
        active: who is there, (B, agents); None: all.

    Raises:
        NothingAllowedError: naming the agent, its environment and step.
    """
    assert codec.mask is not None, "asked for agents with masks"
    masks = flat.reshape(len(flat), len(agents), codec.size)[..., codec.num_features :]
    barred = codec.mask.allows_nothing(masks)
    bad = np.argwhere(barred if active is None else barred & active)
    if len(bad):
        row, place = bad[0].tolist()
        raise NothingAllowedError(
            f"{MASK} of {agents[place]} allows nothing (environment {environment + row}, step "
            f"{step}): expected a choice at least for each entry of its action"
        )


def _misses(hot: NDArray[np.bool_], leaf: _Leaf) -> NDArray[np.bool_]:
    """Which rows hold a number that is none of its choices."""
    return np.count_nonzero(hot, axis=-1) != leaf.numbers


def _leaf(path: Path, space: gym.Space, agent: str) -> _Leaf:
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


def _where(path: Path) -> str:
    return "".join(f"[{key!r}]" for key in path)
