"""``fedpeat`` for B federations at once: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rllib_mec.envs.fedpeat.agents import FedPEATAgents
from rllib_mec.envs.fedpeat.config import FedPEATConfig
from rllib_mec.envs.fedpeat.observations import Observation
from rllib_mec.system.fedpeat import METRICS, Federation
from rllib_mec.system.radio import Floats
from rllib_mec.system.tasks import Seeds


class BatchedFedPEATEnv:
    """B federations in lockstep; all agents act in each step, see :class:`FedPEATEnv`.

    All B episodes start and end together: then ``truncated`` is true and :meth:`reset` starts the
    next ones.

    Args:
        env_config: see :meth:`FedPEATConfig.of <rllib_mec.envs.fedpeat.config.FedPEATConfig.of>`.
        num_envs: B.
    """

    def __init__(self, env_config: Mapping[str, Any] | None = None, num_envs: int = 1) -> None:
        config = FedPEATConfig.of(env_config)
        self.scenario = config.scenario
        self.num_envs = num_envs
        self.num_entities = config.scenario.num_ues
        self.agents = FedPEATAgents(config.scenario, config.agents)
        self.agent_order = self.agents.order
        self.observation_spaces = self.agents.observation_spaces
        self.action_spaces = self.agents.action_spaces
        self.action_slots = self.agents.action_slots
        self.entity_order = self.agents.entity_order
        energy = ("energy_kj",) if config.scenario.energy_weight_per_kj else ()
        self.metric_names = (*METRICS, *energy)
        self.federation = Federation(config.scenario, num_envs)

    def reset(self, seed: Seeds = None) -> dict[str, Observation]:
        """Starts new episodes and returns the observations, (B, …) each."""
        self.federation.reset(seed)
        return self.agents.observe(self.federation)

    def step(self, actions: Mapping[str, Any]) -> tuple[dict[str, Observation], Floats, bool, bool]:
        """Carries out one round.

        Args:
            actions: the actions of all agents, (B, …) each.

        Returns:
            observations, (B, …) each; the reward that all agents share, (B,); ``terminated``,
            always false; ``truncated``.

        Raises:
            InputError: an action is missing, NaN, of the wrong shape or out of range.
        """
        outcome = self.federation.step(self.agents.read(actions, self.num_envs))
        observations = self.agents.observe(self.federation)
        return observations, outcome.reward, False, self.federation.done

    def episode_metrics(self) -> dict[str, Floats]:
        """See :meth:`Federation.episode_metrics`, (B,) each."""
        return self.federation.episode_metrics()
