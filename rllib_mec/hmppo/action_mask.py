"""Action masks: which choices of an agent's action are allowed in a step.

An environment gives a mask with the observation, in a Dict of two: ``action_mask`` beside
``observations`` (RLlib's convention) or ``observation`` (PettingZoo's). A mask has an entry for
each choice of each discrete leaf of the action space, 0 where it is forbidden:

| action        | entries of its mask                                                           |
|---------------|-------------------------------------------------------------------------------|
| Discrete      | n                                                                             |
| MultiDiscrete | all choices of the first entry, all of the second, …                          |
| MultiBinary   | two for each coin: whether it may be 0, and 1; or one for each: whether 1     |
| Dict or Tuple | one array over all discrete leaves, or a Dict or Tuple of their masks         |
| Box           | none                                                                          |

In an agent's flat observation the mask comes last, 0 or 1 for each choice. No network and no filter
sees it: actors set the logits of what is forbidden so low that it has the probability 0.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rllib_mec.errors import InputError
from rllib_mec.hmppo.action_codec import BINARY, ActionCodec, Leaf
from rllib_mec.hmppo.leaf_distributions import FORBIDDEN
from rllib_mec.hmppo.space_leaves import Path, leaf_of, leaves_of

MASK = "action_mask"
OBSERVED = ("observations", "observation")
"""What an observation is called beside its mask, by RLlib and by PettingZoo."""


class NothingAllowedError(ValueError):
    """An action mask that allows no choice at all to an agent that has to act."""


def observed_key(space: gym.Space, agent: str) -> str | None:
    """Returns the key of the observation beside a mask, None for a space without a mask.

    Raises:
        InputError: a mask beside something else.
    """
    if not isinstance(space, gym.spaces.Dict) or MASK not in space.spaces:
        return None
    others = [key for key in space.spaces if key != MASK]
    if len(others) != 1 or others[0] not in OBSERVED:
        raise InputError(
            f"observation space of {agent} has {MASK!r} beside {others}: expected "
            f"{OBSERVED[0]!r} or {OBSERVED[1]!r} alone"
        )
    return others[0]


@dataclasses.dataclass(frozen=True, slots=True)
class _Part:
    """What a mask says of one discrete leaf: ``size`` entries at ``path`` from ``start`` on.

    short: one entry for each coin instead of two.
    """

    path: Path
    start: int
    size: int
    short: bool


class ActionMask:
    """Makes flat masks, (B, size), of an environment's.

    Args:
        space: of the environment's masks.
        actions: the codec of what they are about.
        agent: whose they are, for messages.

    Attributes:
        size: entries of a flat mask, one for each choice.
    """

    def __init__(self, space: gym.Space, actions: ActionCodec, agent: str) -> None:
        self.size = actions.num_choices
        self._parts = _parts(space, actions, f"observation space of {agent}[{MASK!r}] = {space}")
        self._sizes: dict[Path, int] = {}
        for part in self._parts:
            self._sizes[part.path] = self._sizes.get(part.path, 0) + part.size
        counts = [n for leaf in actions.leaves for n in leaf.choices]
        self._starts = np.cumsum([0, *counts[:-1]])

    def flatten(self, masks: Any, rows: int) -> NDArray[np.float32]:
        """Returns flat masks, (rows, size), of some in the environment's structure."""
        columns = []
        for part in self._parts:
            array = np.asarray(leaf_of(masks, part.path)).reshape(rows, -1)
            allowed = array[:, part.start : part.start + part.size] > 0
            if part.short:
                allowed = np.stack([np.ones_like(allowed), allowed], axis=-1).reshape(rows, -1)
            columns.append(allowed)
        return np.concatenate(columns, axis=-1).astype(np.float32)

    def check(self, masks: Any, where: str) -> None:
        """Checks that one mask has as many entries as its space says.

        Raises:
            ValueError: names ``where`` and what was expected.
        """
        for path, size in self._sizes.items():
            try:
                found = np.size(leaf_of(masks, path))
            except (KeyError, IndexError, TypeError):
                found = 0
            if found != size:
                at = "".join(f"[{key!r}]" for key in path)
                raise ValueError(f"{where}{at} has {found} entries: expected {size}")

    def allows_nothing(self, masks: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Whether flat masks, (…, size), leave some entry of the action without a choice, (…)."""
        return (np.add.reduceat(masks, self._starts, axis=-1) == 0).any(axis=-1)


def _parts(space: gym.Space, actions: ActionCodec, where: str) -> list[_Part]:
    leaves = [
        (p, leaf) for p, leaf in zip(actions.paths, actions.leaves, strict=True) if leaf.choices
    ]
    if not leaves:
        raise InputError(f"{where}: expected none, {actions.space} has no choices")
    coins = [isinstance(leaf_of(actions.space, p), gym.spaces.MultiBinary) for p, _ in leaves]
    given = {path: _entries(own, where) for path, own in leaves_of(space)}
    full = [leaf.num_choices for _, leaf in leaves]
    if list(given) == [()]:
        short = all(coins) and given[()] == sum(leaf.size for _, leaf in leaves)
        sizes = [leaf.size for _, leaf in leaves] if short else full
        starts = np.cumsum([0, *sizes])
        if starts[-1] != given[()]:
            raise InputError(
                f"{where}: expected {sum(full)} entries, one for each choice of {actions.space}"
            )
        return [_Part((), int(s), n, short) for s, n in zip(starts, sizes, strict=False)]
    parts = []
    for (path, leaf), is_coins, most in zip(leaves, coins, full, strict=True):
        size = given.pop(path, 0)
        short = is_coins and size == leaf.size
        if size != most and not short:
            raise InputError(
                f"{where}: expected {most} entries, one for each choice of "
                f"{leaf_of(actions.space, path)}, at {list(path)}, got {size}"
            )
        parts.append(_Part(path, 0, size, short))
    if given:
        raise InputError(f"{where}: expected nothing at {list(next(iter(given)))}")
    return parts


def _entries(space: gym.Space, where: str) -> int:
    if not isinstance(space, gym.spaces.Box | gym.spaces.MultiBinary):
        raise InputError(f"{where}: expected Box or MultiBinary, or a Dict or Tuple of them")
    return math.prod(space.shape)


def forbid(leaf: Leaf, logits: Tensor, allowed: Tensor) -> Tensor:
    """Returns logits, (…, L), with those of forbidden choices so low that they are never chosen.

    Where nothing is allowed, they are finite all the same: such a row is one of an agent that does
    not act.

    Args:
        allowed: the leaf's part of a flat mask, (…, choices).
    """
    if leaf.kind != BINARY:
        return torch.where(allowed > 0, logits, FORBIDDEN)
    # A coin has a single logit: of 1 against 0.
    zero, one = allowed.unflatten(-1, (-1, 2)).unbind(dim=-1)
    return torch.where(one > 0, torch.where(zero > 0, logits, -FORBIDDEN), FORBIDDEN)
