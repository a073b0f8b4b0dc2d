"""The environment for B systems at once: arrays in, arrays out, no Python loop over UEs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_mec.envs.agents import AGENTS, CASE_DECISION, EMULATOR_CONFIG, Agents, Observation
from rllib_mec.envs.config import EnvConfig
from rllib_mec.errors import InputError
from rllib_mec.system import Simulator
from rllib_mec.system.tasks import Seeds


class BatchedMECEnv:
    """B mobile edge systems in lockstep; both agents act in each step.

    Observations and actions are those of :class:`~rllib_mec.envs.agents.Agents` with a leading
    axis B. All B episodes start and end together, after ``scenario.num_tasks`` steps: then
    ``truncated`` is true and :meth:`reset` starts the next ones.

    Args:
        env_config: see :meth:`EnvConfig.of <rllib_mec.envs.config.EnvConfig.of>`.
        num_envs: B.
    """

    agent_order = AGENTS

    def __init__(self, env_config: Mapping[str, Any] | None = None, num_envs: int = 1) -> None:
        config = EnvConfig.of(env_config)
        if config.turn_based:
            raise InputError(
                "env_config.turn_based = True: expected false in a batched environment"
            )
        self.scenario = config.scenario
        self.num_envs = num_envs
        self.num_entities = config.scenario.num_ues
        self.agents = Agents(config.scenario)
        self.observation_spaces = self.agents.observation_spaces
        self.action_spaces = self.agents.action_spaces
        self.action_slots = self.agents.action_slots
        self.simulator = Simulator(config.scenario, num_envs)

    def reset(self, seed: Seeds = None) -> dict[str, Observation]:
        """Starts new episodes and returns the observations, (B, …) each."""
        self.simulator.reset(seed)
        return self._observations()

    def step(
        self, actions: Mapping[str, Any]
    ) -> tuple[dict[str, Observation], NDArray[np.float64], bool, bool]:
        """Carries out one task of every UE.

        Args:
            actions: the actions of both agents, (B, …) each.

        Returns:
            observations, (B, …) each; the reward both agents share, (B,); ``terminated``, always
            false (the system goes on, the episode is a window of it); ``truncated``.

        Raises:
            InputError: an action is missing, NaN, of the wrong shape or out of range.
        """
        for agent in AGENTS:
            if agent not in actions:
                raise InputError(f"actions has no {agent}: expected one for each of {AGENTS}")
        server = self.agents.read_case_decision(actions[CASE_DECISION], self.num_envs)
        retention, keep = self.agents.read_emulator_config(actions[EMULATOR_CONFIG], self.num_envs)
        outcome = self.simulator.step(server, retention, keep)
        return self._observations(), outcome.reward, False, self.simulator.done

    def episode_metrics(self) -> dict[str, NDArray[np.float64]]:
        """See :meth:`Simulator.episode_metrics`, (B,) each."""
        return self.simulator.episode_metrics()

    def _observations(self) -> dict[str, Observation]:
        return {
            CASE_DECISION: self.agents.observe_case_decision(self.simulator),
            EMULATOR_CONFIG: self.agents.observe_emulator_config(self.simulator, None),
        }
