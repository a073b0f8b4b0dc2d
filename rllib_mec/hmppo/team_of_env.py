"""The team of an environment: what it declares, and the groups that whoever trains has chosen.

By default alike agents share an actor where the environment says so (``agent_groups``, see
:class:`~rllib_mec.hmppo.team.Team`). HMPPO's setting of that name takes the place of what it says:

* ``{group: [agents]}``: these groups; who is in none has an actor of its own;
* ``{}``: no groups, whatever the environment declares;
* ``alike``: all agents that observe and act in the same spaces are a group. It goes by their common
  name without its number, or by ``alike_0``, ``alike_1``, … where they have none in common.

Where the environment says how agents decide in turn (``action_slots``, ``entity_order``), those
that it names stay what it declares: chosen groups must leave them so, and ``alike`` does. An
environment's batched form has the groups that it declares; others are sampled by episodes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
from ray.rllib.utils.metrics import ALL_MODULES

from rllib_mec.errors import InputError
from rllib_mec.hmppo.groups import AgentGroups
from rllib_mec.hmppo.team import Team

ALIKE = "alike"
"""The setting with which agents are grouped by their spaces."""

_NAME = "agent_groups"
_NO_MODULE_ID = re.compile(r'[<>:"/\\|?*]|[ .]$|^$')
"""What RLlib refuses as the id of a module."""

_Groups = dict[str, tuple[str, ...]]


def team_of(env: Any, agent_groups: AgentGroups = None) -> Team:
    """Reads the team from an environment.

    Args:
        agent_groups: the setting; None: the groups are those that the environment declares.

    Raises:
        InputError: the environment does not say what its agents observe and do, or declares
            slots that do not fit, or the groups do not.
    """
    _check_declared(env)
    members = members_of(env, agent_groups)
    agents = _deciders(env, members)
    return Team(
        agents=agents,
        observation_spaces={a: env.get_observation_space(members.get(a, (a,))[0]) for a in agents},
        action_spaces={a: env.get_action_space(members.get(a, (a,))[0]) for a in agents},
        slots={
            observer: {agent: tuple(int(p) for p in positions) for agent, positions in seen.items()}
            for observer, seen in getattr(env, "action_slots", {}).items()
        },
        num_entities=getattr(env, "num_entities", None),
        entity_order=dict(getattr(env, "entity_order", {})),
        members=members,
    )


def _check_declared(env: Any) -> None:
    """Refuses an environment that does not say who its agents are and what they see and do."""
    ids = list(getattr(env, "possible_agents", None) or ())
    if not ids:
        raise InputError(
            f"possible_agents of {type(env).__name__} = {ids}: expected the ids of all agents"
        )
    for what in ("observation", "action"):
        spaces = getattr(env, f"{what}_spaces", None) or getattr(env, f"{what}_space", None)
        missing = [agent for agent in ids if agent not in _mapping(spaces)]
        if missing:
            raise InputError(
                f"{what}_spaces of {type(env).__name__} lack {', '.join(map(str, missing))}: "
                "expected {agent: space} of all possible_agents"
            )


def _mapping(spaces: Any) -> Mapping[str, Any]:
    if isinstance(spaces, gym.spaces.Dict):
        return spaces.spaces
    return spaces if isinstance(spaces, Mapping) else {}


def members_of(env: Any, agent_groups: AgentGroups = None) -> _Groups:
    """Returns the groups of an environment's agents, ``{group: members}``.

    Raises:
        InputError: the setting is none; a group is empty or goes by the id of an agent; a member is
            no agent, is in two groups, or differs from the others in its spaces; or the environment
            says how a member decides in turn with others.
    """
    declared = _checked(env, getattr(env, "agent_groups", None) or {}, ())
    if agent_groups is None:
        return declared
    if agent_groups == ALIKE:
        return _alike(env, declared)
    if not isinstance(agent_groups, Mapping):
        raise InputError(
            f"{_NAME} = {agent_groups!r}: expected {{group: [agents]}}, {ALIKE!r} or null", (_NAME,)
        )
    chosen = _checked(env, agent_groups, (_NAME,))
    for name, where in _in_turn(env).items():
        ids = declared.get(name, (name,))
        if name in _group_of(chosen) or chosen.get(name, (name,)) != ids:
            raise InputError(
                f"{_NAME}: expected {name}, which the environment's {where} names, to stay what it "
                f"is there: {', '.join(map(str, ids))}",
                (_NAME,),
            )
    return chosen


def _checked(env: Any, groups: Mapping[Any, Any], at: tuple[str, ...]) -> _Groups:
    """Returns groups whose members are alike agents of the environment.

    Args:
        at: the setting that they are from; none: the environment declares them.
    """
    agents, seen = list(env.possible_agents), set[str]()
    for name, ids in groups.items():
        where, here = f"{_NAME}[{name}]", (*at, name) if at else ()
        if not isinstance(name, str) or _NO_MODULE_ID.search(name) or name == ALL_MODULES:
            raise InputError(f"{where}: expected a name that a file can have", here)
        if name in agents:
            raise InputError(f"{where}: expected a name that no agent has", here)
        if isinstance(ids, str) or not isinstance(ids, list | tuple):
            raise InputError(f"{where} = {ids!r}: expected a list of agents", here)
        if not ids:
            raise InputError(f"{where} = (): expected at least one agent", here)
        for agent in ids:
            if agent not in agents:
                raise InputError(f"{where} names {agent!r}: expected one of {agents}", here)
            if agent in seen:
                raise InputError(f"{where} names {agent!r}, which is already in a group", here)
            seen.add(agent)
            for what in ("observation", "action"):
                own, first = (getattr(env, f"get_{what}_space")(a) for a in (agent, ids[0]))
                if own != first:
                    raise InputError(
                        f"{where}: {what} space of {agent} = {own}: expected that of {ids[0]}, "
                        f"{first}",
                        here,
                    )
    return {name: tuple(ids) for name, ids in groups.items()}


def _alike(env: Any, declared: _Groups) -> _Groups:
    """Groups by spaces, of all agents that do not decide in turn with others."""
    kept = {name: declared[name] for name in _in_turn(env) if name in declared}
    fixed = {*_in_turn(env), *_group_of(kept)}
    kinds: list[tuple[Any, list[str]]] = []
    for agent in env.possible_agents:
        if agent in fixed:
            continue
        spaces = env.get_observation_space(agent), env.get_action_space(agent)
        for others, ids in kinds:
            if others == spaces:
                ids.append(agent)
                break
        else:
            kinds.append((spaces, [agent]))
    groups, taken = dict(kept), {*env.possible_agents, *kept}
    for number, (_, ids) in enumerate(kinds):
        if len(ids) == 1:
            continue
        stems = {str(agent).rstrip("0123456789").rstrip("_-. ") for agent in ids}
        name = stems.pop() if len(stems) == 1 else ""
        if not name or name in taken:
            name = f"{ALIKE}_{number}"
        taken.add(name)
        groups[name] = tuple(ids)
    return groups


def _deciders(env: Any, members: _Groups) -> tuple[str, ...]:
    """The ids of agents and groups in the order they decide."""
    declared = members_of(env)
    ids = list(env.possible_agents)
    if order := getattr(env, "agent_order", None):
        known = _group_of(declared)
        expected = list(dict.fromkeys(known.get(a, a) for a in ids))
        if set(order) != set(expected):
            raise InputError(f"agent_order = {tuple(order)}: expected all of {expected}")
        ids = [agent for name in order for agent in declared.get(name, (name,))]
    groups = _group_of(members)
    return tuple(dict.fromkeys(groups.get(a, a) for a in ids))


def _in_turn(env: Any) -> dict[str, str]:
    """Agents and groups that the environment names as deciding in turn, and by what."""
    slots, order = getattr(env, "action_slots", {}), getattr(env, "entity_order", {})
    seen = [agent for own in slots.values() for agent in own]
    return dict.fromkeys(order, "entity_order") | dict.fromkeys([*slots, *seen], "action_slots")


def _group_of(groups: _Groups) -> dict[str, str]:
    return {agent: name for name, ids in groups.items() for agent in ids}
