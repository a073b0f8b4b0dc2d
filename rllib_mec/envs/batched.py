"""The environment for B systems at once: arrays in, arrays out, no Python loop over UEs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_mec.envs.agents import Agents, Observation, Orchestrator
from rllib_mec.envs.config import EnvConfig
from rllib_mec.errors import InputError
from rllib_mec.system import Simulator
from rllib_mec.system.tasks import Seeds


class BatchedMECEnv:
    """B mobile edge systems in lockstep; all agents act in each step.

    Observations and actions are those of :class:`~rllib_mec.envs.agents.Agents`, or with
    ``single_agent`` of :class:`~rllib_mec.envs.agents.Orchestrator`, with a leading axis B; with
    ``decentralised`` those of the groups, which are the same as without. All B episodes start and
    end together, after ``scenario.num_tasks`` steps: then ``truncated`` is true and :meth:`reset`
    starts the next ones.

    Args:
        env_config: see :meth:`EnvConfig.of <rllib_mec.envs.config.EnvConfig.of>`.
        num_envs: B.
    """

    def __init__(self, env_config: Mapping[str, Any] | None = None, num_envs: int = 1) -> None:
        config = EnvConfig.of(env_config)
        if config.turn_based:
            raise InputError(
                "env_config.turn_based = True: expected false in a batched environment"
            )
        self.scenario = config.scenario
        self.num_envs = num_envs
        self.num_entities = config.scenario.num_ues
        self.agents = (Orchestrator if config.single_agent else Agents)(config.scenario)
        self.agent_order = self.agents.order
        self.observation_spaces = self.agents.observation_spaces
        self.action_spaces = self.agents.action_spaces
        self.action_slots = self.agents.action_slots
        self.replay = config.replay
        self.simulator = Simulator(config.scenario, num_envs, config.episode_source())

    def reset(self, seed: Seeds = None) -> dict[str, Observation]:
        """Starts new episodes and returns the observations, (B, …) each."""
        self.simulator.reset(seed)
        return self.agents.observe(self.simulator)

    def step(
        self, actions: Mapping[str, Any]
    ) -> tuple[dict[str, Observation], NDArray[np.float64], bool, bool]:
        """Carries out one task of every UE.

        Args:
            actions: the actions of all agents, (B, …) each.

        Returns:
            observations, (B, …) each; the reward all agents share, (B,); ``terminated``, always
            false (the system goes on, the episode is a window of it); ``truncated``.

        Raises:
            InputError: an action is missing, NaN, of the wrong shape or out of range.
        """
        outcome = self.simulator.step(*self.agents.read(actions, self.num_envs))
        observations = self.agents.observe(self.simulator)
        return observations, outcome.reward, False, self.simulator.done

    def episode_metrics(self) -> dict[str, NDArray[np.float64]]:
        """See :meth:`Simulator.episode_metrics`, (B,) each."""
        return self.simulator.episode_metrics()
