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
from rllib_mec.hmppo.modules.critic import Critic, CriticPlan
from rllib_mec.hmppo.modules.joint_policy import JointPolicy
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
            },
        )
        for agent in team.agents
    }
    for critic_id in plan.critics:
        if critic_id in specs:
            raise InputError(f"agent or group {critic_id!r}: expected another name than a critic's")
        specs[critic_id] = RLModuleSpec(
            module_class=Critic,
            observation_space=gym.spaces.Box(
                -np.inf, np.inf, plan.input_shape(critic_id), np.float32
            ),
            action_space=gym.spaces.Discrete(1),
            model_config=networks
            | own.get(critic_id, {})
            | ({} if plan.takes_entities(critic_id) else {"num_entities": None}),
            learner_only=True,
        )
    return MultiRLModuleSpec(
        multi_rl_module_class=JointPolicy,
        rl_module_specs=specs,
        model_config={"team": team.to_dict(), "state_size": state_size},
    )


def critic_plan(config: Any, team: Team, state_size: int | None) -> CriticPlan:
    """Returns which critics a team has."""
    seen = None if isinstance(config.critic_input, str) else tuple(config.critic_input)
    return CriticPlan(config.critic, team, config.entity_shared, seen, state_size)
