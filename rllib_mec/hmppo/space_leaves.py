"""Spaces and what lies in them as trees: Dicts and Tuples, with simple spaces for leaves."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

Path = tuple[Any, ...]


def leaves_of(space: gym.Space) -> list[tuple[Path, gym.Space]]:
    """Returns the leaves of a space with their paths, in the space's own order.

    >>> leaves_of(gym.spaces.Dict({"b": gym.spaces.Discrete(2), "a": gym.spaces.Discrete(3)}))
    [(('a',), Discrete(3)), (('b',), Discrete(2))]
    """
    if isinstance(space, gym.spaces.Dict):
        items: Any = space.spaces.items()
    elif isinstance(space, gym.spaces.Tuple):
        items = enumerate(space.spaces)
    else:
        return [((), space)]
    return [((key, *path), leaf) for key, sub in items for path, leaf in leaves_of(sub)]


def leaf_of(tree: Any, path: Path) -> Any:
    """Returns what lies at a path: of a space, of one of its elements, or of a batch of them."""
    for key in path:
        tree = tree[key]
    return tree


def batch_of_one(element: Any) -> Any:
    """Returns an element with a leading axis of 1 in each leaf."""
    if isinstance(element, dict):
        return {key: batch_of_one(value) for key, value in element.items()}
    if isinstance(element, tuple):
        return tuple(batch_of_one(value) for value in element)
    return np.asarray(element)[None]
