"""Action spaces as flat vectors: what is stored, what a network outputs, what others see.

An action space is one leaf, or a Dict or Tuple of leaves. Each leaf is one of three kinds:

| kind        | spaces                                     | distribution         |
|-------------|--------------------------------------------|----------------------|
| binary      | MultiBinary, Discrete(2), MultiDiscrete 2s | independent coins    |
| categorical | other Discrete and MultiDiscrete           | one choice per entry |
| continuous  | Box of floats                              | diagonal Gaussian    |

Continuous actions live in the policy's own coordinates, where [-1, 1] spans the box (RLlib's
``normalize_actions``).

An action may fall into equal *parts*, those of several entities: each leaf then has the entries of
the first part, of the second, and so on. Or into *branches*: each entry is a part by itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from rllib_mec.errors import InputError
from rllib_mec.hmppo.space_leaves import Path, leaf_of, leaves_of

BINARY, CATEGORICAL, CONTINUOUS = "binary", "categorical", "continuous"


@dataclasses.dataclass(frozen=True, slots=True)
class Leaf:
    """One simple space: ``size`` entries, each a coin, a choice or a number.

    masked: whether some of the choices may be forbidden, see :mod:`rllib_mec.hmppo.action_mask`.
    """

    kind: str
    size: int
    choices: tuple[int, ...]
    start: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: str
    masked: bool = False

    @property
    def num_choices(self) -> int:
        """Entries of a mask: two for each coin, one for each choice, none for numbers."""
        return sum(self.choices)

    @property
    def num_logits(self) -> int:
        """Network outputs that the leaf needs (means, for a continuous leaf)."""
        return sum(self.choices) if self.kind == CATEGORICAL else self.size

    @property
    def num_parameters(self) -> int:
        """Distribution parameters: a continuous leaf has a log standard deviation per mean."""
        return 2 * self.size if self.kind == CONTINUOUS else self.num_logits


class ActionCodec:
    """Converts between an action space's own structure and flat vectors.

    Attributes:
        leaves: the leaves, in the space's own order.
        size: entries of a flat action, one per coin, choice or number.
        code_size: entries of what other agents see of an action, see :meth:`code`.
        parts: how many parts an action has, see above.
        branches: whether these are its entries.
        num_choices: entries of a mask of its choices.
        paths: where in the space the leaves are.
    """

    def __init__(
        self,
        space: gym.Space,
        agent: str = "agent",
        parts: int = 1,
        branches: bool = False,
        masked: bool = False,
    ) -> None:
        self.space = space
        self.branches = branches
        self.paths: list[Path] = []
        leaves: list[Leaf] = []
        for path, leaf_space in leaves_of(space):
            self.paths.append(path)
            leaves.append(dataclasses.replace(_leaf(leaf_space, agent), masked=masked))
        self.leaves = tuple(leaves)
        self.size = sum(leaf.size for leaf in leaves)
        self.num_logits = sum(leaf.num_logits for leaf in leaves)
        self.num_parameters = sum(leaf.num_parameters for leaf in leaves)
        self.num_choices = sum(leaf.num_choices for leaf in leaves)
        self.code_size = self.num_logits
        self.parts = self.size if branches else parts
        for leaf in leaves if not branches else ():
            # The choices of a part, as often as there are parts.
            first = leaf.choices[: leaf.size // parts]
            if leaf.size % parts or (leaf.choices and first * parts != leaf.choices):
                raise InputError(f"action space of {agent} = {space}: expected {parts} equal parts")

    def flatten(self, actions: Any) -> np.ndarray:
        """Returns flat actions, (B, size) float32, from actions in the space's structure."""
        columns = []
        for path, leaf in zip(self.paths, self.leaves, strict=True):
            column = leaf_of(actions, path)
            column = np.asarray(column, dtype=np.float32).reshape(-1, leaf.size)
            columns.append(column - np.asarray(leaf.start, dtype=np.float32))
        return columns[0] if len(columns) == 1 else np.concatenate(columns, axis=-1)

    def unflatten(self, flat: Tensor) -> Any:
        """Returns actions in the space's structure, (B, …) each, from flat ones, (B, size)."""
        values = []
        for leaf, column in zip(self.leaves, self.split(flat), strict=True):
            if leaf.kind != CONTINUOUS:
                column = column.round().to(torch.int64)
                if any(leaf.start):
                    column = column + torch.tensor(leaf.start, device=column.device)
            values.append(column.reshape(len(column), *leaf.shape))
        return _rebuild(self.space, iter(values))

    def code(self, flat: Tensor) -> Tensor:
        """Returns what other agents see of the actions, (…, code_size).

        A coin is -1 or 1; a choice among n is one-hot, n entries; a number is clipped to
        [-1, 1]. All zeros stand for "not decided yet".
        """
        codes = []
        for leaf, column in zip(self.leaves, self.split(flat), strict=True):
            if leaf.kind == BINARY:
                codes.append(column * 2 - 1)
            elif leaf.kind == CONTINUOUS:
                codes.append(column.clamp(-1, 1))
            else:
                codes += [
                    torch.nn.functional.one_hot(column[..., i].round().long(), n).to(flat.dtype)
                    for i, n in enumerate(leaf.choices)
                ]
        return codes[0] if len(codes) == 1 else torch.cat(codes, dim=-1)

    def split(self, flat: Tensor) -> Sequence[Tensor]:
        """Splits flat actions, (…, size), into those of each leaf."""
        if len(self.leaves) == 1:
            return (flat,)
        return flat.split([leaf.size for leaf in self.leaves], dim=-1)

    def by_parameter(self, entries: Tensor) -> Tensor:
        """Returns numbers of entries, (…, size), at each of their parameters, (…, P)."""
        blocks = []
        for leaf, own in zip(self.leaves, self.split(entries), strict=True):
            if leaf.kind == CATEGORICAL:
                pairs = zip(own.split(1, dim=-1), leaf.choices, strict=True)
                blocks += [column.expand(*own.shape[:-1], n) for column, n in pairs]
            else:
                blocks += [own] * (2 if leaf.kind == CONTINUOUS else 1)
        return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=-1)

    @property
    def action_widths(self) -> list[int]:
        """Entries of a flat action that lie part by part, block after block."""
        return [leaf.size for leaf in self.leaves]

    @property
    def mask_widths(self) -> list[int]:
        """The same of a mask of its choices."""
        return [leaf.num_choices for leaf in self.leaves]

    @property
    def parameter_widths(self) -> list[int]:
        """The same of the distribution's parameters: means and deviations are two blocks."""
        widths = []
        for leaf in self.leaves:
            widths += [leaf.size] * 2 if leaf.kind == CONTINUOUS else [leaf.num_logits]
        return widths

    def to_env(self, flat: np.ndarray | Tensor) -> Any:
        """Returns actions as the environment takes them: continuous ones scaled to the box.

        A box without bounds on all sides gets them as they are, as RLlib does it.
        """
        actions = self.unflatten(torch.as_tensor(flat))
        return _to_env(self.space, actions)


