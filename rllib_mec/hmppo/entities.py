"""Entities: observations and actions of all agents as sets of equal-shaped parts."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from rllib_mec.errors import InputError


def check_entities(team: Any, count: int) -> None:
    """Checks that what a team's agents observe and do falls into ``count`` equal-shaped entities.

    Members of groups are entities.

    Raises:
        InputError: something does not.
    """
    for agent in team.agents:
        if agent in team.members:
            if team.num_members(agent) != count:
                raise InputError(
                    f"entity_shared = true: expected groups of {count} members, one for each "
                    f"entity, {agent} has {team.num_members(agent)}"
                )
            continue
        if not isinstance(team.observation_codecs[agent].features, gym.spaces.Box):
            raise InputError(
                f"entity_shared = true: expected a Box, laid out entity by entity, as the "
                f"observation space of {agent}, got {team.observation_spaces[agent]}"
            )
        leaves = team.codecs[agent].leaves
        sizes = [team.num_features(agent), *(leaf.size for leaf in leaves)]
        choices = {c for leaf in leaves for c in leaf.choices}
        if any(size % count for size in sizes) or len(choices) > 1:
            raise InputError(
                f"entity_shared = true: expected the observation and action of {agent} to be "
                f"{count} equal-shaped entities"
            )
