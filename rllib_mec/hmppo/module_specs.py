"""Which modules a configuration of HMPPO has: actors and critics, each with what it is told."""

from __future__ import annotations

import dataclasses
from typing import Any

import gymnasium as gym
import numpy as np
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.core.rl_module.rl_module import RLModuleSpec

from rllib_mec.errors import InputError
from rllib_mec.hmppo.modules.autoregressive import choosing_in_turn
from rllib_mec.hmppo.modules.critic_plan import CriticPlan
from rllib_mec.hmppo.modules.images import filters_for, seen_by_convolutions
from rllib_mec.hmppo.modules.joint_policy import JointPolicy
from rllib_mec.hmppo.modules.recurrent import memory_size
from rllib_mec.hmppo.per_module import own_networks
from rllib_mec.hmppo.team import Team


def module_spec(
    config: Any, team: Team, networks: dict[str, Any], state_size: int | None
) -> MultiRLModuleSpec:
    """Returns the modules of a team.

    Args:
        config: an ``HMPPOConfig``. team: as read from the environment.
        networks: the checked ``model_config`` of all modules.
        state_size: of the environment, if critics see it.

    Raises:
        InputError: the settings do not fit the team.
    """
    networks = dict(networks)
    networks["num_entities"] = team.require_entities() if config.entity_shared else None
    networks["observation_filter"] = config.observation_filter == "MeanStdFilter"
    team = dataclasses.replace(team, ratio=config.ratio)
    if team.members and config.count_steps_by != "env_steps":
        raise InputError(
            f"count_steps_by = {config.count_steps_by!r}: expected 'env_steps' with groups of "
            "agents"
        )
    in_turn = choosing_in_turn(team) if config.case_head == "autoregressive" else []
    plan = critic_plan(config, team, state_size)
    own = own_networks(config, plan)
    _check_networks(config, team, networks, own)
    # Critics of the environment's state have no memory: a state tells all there is to know.
    critic_networks = networks | ({} if state_size is None else {"recurrent_layer": None})
    remembering = bool(critic_networks.get("recurrent_layer"))
    carried = sum(_memory_size(plan, mid, networks) for mid in plan.critics) if remembering else 0
    specs = {
        agent: RLModuleSpec(
            module_class=config.actor_class,
            observation_space=team.observation_spaces[agent],
            action_space=team.action_spaces[agent],
            model_config=networks
            | own.get(agent, {})
            | {
                "num_parts": team.num_parts(agent),
                "branches": team.branches(agent),
                "num_members": team.num_members(agent) if agent in team.members else None,
                "autoregressive": agent in in_turn,
                "entity_order": team.entity_order.get(agent),
            }
            | ({"carried_memory": carried} if carried and agent == team.agents[0] else {}),
        )
        for agent in team.agents
    }
    for critic_id in plan.critics:
        if critic_id in specs:
            raise InputError(f"agent or group {critic_id!r}: expected another name than a critic's")
        specs[critic_id] = RLModuleSpec(
            module_class=config.critic_class,
            observation_space=gym.spaces.Box(
                -np.inf, np.inf, plan.input_shape(critic_id), np.float32
            ),
            action_space=gym.spaces.Discrete(1),
            model_config=critic_networks
            | own.get(critic_id, {})
            | ({} if plan.takes_entities(critic_id) else {"num_entities": None})
            | _critic_inputs(plan, critic_id),
            # Who remembers has to look on.
            learner_only=not remembering,
        )
    described = {"team": team.to_dict(), "state_size": state_size}
    if remembering:
        described["critics"] = {
            "kind": plan.kind,
            "entity_shared": plan.entity_shared,
            "seen": plan.seen,
        }
    return MultiRLModuleSpec(
        multi_rl_module_class=JointPolicy, rl_module_specs=specs, model_config=described
    )


def _critic_inputs(plan: CriticPlan, critic_id: str) -> dict[str, Any]:
    """What a critic's ``model_config`` says of its inputs, where there is something to say."""
    images = [dataclasses.astuple(image) for image in plan.images(critic_id)]
    members = plan.team.num_members(plan.critics[critic_id][0])
    return ({"images": images} if images else {}) | (
        {"num_members": members} if plan.is_by_member(critic_id) else {}
    )


def _memory_size(plan: CriticPlan, critic_id: str, networks: dict[str, Any]) -> int:
    members = _critic_inputs(plan, critic_id).get("num_members", 1)
    return members * memory_size(networks)


def _check_networks(
    config: Any, team: Team, networks: dict[str, Any], own: dict[str, dict[str, Any]]
) -> None:
    """Refuses images and memories where they cannot be, in all modules or in single ones."""
    recurrent = networks.get("recurrent_layer")
    seen: list[str] = []
    for each in (networks, *(networks | differing for differing in own.values())):
        filters = each.get("conv_filters", [])
        shapes = {
            image.shape: agent
            for agent in team.agents
            for image in seen_by_convolutions(team.observation_codecs[agent].images, filters)
        }
        for shape in shapes:  # each is tried out once
            filters_for(shape, filters, each["conv_activation"])
        seen += shapes.values()
    if config.entity_shared and seen:
        raise InputError(
            f"entity_shared = true: expected false with images, which {seen[0]} observes (or "
            "model_config.conv_filters = [])"
        )
    if config.entity_shared and recurrent:
        raise InputError(
            f"model_config.recurrent_layer = {recurrent!r}: expected null with entity_shared"
        )
    if config.compiled and (seen or recurrent):
        raise InputError(
            "compiled = true: expected false with images and recurrent layers, whose gradients are "
            "autograd's"
        )


def critic_plan(config: Any, team: Team, state_size: int | None) -> CriticPlan:
    """Returns which critics a team has."""
    seen = None if isinstance(config.critic_input, str) else tuple(config.critic_input)
    return CriticPlan(config.critic, team, config.entity_shared, seen, state_size)
