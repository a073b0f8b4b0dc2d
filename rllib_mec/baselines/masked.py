"""Uniformly random choices among those that an action mask allows."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from rllib_mec.hmppo.action_codec import ActionCodec
from rllib_mec.hmppo.action_mask import ActionMask
from rllib_mec.hmppo.space_leaves import leaf_of


def keep_to_masks(
    actions: Any, space: gym.Space, masks: Any, agent: str, random: np.random.Generator
) -> None:
    """Replaces, in place, the choices in B actions by others that are allowed.

    Args:
        actions: (B, …) in each leaf of the space. space: of one action.
        masks: as an environment gives them, (B, …) in each leaf.

    Raises:
        InputError: masks that do not fit the space.
    """
    codec = ActionCodec(space, agent)
    mask = ActionMask(_space_of(masks), codec, agent)
    rows = len(leaf_of(actions, codec.paths[0]))
    # The largest of random numbers, which those of forbidden choices are below.
    keys = random.random((rows, mask.size)) + mask.flatten(masks, rows)
    start = 0
    for path, leaf in zip(codec.paths, codec.leaves, strict=True):
        columns = []
        for n in leaf.choices:
            columns.append(keys[:, start : start + n].argmax(axis=1))
            start += n
        if columns:
            drawn = np.stack(columns, axis=1) + np.array(leaf.start)
            leaf_of(actions, path)[...] = drawn.reshape(rows, *leaf.shape)


def _space_of(masks: Any) -> gym.Space:
    """The space of one mask, of masks (B, …)."""
    if isinstance(masks, dict):
        return gym.spaces.Dict({key: _space_of(own) for key, own in masks.items()})
    if isinstance(masks, tuple):
        return gym.spaces.Tuple([_space_of(own) for own in masks])
    return gym.spaces.Box(0, 1, np.shape(masks)[1:], np.float32)
