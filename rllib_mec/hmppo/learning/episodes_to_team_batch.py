"""RLlib's episodes as a training batch of the team."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from ray.rllib.connectors.connector_v2 import ConnectorV2
from ray.rllib.core.columns import Columns
from ray.rllib.env.multi_agent_episode import MultiAgentEpisode

from rllib_mec.hmppo.action_codec import ActionCodec
from rllib_mec.hmppo.groups import of_group
from rllib_mec.hmppo.modules.joint_policy import JointPolicy
from rllib_mec.hmppo.modules.recurrent import CARRIED, MEMORY_IN, OWN
from rllib_mec.hmppo.sampling.env_state import STATE_INFO
from rllib_mec.hmppo.sampling.whole_steps import absent_rows
from rllib_mec.hmppo.team import Team
from rllib_mec.hmppo.team_batch import TeamBatch

TEAM_BATCH = "team_batch"
Floats = NDArray[np.float32]


class EpisodesToTeamBatch(ConnectorV2):
    """Learner connector: RLlib's multi-agent episodes to a :class:`TeamBatch`.

    The team's reward is the mean of its agents' rewards, which for a shared reward is that reward;
    of those, too, that are not there.
    """

    def __init__(
        self, team: Team, with_states: bool = False, individual: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.team = team
        self.with_states = with_states
        self.individual = individual

    def __call__(
        self,
        *,
        rl_module: Any,
        episodes: Sequence[MultiAgentEpisode],
        batch: dict[str, Any],
        **kwargs: Any,
    ) -> dict[str, Any]:
        episodes = [episode for episode in episodes if len(episode) > 0]
        columns = [self._columns(episode) for episode in episodes]
        agents = self.team.agents

        def joined(name: str) -> dict[str, Floats]:
            return {a: np.concatenate([column[a][name] for column in columns]) for a in agents}

        states = [self._states(episode) for episode in episodes if self.with_states]
        absent = [a for a in agents if not all(column[a]["active"].all() for column in columns)]
        observations = {
            a: np.concatenate([column[a]["observations"][:-1] for column in columns])
            for a in agents
        }
        return {
            TEAM_BATCH: TeamBatch(
                observations=observations,
                actions=joined("actions"),
                log_probs=joined("log_probs"),
                parameters=joined("parameters"),
                rewards=np.concatenate([self._reward(episode) for episode in episodes]),
                lengths=np.array([len(episode) for episode in episodes]),
                final_observations={
                    a: np.stack([column[a]["observations"][-1] for column in columns])
                    for a in agents
                },
                terminated=np.array([_is_terminated(episode) for episode in episodes]),
                active={
                    a: np.concatenate([column[a]["active"][:-1] for column in columns])
                    for a in absent
                },
                final_active={
                    a: np.stack([column[a]["active"][-1] for column in columns]) for a in absent
                },
                states=np.concatenate([own[:-1] for own in states]) if states else None,
                final_states=np.stack([own[-1] for own in states]) if states else None,
                agent_rewards={
                    a: np.concatenate([self._of_agent(a, episode) for episode in episodes])
                    for a in agents
                    if self.individual
                },
                **self._memories(columns, rl_module),
            )
        }

    def _memories(
        self, columns: Sequence[dict[str, dict[str, Floats]]], module: JointPolicy
    ) -> dict[str, Any]:
        """What recurrent modules knew before each step, and after the episodes."""
        before: dict[str, Floats] = {}
        after: dict[str, Floats] = {}
        for agent in self.team.agents:
            for name in columns[0][agent].keys() & {MEMORY_IN, CARRIED}:
                modules = {agent: 0} if name == MEMORY_IN else module.carried_memories
                own = [column[agent][name] for column in columns]
                ends = np.cumsum(list(modules.values()))[:-1]
                rows = np.split(np.concatenate([each[:-1] for each in own]), ends, axis=-1)
                last = np.split(np.stack([each[-1] for each in own]), ends, axis=-1)
                before |= dict(zip(modules, rows, strict=True))
                after |= dict(zip(modules, last, strict=True))
        return {"memories": before, "final_memories": after}

    def _columns(self, episode: MultiAgentEpisode) -> dict[str, dict[str, Floats]]:
        return {
            agent: self._of_group(agent, episode)
            if agent in self.team.members
            else self._of_one(agent, episode, self.team.codecs[agent])
            for agent in self.team.agents
        }

    def _of_one(
        self, agent: str, episode: MultiAgentEpisode, codec: ActionCodec
    ) -> dict[str, Floats]:
        steps = len(episode)
        own = episode.agent_episodes.get(agent)
        if own is None or len(own) != steps:
            taken = 0 if own is None else len(own)
            raise ValueError(
                f"{agent} acted in {taken} of {steps} steps of an episode: expected env runners "
                "that are subclasses of EpisodeEnvRunner, which fill in for agents that are not "
                "there"
            )
        outputs = own.get_extra_model_outputs
        observations = _rows(own.get_observations(), steps + 1)
        absent = absent_rows(observations)
        if absent.any():
            observations = np.where(absent[:, None], np.float32(0), observations)
        columns = {
            "observations": observations,
            "active": ~absent,
            "actions": codec.flatten(_stacked(own.get_actions())),
            "log_probs": _rows(outputs(Columns.ACTION_LOGP), steps),
            "parameters": _rows(outputs(Columns.ACTION_DIST_INPUTS), steps),
        }
        if Columns.STATE_OUT in own.extra_model_outputs:
            before = _stacked(outputs(MEMORY_IN))
            after = outputs(Columns.STATE_OUT, indices=-1)
            for name, kept in ((OWN, MEMORY_IN), (CARRIED, CARRIED)):
                if name in after:
                    rows = np.concatenate([before[name], np.asarray(after[name])[None]])
                    columns[kept] = _rows(rows, steps + 1)
        return columns

    def _of_group(self, group: str, episode: MultiAgentEpisode) -> dict[str, Floats]:
        """The members' columns as the group's, see :mod:`rllib_mec.hmppo.groups`."""
        codec = self.team.member_codecs[group]
        members = [self._of_one(agent, episode, codec) for agent in self.team.members[group]]
        widths = {"actions": codec.action_widths, "parameters": codec.parameter_widths}
        columns = {}
        for name, first in members[0].items():
            if name == CARRIED:  # each member has the same
                columns[name] = first
                continue
            stacked = np.stack([own[name] for own in members], axis=1)
            if name == "active":
                columns[name] = stacked
                continue
            joined = of_group(torch.from_numpy(stacked), widths.get(name, [first.shape[-1]]))
            columns[name] = joined.numpy()
        return columns

    def _states(self, episode: MultiAgentEpisode) -> Floats:
        """The environment's, (steps + 1, S)."""
        keeper = episode.agent_episodes[self.team.ids(self.team.agents[0])[0]]
        return np.stack([info[STATE_INFO] for info in keeper.get_infos()])

    def _of_agent(self, agent: str, episode: MultiAgentEpisode) -> Floats:
        """What an agent itself was given, (steps,), or each member of a group, (steps, members)."""
        own = [episode.agent_episodes[one].get_rewards() for one in self.team.ids(agent)]
        rewards = np.stack(own, axis=-1).astype(np.float32)
        return rewards if agent in self.team.members else rewards[:, 0]

    def _reward(self, episode: MultiAgentEpisode) -> Floats:
        """The team's, (steps,)."""
        every = [agent for name in self.team.agents for agent in self.team.ids(name)]
        rewards = [episode.agent_episodes[agent].get_rewards() for agent in every]
        return np.stack([np.asarray(own, dtype=np.float32) for own in rewards]).mean(axis=0)


def _is_terminated(episode: MultiAgentEpisode) -> bool:
    """Whether the episode came to an end of its own.

    RLlib calls an episode terminated, too, if all of its agents were truncated one by one.
    """
    return episode.is_terminated and not episode.is_truncated


def _rows(values: Any, count: int) -> Floats:
    return np.asarray(values, dtype=np.float32).reshape(count, -1)


def _stacked(actions: Any) -> Any:
    """Actions of an episode that is not yet in NumPy form are a list, one entry per step."""
    if not isinstance(actions, list):
        return actions
    first = actions[0]
    if isinstance(first, dict):
        return {key: _stacked([action[key] for action in actions]) for key in first}
    if isinstance(first, tuple):
        return tuple(_stacked([action[i] for action in actions]) for i in range(len(first)))
    return np.stack(actions)
