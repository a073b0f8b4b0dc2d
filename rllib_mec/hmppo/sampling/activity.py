"""Who is there, in batches of environments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_mec.hmppo.team import Team
from rllib_mec.hmppo.team_batch import TeamBatch

Activity = dict[str, NDArray[np.bool_]]


def activity_of(team: Team, active: Mapping[str, Any]) -> Activity:
    """Returns what a batch's ``active()`` says as (B, members), of the team's agents alone."""
    return {
        agent: np.array(active[agent], bool).reshape(-1, team.num_members(agent))
        for agent in team.agents
        if agent in active
    }


def without_absent(flat: Mapping[str, Any], active: Activity) -> dict[str, Any]:
    """Returns flat observations, (B, observation_size), with zeros for who is not there."""
    blanked = dict(flat)
    for agent, there in active.items():
        members = flat[agent].reshape(*there.shape, -1)
        blanked[agent] = np.where(there[..., None], members, np.float32(0)).reshape(len(there), -1)
    return blanked


def agent_rewards_of(team: Team, env: Any) -> dict[str, NDArray[np.float32]]:
    """Returns what each agent was given in the last step of a batch, (B,) or (B, members)."""
    given, rewards = env.rewards(), {}
    for agent in team.agents:
        shape = (env.num_envs, team.num_members(agent)) if agent in team.members else (-1,)
        rewards[agent] = np.array(given[agent], np.float32).reshape(shape)
    return rewards


def absent_of(team: Team, batch: TeamBatch) -> dict[str, int]:
    """Returns how many steps of a batch each of the environment's agents was not there in."""
    counts: dict[str, int] = {}
    for name, there in batch.active.items():
        missed = (~there.reshape(len(batch), -1)).sum(axis=0)
        counts |= dict(zip(team.ids(name), missed.tolist(), strict=True))
    return counts
