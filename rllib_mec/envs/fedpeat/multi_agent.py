"""``fedpeat`` as RLlib's ``MultiAgentEnv``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rllib_mec.envs.fedpeat.batched import BatchedFedPEATEnv
from rllib_mec.envs.fedpeat.config import FedPEATConfig
from rllib_mec.envs.multi_agent import EPISODE_METRICS
from rllib_mec.system.fedpeat import METRICS


class FedPEATEnv(MultiAgentEnv):
    """The control of federated emulator-assisted tuning, a round per step (arXiv 2310.17491).

    ## Description
    A server and N UEs tune a foundation model together. Each round the orchestrator says who takes
    part, which emulator each UE holds, and how the UEs share the uplink and with what power
    they send their adapters. See :mod:`rllib_mec.system.fedpeat.round`, of which all formulas are
    our reading.

    ## Action Space
    A ``Dict`` of one number for each UE and decision, by the agent ``orchestrator``:

    | Key       | Space                    | What it is                       | Unit |
    |-----------|--------------------------|----------------------------------|------|
    | selection | MultiDiscrete([2] * N)   | 1: the UE takes part             | -    |
    | retention | Box(``retention``)       | E, rounded to an emulator        | -    |
    | bandwidth | Box(-1, 1)               | b, the logarithm of a share      | -    |
    | power     | Box(``uplink_power_w``)  | p, uplink power                  | W    |

    Shares of the uplink are on the simplex over the selected UEs whatever b is. With
    ``agents: 4`` each decision has an agent of its own, under its name; with ``agents: 3``,
    ``transmission`` decides bandwidth and power. They decide in the order above, and each sees what
    was decided before it: ``action_slots`` says where, an algorithm has to fill it in.

    ## Observation
    See :mod:`rllib_mec.envs.fedpeat.observations` and :class:`FedPEATAgents`.

    ## Rewards
    All agents get omega_d ln(delay / 1 s) + omega_x exchanges + omega_p perplexity of the round,
    and with ``fedpeat-energy`` omega_e times the UEs' mean energy.

    ## Episode End
    Truncated after ``num_rounds`` steps; never terminated. The last infos hold ``episode_metrics``:
    reward, log_delay, exchanges and perplexity, see
    :meth:`Federation.episode_metrics <rllib_mec.system.fedpeat.Federation.episode_metrics>`.

    ## Version History
    * v0: initial version.

    Args:
        env_config: see :meth:`FedPEATConfig.of <rllib_mec.envs.fedpeat.config.FedPEATConfig.of>`.

    Raises:
        InputError: an unknown key, or a value that makes no sense.
    """

    def __init__(self, env_config: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        config = FedPEATConfig.of(env_config)
        self.scenario = config.scenario
        self._env_config = {"scenario": config.scenario, "agents": config.agents}
        self._one = self.batched(1)
        self.federation = self._one.federation
        self.num_entities = self._one.num_entities
        self.agent_order = self._one.agent_order
        self.agents = self.possible_agents = list(self.agent_order)
        self.observation_spaces = self._one.observation_spaces
        self.action_spaces = self._one.action_spaces
        self.action_slots = self._one.action_slots
        self.entity_order = self._one.agents.entity_order
        energy = ("energy_kj",) if config.scenario.energy_weight_per_kj else ()
        self.metric_names = (*METRICS, *energy)

    def batched(self, num_envs: int) -> BatchedFedPEATEnv:
        """Returns the same environment for ``num_envs`` federations at once."""
        return BatchedFedPEATEnv(self._env_config, num_envs)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        return _first(self._one.reset(seed)), {}

    def step(self, action_dict: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
        observations, reward, _, truncated = self._one.step(_batch_of_one(action_dict))
        rewards = dict.fromkeys(self.possible_agents, float(reward[0]))
        infos: dict[str, Any] = {}
        if truncated:
            metrics = _first(self._one.episode_metrics())
            found = {name: float(value) for name, value in metrics.items()}
            infos = {agent: {EPISODE_METRICS: found} for agent in self.possible_agents}
        # Not agent by agent, see rllib_mec.envs.multi_agent.
        return (_first(observations), rewards, {"__all__": False}, {"__all__": truncated}, infos)


def _first(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value[0] for name, value in values.items()}


def _batch_of_one(action: Any) -> Any:
    if isinstance(action, Mapping):
        return {key: _batch_of_one(part) for key, part in action.items()}
    return [action]
