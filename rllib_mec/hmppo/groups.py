"""Groups of alike agents: their members' spaces, actions and parameters laid out as one agent's.

A group has what its A members have, member by member within each leaf of a space: the first
member's entries, then the second's, and so on. So a group is what an agent of A entities is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

Members = Mapping[str, tuple[str, ...]]

AgentGroups = Mapping[str, Sequence[str]] | str | None
"""Groups as whoever trains chooses them, see :mod:`rllib_mec.hmppo.team_of_env`."""


class ModuleOfMember:
    """RLlib's mapping of agents to modules: members of a group have one, under the group's name."""

    def __init__(self, members: Members) -> None:
        self._group_of = {agent: group for group, ids in members.items() for agent in ids}

    def __call__(self, agent_id: str, episode: Any = None, **kwargs: Any) -> str:
        return self._group_of.get(agent_id, agent_id)


def joined_space(space: gym.Space, count: int) -> gym.Space:
    """Returns the action space of ``count`` members, each with ``space``, as one.

    >>> joined_space(gym.spaces.Discrete(3), 2)
    MultiDiscrete([3 3])
    """
    if isinstance(space, gym.spaces.Dict):
        # Pairs: of a mapping, Gymnasium would sort the keys.
        return gym.spaces.Dict([(k, joined_space(own, count)) for k, own in space.items()])
    if isinstance(space, gym.spaces.Tuple):
        return gym.spaces.Tuple([joined_space(own, count) for own in space.spaces])
    if isinstance(space, gym.spaces.Box):
        low, high = (np.tile(bound.ravel(), count) for bound in (space.low, space.high))
        return gym.spaces.Box(low, high, dtype=space.dtype)  # type: ignore[arg-type]
    if isinstance(space, gym.spaces.MultiBinary):
        return gym.spaces.MultiBinary(math.prod(space.shape) * count)
    if isinstance(space, (gym.spaces.Discrete, gym.spaces.MultiDiscrete)):
        sizes = space.n if isinstance(space, gym.spaces.Discrete) else space.nvec
        nvec, start = (np.tile(np.ravel(own), count) for own in (sizes, space.start))
        return gym.spaces.MultiDiscrete(nvec, start=start)
    return space  # which the codec refuses, naming the agent


def by_member(joined: Tensor, widths: Sequence[int], count: int) -> Tensor:
    """Returns each member's vector, (…, A, P / A), of a group's, (…, P).

    Args:
        widths: entries of each block that lies member by member, summing to P.
    """
    blocks = [block.unflatten(-1, (count, -1)) for block in joined.split(list(widths), dim=-1)]
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=-1)


def of_group(single: Tensor, widths: Sequence[int]) -> Tensor:
    """The inverse of :func:`by_member`, with the widths of one member."""
    blocks = [block.flatten(-2) for block in single.split(list(widths), dim=-1)]
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=-1)


def at_entries(by_member: Tensor, widths: Sequence[int]) -> Tensor:
    """Returns numbers of members, (…, A), at each of their entries, (…, P).

    Args:
        widths: entries of each block that lies member by member, summing to P.
    """
    count = by_member.shape[-1]
    blocks = [by_member[..., None].expand(*by_member.shape, w // count).flatten(-2) for w in widths]
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=-1)