def _leaf(space: gym.Space, agent: str) -> Leaf:
    if isinstance(space, gym.spaces.Box) and np.issubdtype(space.dtype, np.floating):
        size = int(np.prod(space.shape))
        return Leaf(CONTINUOUS, size, (), (0,) * size, space.shape, str(space.dtype))
    if isinstance(space, gym.spaces.MultiBinary):
        size = int(np.prod(space.shape))
        return Leaf(BINARY, size, (2,) * size, (0,) * size, space.shape, str(space.dtype))
    if isinstance(space, gym.spaces.Discrete):
        choices: tuple[int, ...] = (int(space.n),)
        start: tuple[int, ...] = (int(space.start),)
        shape: tuple[int, ...] = ()
    elif isinstance(space, gym.spaces.MultiDiscrete):
        choices = tuple(int(n) for n in space.nvec.ravel())
        start = tuple(int(s) for s in np.ravel(space.start))
        shape = space.nvec.shape
    else:
        raise InputError(
            f"action space of {agent} = {space}: expected Discrete, MultiDiscrete, MultiBinary, "
            "a Box of floats, or a Dict or Tuple of them"
        )
    kind = BINARY if all(n == 2 for n in choices) else CATEGORICAL
    return Leaf(kind, len(choices), choices, start, shape, str(space.dtype))


def _rebuild(space: gym.Space, values: Any) -> Any:
    if isinstance(space, gym.spaces.Dict):
        return {key: _rebuild(sub, values) for key, sub in space.spaces.items()}
    if isinstance(space, gym.spaces.Tuple):
        return tuple(_rebuild(sub, values) for sub in space.spaces)
    return next(values)


def _to_env(space: gym.Space, actions: Any) -> Any:
    if isinstance(space, gym.spaces.Dict):
        return {key: _to_env(sub, actions[key]) for key, sub in space.spaces.items()}
    if isinstance(space, gym.spaces.Tuple):
        return tuple(_to_env(sub, a) for sub, a in zip(space.spaces, actions, strict=True))
    array = actions.cpu().numpy()
    if isinstance(space, gym.spaces.Box) and space.is_bounded():
        array = space.low + (array + 1.0) * (space.high - space.low) / 2
        array = np.clip(array, space.low, space.high)
    return array.astype(space.dtype)
