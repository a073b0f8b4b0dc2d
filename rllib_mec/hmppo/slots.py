"""Slots: where in an agent's flat observation the codes of earlier actions belong."""

from __future__ import annotations

import functools
from collections.abc import Container, Mapping, Sequence
from typing import Any

from torch import Tensor

from rllib_mec.errors import InputError

Slots = Mapping[str, Mapping[str, tuple[int, ...]]]
"""``{observer: {earlier agent: positions}}``."""


def check_slots(
    slots: Slots,
    agents: tuple[str, ...],
    code_sizes: Mapping[str, int],
    places: Mapping[str, Container[int]],
) -> None:
    """Checks what an environment declares.

    Args:
        agents: in the order they decide.
        code_sizes: entries of the code of each agent's action.
        places: positions in each agent's flat observation where something may be written.

    Raises:
        InputError: an unknown or later agent, or positions that do not fit.
    """
    for observer, seen in slots.items():
        if observer not in agents:
            raise InputError(f"action_slots of {observer!r}: expected one of {agents}")
        earlier = agents[: agents.index(observer)]
        for agent, positions in seen.items():
            where = f"action_slots[{observer}][{agent}]"
            if agent not in earlier:
                raise InputError(f"{where}: expected an agent that acts earlier, one of {earlier}")
            if len(positions) != code_sizes[agent]:
                raise InputError(
                    f"{where} has {len(positions)} positions: expected {code_sizes[agent]}"
                )
            if not all(p in places[observer] for p in positions):
                raise InputError(f"{where} = {positions}: expected positions in the observation")


def filled(observation: Tensor, codes: Sequence[tuple[tuple[int, ...], Tensor]]) -> Tensor:
    """Returns an observation, (…, size), with codes at their positions; it stays as it is."""
    copy = observation.clone()
    for positions, code in codes:
        copy[..., _indices(positions)] = code
    return copy


def decision_points(agents: tuple[str, ...], slots: Slots) -> dict[str, int]:
    """Returns the index of the point at which each agent decides.

    Points differ in which actions are known to anybody: point 0 knows none.
    """
    seen_agents = {agent for seen in slots.values() for agent in seen}
    points, known = {}, 0
    for index, agent in enumerate(agents):
        if index and agents[index - 1] in seen_agents:
            known += 1
        points[agent] = known
    return points


def undecided(slots: Slots, points: Mapping[str, int], point: int) -> dict[str, list[int]]:
    """Returns, for each observer, the positions of slots not yet decided at ``point``.

    Args:
        points: at which each agent decides.
    """
    return {
        observer: sorted(
            position
            for agent, positions in seen.items()
            if points[agent] >= point
            for position in positions
        )
        for observer, seen in slots.items()
    }


@functools.cache
def _indices(positions: tuple[int, ...]) -> Any:
    """Positions at regular steps as a slice, which is much faster to write to than a list."""
    if len(positions) == 1:
        return slice(positions[0], positions[0] + 1)
    step = positions[1] - positions[0]
    if step > 0 and positions == tuple(range(positions[0], positions[-1] + 1, step)):
        return slice(positions[0], positions[-1] + 1, step)
    return list(positions)
