"""From what S learners are given, a batch each, to the rows that their networks learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing
from torch import Tensor

from rllib_mec.hmppo.learning.active_rows import ACTIVE
from rllib_mec.hmppo.learning.advantages import lambda_returns, next_values, normalised
from rllib_mec.hmppo.learning.minibatches import sequence_starts
from rllib_mec.hmppo.modules.critic import Critic
from rllib_mec.hmppo.modules.critic_plan import STATE
from rllib_mec.hmppo.modules.observation_filter import filter_stacked
from rllib_mec.hmppo.modules.recurrent import STARTS, Memory, memory_of
from rllib_mec.hmppo.modules.stacked import Stacked
from rllib_mec.hmppo.team_batch import TeamBatch

Observations = dict[str, Tensor]
ModuleRows = dict[str, dict[str, Tensor]]
"""Columns of each module's rows, (S, R, …), by module id and RLlib's column name.

Log probabilities are those of each part of an action, (S, R, A). Advantages are (S, R, 1), and so
are value targets; members of a group with a critic over their own observations have each their
own, (S, R, A).
"""


@torch.no_grad()
def training_rows(
    learners: Sequence[Any], networks: Mapping[str, Stacked], batches: Sequence[TeamBatch]
) -> ModuleRows:
    """Returns the rows of all modules that are to be trained, with returns and advantages.

    The statistics of returns that the critics keep move with them.

    Args:
        learners: HMPPO's, of alike configurations.
        networks: their modules by id.
        batches: one per learner, with equally many rows R.
    """
    plan = learners[0].plan
    team = plan.team
    actions = _stacked(learners, batches, "actions")
    log_probs = _stacked(learners, batches, "log_probs")
    observed = _filtered(networks, _stacked(learners, batches, "observations"))
    active = _active(learners, batches)
    observed = team.as_seen(observed, actions, active)
    if plan.state_size is not None:
        observed[STATE] = torch.stack(
            [_tensor(batch.states, own) for batch, own in zip(batches, learners, strict=True)]
        )
    final = [_final_observations(*pair) for pair in zip(learners, batches, strict=True)]
    memories = _memories(learners, batches)

    rows: ModuleRows = {}
    for critic_id, agents in plan.critics.items():
        critics: list[Critic] = networks[critic_id].modules
        inputs = plan.inputs(critic_id, observed)
        remembered = memories.get(critic_id, {})
        values = _values(networks[critic_id], inputs, memory_of(remembered))
        final_values = [
            plan.state_values(
                critic.compute_values(
                    {Columns.OBS: plan.inputs(critic_id, own)}
                    | _final_memory(batch, critic_id, learner)
                )
            )
            for critic, own, batch, learner in zip(critics, final, batches, learners, strict=True)
        ]
        returns = _returns(
            learners,
            [learner.module_configs[critic_id] for learner in learners],
            batches,
            plan.state_values(values),
            final_values,
            _agent_rewards(learners, batches, agents),
        )
        if learners[0].should_module_be_updated(critic_id):
            for critic, own in zip(critics, returns, strict=True):
                critic.track(own)
        targets = [critic.normalise(own) for critic, own in zip(critics, returns, strict=True)]
        rows[critic_id] = {
            Columns.OBS: inputs,
            Postprocessing.VALUE_TARGETS: torch.stack(targets),
            **remembered,
        }
        for agent in agents:
            advantages = returns - plan.baselines(agent, values)
            there = active.get(agent)
            rows[agent] = {
                Columns.OBS: observed[agent],
                Columns.ACTIONS: actions[agent],
                Columns.ACTION_LOGP: log_probs[agent],
                # Over all members alike: they share the actor that learns from them.
                Postprocessing.ADVANTAGES: _normalised(advantages, there),
                **memories.get(agent, {}),
            }
            if there is not None:
                rows[agent][ACTIVE] = there.float()
    if learners[0].config.use_kl_loss:
        for agent, parameters in _stacked(learners, batches, "parameters").items():
            rows[agent][Columns.ACTION_DIST_INPUTS] = parameters
    return {mid: rows[mid] for mid in rows if learners[0].should_module_be_updated(mid)}


@torch.no_grad()
def track_observations(
    learners: Sequence[Any], networks: Mapping[str, Stacked], batches: Sequence[TeamBatch]
) -> None:
    """Takes the batches' observations into the actors' filters, if they have any."""
    for agent in learners[0].plan.team.agents:
        for actor, learner, batch in zip(networks[agent].modules, learners, batches, strict=True):
            if actor.filter is not None and learner.should_module_be_updated(agent):
                observed = _tensor(batch.observations[agent], learner)
                if agent in batch.active:  # by member, of those who were there
                    there = _tensor(batch.active[agent], learner).flatten()
                    observed = observed.reshape(len(there), -1)[there]
                actor.filter.track(observed)


def _final_observations(learner: Any, batch: TeamBatch) -> Observations:
    """What was observed after each segment, (segments, observation_size), as critics see it."""
    team = learner.plan.team
    final = {a: _tensor(batch.final_observations[a], learner) for a in team.agents}
    active = {
        a: _tensor(own, learner).reshape(len(own), -1) for a, own in batch.final_active.items()
    }
    actions: Observations = {}
    if learner.plan.bootstraps_from_actions:
        # The state after a cut has no action yet; one drawn from the policy stands in.
        actions, _, _ = learner.module.act(
            final,
            explore=True,
            generator=learner.generator,
            active=active,
            memories={mid: _tensor(own, learner) for mid, own in batch.final_memories.items()},
        )
    seen = team.as_seen(learner.module.filtered(final), actions, active)
    if learner.plan.state_size is not None:
        seen[STATE] = _tensor(batch.final_states, learner)
    return seen


def _normalised(advantages: Tensor, active: Tensor | None) -> Tensor:
    """Advantages, (S, R, 1) or (S, R, members), of those who were there, (S, R, members)."""
    if active is not None:
        active = active.any(dim=-1, keepdim=True) if advantages.shape[-1] == 1 else active
        active = active.flatten(1).float()
    return normalised(advantages.flatten(1), active).view_as(advantages)


def _values(critics: Stacked, inputs: Tensor, memory: Memory | None) -> Tensor:
    """Values in units of the return, (S, R, K), of inputs (S, R, K, …)."""
    std, mean = (
        torch.stack([getattr(own, name) for own in critics.modules])[:, None, None]
        for name in ("std", "mean")
    )
    return critics.outputs(inputs, memory=memory) * std + mean


def _memories(learners: Sequence[Any], batches: Sequence[TeamBatch]) -> ModuleRows:
    """The columns of memories, of each recurrent module."""
    columns = {}
    for mid in batches[0].memories:
        starts, before = [], []
        for batch, learner in zip(batches, learners, strict=True):
            starts.append(_tensor(sequence_starts(batch.lengths, learner.max_seq_len), learner))
            before.append(_tensor(batch.memories[mid], learner))
        columns[mid] = {Columns.STATE_IN: torch.stack(before), STARTS: torch.stack(starts)}
    return columns


def _final_memory(batch: TeamBatch, module_id: str, learner: Any) -> dict[str, Tensor]:
    """The column of a recurrent module's memories after each segment, (segments, size)."""
    if module_id not in batch.final_memories:
        return {}
    return {Columns.STATE_IN: _tensor(batch.final_memories[module_id], learner)}


