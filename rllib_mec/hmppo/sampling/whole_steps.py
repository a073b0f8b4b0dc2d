"""Steps of episodes made whole: every agent of the team is in each of them.

RLlib's episodes keep each agent's own steps, and of an agent that is not there for a while they
put together what belongs to different steps of the team. So here an agent that is not there is
given an observation of NaN, which networks never see, and no reward; its action goes nowhere.
Callbacks and connectors of the user's do see that NaN.

An agent is there if the environment shows it something and does not call it terminated or
truncated in the same step. What such an agent is given is the team's all the same. When an episode
ends, :mod:`rllib_mec.hmppo.sampling.ends` says.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_mec.hmppo.sampling.ends import Ends
from rllib_mec.hmppo.team import Team

Agents = Set[str]


class WholeSteps:
    """What some environments give, agent by agent, with the missing agents filled in.

    Attributes:
        absent: the agents that are not there, of each environment.
        any_absent: whether any agent has ever been missing.
    """

    def __init__(self, team: Team, num_envs: int) -> None:
        self._nowhere = {
            agent: np.full(codec.flat_space.shape or (), np.nan, np.float32)
            for name, codec in team.observation_codecs.items()
            for agent in team.ids(name)
        }
        self._agents = frozenset(self._nowhere)
        self.absent: list[Agents] = [set() for _ in range(num_envs)]
        self._ends = [Ends(self._agents) for _ in range(num_envs)]
        self.any_absent = False

    def begin(self, index: int, observed: dict[str, Any]) -> None:
        """Completes, in place, what the ``index``-th environment shows at an episode's start."""
        self._ends[index].begin()
        self._fill(index, observed)

    def asked(self, actions: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Returns the actions of those who are there, by environment."""
        if not any(self.absent):
            return actions
        return [
            {agent: action for agent, action in own.items() if agent not in absent}
            for own, absent in zip(actions, self.absent, strict=True)
        ]

    def complete(
        self,
        index: int,
        observed: dict[str, Any],
        rewards: dict[str, float],
        terminated: dict[str, bool],
        truncated: dict[str, bool],
    ) -> tuple[dict[str, float], dict[str, bool], dict[str, bool]]:
        """Completes a step of the ``index``-th environment, its observations in place.

        Returns:
            the rewards of all agents, and ``terminated`` and ``truncated`` of the episode.
        """
        alone = True in terminated.values() or True in truncated.values()
        if not alone and len(observed) == len(rewards) == len(self._nowhere):
            if self.absent[index]:
                self.absent[index] = set()
            self._ends[index].begin()
            return rewards, terminated, truncated
        rewards = {agent: float(rewards.get(agent, 0.0)) for agent in self._nowhere}
        over, cut, gone = self._ends[index].step(observed.keys(), terminated, truncated)
        for agent in gone:
            observed.pop(agent, None)
        self._fill(index, observed)
        return rewards, {"__all__": over}, {"__all__": cut}

    def _fill(self, index: int, observed: dict[str, Any]) -> None:
        self.absent[index] = self._agents - observed.keys()
        for agent in self.absent[index]:
            observed[agent] = self._nowhere[agent]
            self.any_absent = True


def absent_rows(observations: Any) -> NDArray[np.bool_]:
    """Which of an agent's observations, (T, …), say that it is not there, (T,)."""
    rows = np.asarray(observations)
    return np.isnan(rows.reshape(len(rows), -1)[:, 0])


def absent_steps(episodes: Sequence[Any]) -> dict[str, int]:
    """Returns how many steps of RLlib's episodes each agent was not there to act in."""
    counts: dict[str, int] = {}
    for episode in episodes:
        for agent, own in episode.agent_episodes.items():
            missed = int(absent_rows(own.get_observations())[:-1].sum())
            counts[agent] = counts.get(agent, 0) + missed
    return counts
