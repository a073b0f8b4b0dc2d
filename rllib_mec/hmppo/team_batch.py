"""A training batch of the whole team, with the agents' rows aligned step by step.

An agent may be a group, see :class:`~rllib_mec.hmppo.team.Team`; its columns are then those of its
members, one after the other.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Columns = dict[str, Array]

ROW_COLUMNS = ("observations", "actions", "log_probs", "parameters")
"""The columns that each agent has of its own, with one entry per row."""

ACTIVITY = ("active", "final_active")
"""The columns that only agents have that were not always there."""


@dataclasses.dataclass(slots=True)
class TeamBatch:
    """R steps in S segments (see :mod:`rllib_mec.hmppo.learning.advantages`), segment by segment.

    observations: (R, observation_size) of each agent, slots empty.
    actions: flat actions, (R, size) of each agent.
    log_probs: of each part of the action, (R, A) of each agent; A = 1 where it is one whole.
    parameters: distribution parameters when sampled, (R, num_parameters) of each agent.
    rewards: the team's reward, (R,).
    lengths: rows per segment, (S,).
    final_observations: after each segment, (S, observation_size) of each agent.
    terminated: whether the episode terminated at the segment's end, (S,).
    active: whether each agent was there to act, (R,) bool, of groups each member, (R, members);
        agents that are not in it always were. Where one was not, its observation is zeros, and
        its action and all about it mean nothing.
    final_active: the same of the final observations, (S,) or (S, members).
    states: of the environment before each row, (R, numbers), if critics see them; or None.
    final_states: after each segment, (S, numbers), or None.
    memories: of recurrent modules before each row, (R, memory_size), by module id; or empty.
    final_memories: after each segment, (S, memory_size).
    agent_rewards: what each agent itself was given, (R,), of groups (R, members), if agents learn
        from that; or empty.
    """

    observations: Columns
    actions: Columns
    log_probs: Columns
    parameters: Columns
    rewards: Array
    lengths: NDArray[np.int64]
    final_observations: Columns
    terminated: NDArray[np.bool_]
    active: Columns = dataclasses.field(default_factory=dict)
    final_active: Columns = dataclasses.field(default_factory=dict)
    states: Array | None = None
    final_states: Array | None = None
    agent_rewards: Columns = dataclasses.field(default_factory=dict)
    memories: Columns = dataclasses.field(default_factory=dict)
    final_memories: Columns = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rewards)

    def env_steps(self) -> int:
        """Steps of environments, R."""
        return len(self.rewards)

    def agent_steps(self) -> int:
        """Steps of agents, where no agent is a group."""
        absent = sum(int((~own).sum()) for own in self.active.values())
        return len(self.rewards) * len(self.observations) - absent

    @classmethod
    def concatenate(cls, batches: Sequence[TeamBatch]) -> TeamBatch:
        """Joins batches, one behind the other."""
        if len(batches) == 1:
            return batches[0]

        def joined(name: str) -> Any:
            parts = [getattr(batch, name) for batch in batches]
            if parts[0] is None:
                return None
            if not isinstance(parts[0], dict):
                return np.concatenate(parts)
            if name in ACTIVITY:
                return _joined_activity(parts, [_rows_of(batch, name) for batch in batches])
            return {a: np.concatenate([part[a] for part in parts]) for a in parts[0]}

        return cls(**{field.name: joined(field.name) for field in dataclasses.fields(cls)})

    def __getitem__(self, rows: slice) -> TeamBatch:
        """Returns a run of rows; a segment that it cuts goes on in another batch.

        RLlib cuts batches so to share them out to several learners.
        """
        start, stop, step = rows.indices(len(self))
        if step != 1:
            raise ValueError(f"rows {rows}: expected a step of 1")
        ends = self.lengths.cumsum()
        begins = ends - self.lengths
        chosen = np.flatnonzero((begins < stop) & (ends > start))
        lengths = np.minimum(ends[chosen], stop) - np.maximum(begins[chosen], start)
        cut = bool(len(chosen)) and ends[chosen[-1]] > stop

        def of_each_agent(columns: Columns, pick: Callable[[Array], Array]) -> Columns:
            return {agent: pick(column) for agent, column in columns.items()}

        final = of_each_agent(self.final_observations, lambda column: column[chosen])
        terminated = self.terminated[chosen]
        if cut:
            terminated[-1] = False
            for agent, column in final.items():
                column[-1] = self.observations[agent][stop]
        final_active = of_each_agent(self.final_active, lambda column: column[chosen])
        if cut:
            for agent, column in final_active.items():
                there = self.active.get(agent)
                column[-1] = True if there is None else there[stop]
        parts = {
            n: of_each_agent(getattr(self, n), lambda c: c[start:stop])
            for n in (*ROW_COLUMNS, "active", "agent_rewards", "memories")
        }
        final_memories = of_each_agent(self.final_memories, lambda column: column[chosen])
        if cut:
            for mid, column in final_memories.items():
                column[-1] = self.memories[mid][stop]
        final_states = None
        if self.states is not None and self.final_states is not None:
            final_states = self.final_states[chosen]
            if cut:
                final_states[-1] = self.states[stop]
        return TeamBatch(
            **parts,
            final_active=final_active,
            states=None if self.states is None else self.states[start:stop],
            final_states=final_states,
            final_memories=final_memories,
            rewards=self.rewards[start:stop],
            lengths=lengths,
            final_observations=final,
            terminated=terminated,
        )

    def slice(self, rows: slice, **kwargs: Any) -> TeamBatch:
        """The same as indexing, under the name that RLlib uses."""
        return self[rows]


def _rows_of(batch: TeamBatch, name: str) -> int:
    """Entries of the column ``name``."""
    return len(batch.rewards) if name == "active" else len(batch.lengths)


def _joined_activity(parts: Sequence[Columns], rows: Sequence[int]) -> Columns:
    """Joins columns of agents of which some parts say nothing: there they always were."""
    shapes = {agent: column.shape[1:] for part in parts for agent, column in part.items()}
    return {
        agent: np.concatenate(
            [
                part[agent] if agent in part else np.ones((count, *shape), bool)
                for part, count in zip(parts, rows, strict=True)
            ]
        )
        for agent, shape in shapes.items()
    }
