"""Collects steps of environments in lockstep and makes training batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rllib_mec.hmppo.distributions import ActionDistribution
from rllib_mec.hmppo.sampling.activity import Activity
from rllib_mec.hmppo.team import Team
from rllib_mec.hmppo.team_batch import TeamBatch

Array = NDArray[Any]


class Recorder:
    """Collects the steps of S groups of B environments, as a :class:`TeamBatch` per group.

    A *piece* is a run of steps without an end of episode; each environment's part of it is a
    segment.

    Attributes:
        steps: steps recorded of each environment.
    """

    def __init__(self, team: Team, groups: int = 1) -> None:
        self.team = team
        self.groups = groups
        self.steps = 0
        self._steps: list[Any] = []
        self._pieces: list[list[TeamBatch]] = [[] for _ in range(groups)]

    def add(
        self,
        observations: dict[str, Array],
        actions: dict[str, Tensor],
        parameters: dict[str, Tensor],
        rewards: Array,
        active: Activity | None = None,
        states: Array | None = None,
        agent_rewards: dict[str, Array] | None = None,
        memories: dict[str, Tensor] | None = None,
    ) -> None:
        """Adds a step.

        Args:
            observations: of each agent, (S * B, observation_size), slots empty.
            actions: flat actions of each agent, (S, B, size).
            parameters: of the distributions that they were drawn from, (S, B, num_parameters).
            rewards: the team's, (S * B,).
            active: who was there, (S * B, members), of agents that may not be.
            states: of the environments, (S * B, numbers), if critics see them.
            agent_rewards: what each agent was given, (S * B,) or (S * B, members), if it learns
                from that.
            memories: of recurrent modules before the step, (S, B, memory_size).
        """
        self._steps.append(
            (
                observations,
                actions,
                parameters,
                rewards,
                active or {},
                states,
                agent_rewards or {},
                memories or {},
            )
        )
        self.steps += 1

    def end_piece(
        self,
        final_observations: dict[str, Array],
        terminated: bool,
        final_active: Activity | None = None,
        final_states: Array | None = None,
        final_memories: dict[str, Tensor] | None = None,
    ) -> None:
        """Closes the steps since the last call, with what was observed after them."""
        steps = len(self._steps)
        if not steps:
            return
        observations, actions, parameters, rewards, active, states, given, memories = zip(
            *self._steps, strict=True
        )
        agents = self.team.agents
        observed = {a: self._rows([step[a] for step in observations]) for a in agents}
        acted = {a: _tensor_rows([step[a] for step in actions]) for a in agents}
        drawn = {a: _tensor_rows([step[a] for step in parameters]) for a in agents}
        # All at once: for each step it would cost as much as acting does.
        log_probs = {
            a: ActionDistribution(self.team.codecs[a], drawn[a]).log_probs(acted[a]).numpy()
            for a in agents
        }
        rewarded = self._rows(rewards).astype(np.float32)
        final = {a: self._grouped(final_observations[a]) for a in agents}
        there = {
            a: self._rows([self._there(a, step, len(rewards[0])) for step in active])
            for a in {a: None for step in active for a in step}
        }
        final_there = {a: self._grouped(own) for a, own in (final_active or {}).items()}
        own_rewards = {
            a: self._rows([step[a] for step in given]).astype(np.float32) for a in given[0]
        }
        stated = None if states[0] is None else self._rows(states)
        final_stated = None if final_states is None else self._grouped(final_states)
        remembered = {mid: _tensor_rows([step[mid] for step in memories]) for mid in memories[0]}
        num_envs = len(rewards[0]) // self.groups
        for group, pieces in enumerate(self._pieces):
            pieces.append(
                TeamBatch(
                    observations={a: observed[a][group] for a in agents},
                    actions={a: acted[a][group].numpy() for a in agents},
                    log_probs={a: log_probs[a][group] for a in agents},
                    parameters={a: drawn[a][group].numpy() for a in agents},
                    rewards=rewarded[group],
                    lengths=np.full(num_envs, steps),
                    final_observations={a: final[a][group] for a in agents},
                    terminated=np.full(num_envs, terminated),
                    active={a: self._activity(a, own[group]) for a, own in there.items()},
                    final_active={
                        a: self._activity(a, own[group]) for a, own in final_there.items()
                    },
                    states=None if stated is None else stated[group],
                    final_states=None if final_stated is None else final_stated[group],
                    agent_rewards={a: own[group] for a, own in own_rewards.items()},
                    memories={mid: own[group].numpy() for mid, own in remembered.items()},
                    final_memories={
                        mid: own[group].numpy() for mid, own in (final_memories or {}).items()
                    },
                )
            )
        self._steps = []

    def drop_piece(self) -> None:
        """Forgets the steps since the last call of :meth:`end_piece`."""
        self.steps -= len(self._steps)
        self._steps = []

    def batches(self) -> list[TeamBatch]:
        """Returns everything recorded, by group; the last piece must be closed."""
        return [TeamBatch.concatenate(pieces) for pieces in self._pieces]

    def _there(self, agent: str, active: Activity, num_envs: int) -> Array:
        own = active.get(agent)
        return np.ones((num_envs, self.team.num_members(agent)), bool) if own is None else own

    def _activity(self, agent: str, there: Array) -> Array:
        """(R, members), or of an agent that is no group (R,)."""
        return there if agent in self.team.members else there[:, 0]

    def _rows(self, steps: Sequence[Array]) -> Array:
        """Makes T arrays (S * B, …) into rows (S, B * T, …), environment by environment."""
        stacked = np.stack(steps, axis=1)
        return stacked.reshape(self.groups, -1, *stacked.shape[2:])

    def _grouped(self, values: Array) -> Array:
        return values.reshape(self.groups, -1, *values.shape[1:])


def _tensor_rows(steps: Sequence[Tensor]) -> Tensor:
    """Makes T tensors (S, B, …) into rows (S, B * T, …), environment by environment."""
    return torch.stack(list(steps), dim=2).flatten(1, 2)
