"""How the agents of a team decide, one after the other, and what is remembered of it."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from rllib_mec.hmppo.modules.critic_plan import CriticPlan
from rllib_mec.hmppo.modules.recurrent import Memory
from rllib_mec.hmppo.team import Active, Team

Memories = dict[str, Tensor]
"""Memories of recurrent modules, (…, memory_size), by module id."""

Decision = tuple[Tensor, Tensor, Tensor | None]
"""An agent's flat actions, their distribution's parameters, and its memory after them, if any."""


def decide(
    team: Team,
    decide_of: Callable[[str, Tensor, Tensor | None, Memory | None], Decision],
    observations: dict[str, Tensor],
    noise: dict[str, Tensor] | None,
    active: Active | None = None,
    memories: Memories | None = None,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The agents' actions, each agent seeing those of earlier ones, and what they are drawn from.

    Args:
        decide_of: what an agent decides, from its observations, its noise and its memory.
        observations: (…, observation_size) of each agent, slots empty.
        noise: see :func:`draw_noise`; None for the most probable actions.
        active: who is there; nobody sees actions of others.
        memories: of agents that have one, in place of which those after the step are put.
    """
    actions: dict[str, Tensor] = {}
    parameters: dict[str, Tensor] = {}
    for agent in team.agents:
        filled = team.fill_slots(agent, observations[agent], actions, active)
        drawn, memory = None if noise is None else noise[agent], None
        if memories is not None and agent in memories:
            memory = Memory(memories[agent], active=active.get(agent) if active else None)
        actions[agent], parameters[agent], after = decide_of(agent, filled, drawn, memory)
        if memories is not None and after is not None:
            memories[agent] = after
    return actions, parameters


def remember(
    plan: CriticPlan,
    remember_of: Callable[[str, Tensor, Tensor], Tensor],
    observations: dict[str, Tensor],
    actions: dict[str, Tensor],
    active: Active | None,
    memories: Memories,
) -> None:
    """Lets critics see a step, as they do when they learn, and remember it.

    Args:
        remember_of: a critic's memory after a step, from its inputs and the memory before.
        observations: (…, observation_size) of each agent, slots empty.
        memories: of critics that have one, in place of which those after the step are put.
    """
    critics = [mid for mid in plan.critics if mid in memories]
    if not critics:
        return
    seen = plan.team.as_seen(observations, actions, active or {})
    for mid in critics:
        memories[mid] = remember_of(mid, plan.inputs(mid, seen), memories[mid])