def _returns(
    learners: Sequence[Any],
    configs: Sequence[Any],
    batches: Sequence[TeamBatch],
    values: Tensor,
    final_values: Sequence[Tensor],
    own_rewards: Tensor | None,
) -> Tensor:
    """Lambda-returns of states with values (S, R, …), of the team's rewards or others (S * R, …).

    The learners' segments one behind the other are as many segments; ``configs`` are those of the
    critics.
    """
    columns = (
        torch.cat(
            [_tensor(getattr(b, name), own) for b, own in zip(batches, learners, strict=True)]
        )
        for name in ("rewards", "lengths", "terminated")
    )
    rewards, lengths, terminated = columns
    rewards = rewards if own_rewards is None else own_rewards
    following = next_values(
        values.flatten(0, 1), lengths, torch.cat(list(final_values)), terminated
    )
    discounts = ([getattr(own, name) for own in configs] for name in ("gamma", "lambda_"))
    segments = lengths.new_tensor([len(batch.lengths) for batch in batches])
    gamma, lambda_ = (
        own[0] if len(set(own)) == 1 else rewards.new_tensor(own).repeat_interleave(segments)
        for own in discounts
    )
    return lambda_returns(rewards, following, lengths, gamma, lambda_).view_as(values)


def _filtered(networks: Mapping[str, Stacked], observations: Observations) -> Observations:
    return {
        agent: filter_stacked([actor.filter for actor in networks[agent].modules], observed)
        for agent, observed in observations.items()
    }


def _stacked(learners: Sequence[Any], batches: Sequence[TeamBatch], name: str) -> Observations:
    """A column of all batches, (S, R, …) for each agent."""
    stacked = {}
    for agent in learners[0].plan.team.agents:
        parts = [
            _tensor(getattr(batch, name)[agent], own)
            for batch, own in zip(batches, learners, strict=True)
        ]
        stacked[agent] = parts[0][None] if len(parts) == 1 else torch.stack(parts)
    return stacked


def _agent_rewards(
    learners: Sequence[Any], batches: Sequence[TeamBatch], agents: Sequence[str]
) -> Tensor | None:
    """What a critic's agent was given itself, (S * R, members), if agents learn from that."""
    if not batches[0].agent_rewards:
        return None
    [agent] = agents  # the configuration has seen to it
    own = [
        _tensor(batch.agent_rewards[agent].reshape(len(batch), -1), learner)
        for batch, learner in zip(batches, learners, strict=True)
    ]
    return torch.cat(own)


def _active(learners: Sequence[Any], batches: Sequence[TeamBatch]) -> Observations:
    """Who was there, (S, R, members) bool, of agents that were not always in all batches."""
    team = learners[0].plan.team
    active = {}
    for agent in team.agents:
        if any(agent in batch.active for batch in batches):
            shape, ones = (-1, team.num_members(agent)), np.ones(team.num_members(agent), bool)
            parts = [
                _tensor(batch.active.get(agent, np.tile(ones, (len(batch), 1))), own).reshape(shape)
                for batch, own in zip(batches, learners, strict=True)
            ]
            active[agent] = torch.stack(parts)
    return active


def _tensor(array: Any, learner: Any) -> Tensor:
    # What comes through Ray's object store is read-only, which torch does not know.
    writable = array if array.flags.writeable else array.copy()
    return torch.as_tensor(writable, device=learner._device)
