"""The environment as RLlib's ``MultiAgentEnv``, in all its arrangements."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rllib_mec.envs.agents import (
    CASE_DECISION,
    EMULATOR_CONFIG,
    Agents,
    Orchestrator,
    action_of,
)
from rllib_mec.envs.batched import BatchedMECEnv
from rllib_mec.envs.config import EnvConfig
from rllib_mec.envs.decentralised import DecentralisedAgents
from rllib_mec.envs.one_of_batch import EPISODE_METRICS
from rllib_mec.system import DECISIONS, METRICS, Scenario, Simulator
from rllib_mec.traces import Replay


def metrics_for_infos(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Returns the metrics of the first of B episodes, (B,) each, without those that it lacks."""
    first = {name: float(values[0]) for name, values in metrics.items()}
    return {name: value for name, value in first.items() if not math.isnan(value)}


class _SingleMECEnv(MultiAgentEnv):
    """What all arrangements share: one system, its agents, infos.

    Attributes:
        metric_names: of the episode metrics. decision_names: of those that an episode may lack.
    """

    metric_names = METRICS
    decision_names = DECISIONS

    def __init__(self, mec_agents: Agents, replay: Replay | None = None) -> None:
        super().__init__()
        self.scenario = mec_agents.scenario
        self.num_entities = self.scenario.num_ues
        self.mec_agents = mec_agents
        self.agent_order = mec_agents.order
        self.agents = self.possible_agents = list(mec_agents.order)
        self.observation_spaces = self.mec_agents.observation_spaces
        self.action_spaces = self.mec_agents.action_spaces
        self.action_slots = self.mec_agents.action_slots
        self.entity_order = self.mec_agents.entity_order
        self.replay = replay
        source = None if replay is None else replay.source(self.scenario)
        self.simulator = Simulator(self.scenario, source=source)

    def _observe(self) -> dict[str, Any]:
        return {agent: o[0] for agent, o in self.mec_agents.observe(self.simulator).items()}

    def _rewards(self, reward: Any) -> dict[str, float]:
        return dict.fromkeys(self.possible_agents, float(reward[0]))

    def _infos(self) -> dict[str, dict[str, Any]]:
        if not self.simulator.done:
            return {}
        metrics = metrics_for_infos(self.simulator.episode_metrics())
        return {agent: {EPISODE_METRICS: metrics} for agent in self.possible_agents}

    def _ends(self) -> tuple[dict[str, bool], dict[str, bool]]:
        # Not agent by agent: RLlib takes an episode whose agents are all truncated one by one
        # for a terminated one, and bootstraps nothing.
        return {"__all__": False}, {"__all__": self.simulator.done}


class MECEnv(_SingleMECEnv):
    """Mobile edge orchestration; all agents act in each step.

    ## Description
    A server and N UEs fine-tune a foundation model, one task of each UE per step. For every UE
    ``case_decision`` says where to train and ``emulator_config`` how much of the model the
    UE's emulator keeps.

    ## Action Space, Observation
    See :class:`~rllib_mec.envs.agents.Agents`. The observation of ``emulator_config`` has a slot
    for the action of ``case_decision`` in the same step; here it is empty (0), and
    ``action_slots`` says where it is, so that an algorithm that samples the agents in
    ``agent_order`` can fill it in. With ``single_agent`` there is one agent, see
    :class:`~rllib_mec.envs.agents.Orchestrator`.

    ## Rewards
    Every agent gets omega_p * mean perplexity + omega_d * maximum delay (section IV-C).

    ## Episode End
    Truncated after ``num_tasks`` steps; never terminated: the agents do not see the clock, and the
    system they run goes on. The last infos hold ``episode_metrics``.

    ## Version History
    * v0: initial version.
    """

    def __init__(
        self, scenario: Scenario, single_agent: bool = False, replay: Replay | None = None
    ) -> None:
        super().__init__((Orchestrator if single_agent else Agents)(scenario), replay)
        self.single_agent = single_agent

    def batched(self, num_envs: int) -> BatchedMECEnv:
        """Returns the same environment for ``num_envs`` systems at once."""
        env_config = {"scenario": self.scenario, "single_agent": self.single_agent}
        if self.replay is not None:
            env_config |= self.replay.to_env_config()
        return BatchedMECEnv(env_config, num_envs)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        self.simulator.reset(seed)
        return self._observe(), {}

    def step(self, action_dict: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
        outcome = self.simulator.step(*self.mec_agents.read(_batch_of_one(action_dict), 1))
        rewards = self._rewards(outcome.reward)
        return (self._observe(), rewards, *self._ends(), self._infos())


class DecentralisedMECEnv(MECEnv):
    """:class:`MECEnv` with 2N agents, each of which sees and decides for one UE alone.

    ``case_decision_i`` and ``emulator_config_i``, i = 0 … N - 1, observe UE i's numbers of what
    ``case_decision`` and ``emulator_config`` observe, and take UE i's part of their actions; see
    :class:`~rllib_mec.envs.agents.Agents`. A case decision is ``Discrete(2)``. The slot of
    ``emulator_config_i`` is for the decision of ``case_decision_i`` in the same step.

    The agents of a decision are a group under its name (``agent_groups``). A group's observation,
    its members' one after the other, and its action are those of :class:`MECEnv`: ``agent_order``
    and ``action_slots`` are about groups, and the batched form is the same.
    """

    def __init__(self, scenario: Scenario, replay: Replay | None = None) -> None:
        super().__init__(scenario, replay=replay)
        self._members = DecentralisedAgents(self.mec_agents)
        self.agent_groups = self._members.groups
        self.agents = self.possible_agents = [m for ids in self.agent_groups.values() for m in ids]
        self.observation_spaces = self._members.observation_spaces
        self.action_spaces = self._members.action_spaces

    def batched(self, num_envs: int) -> BatchedMECEnv:
        """Returns the same environment for ``num_envs`` systems at once, as arrays of groups."""
        env_config = {"scenario": self.scenario, "decentralised": True}
        if self.replay is not None:
            env_config |= self.replay.to_env_config()
        return BatchedMECEnv(env_config, num_envs)

    def step(self, action_dict: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
        return super().step(self._members.join(action_dict))

    def _observe(self) -> dict[str, Any]:
        return self._members.split(super()._observe())


class TurnBasedMECEnv(_SingleMECEnv):
    """:class:`MECEnv` with the agents taking turns, two steps per task, for any algorithm.

    ``case_decision`` acts first; ``emulator_config`` then observes what it decided (-1 local,
    1 server). The reward of a task goes to both agents when ``emulator_config`` has acted.
    """

    def __init__(self, scenario: Scenario, replay: Replay | None = None) -> None:
        super().__init__(Agents(scenario), replay)
        self._server: Any = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        self.simulator.reset(seed)
        self._server = None
        return self._observe_case_decision(), {}

    def step(self, action_dict: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
        actions = _batch_of_one(action_dict)
        if self._server is None:
            action = action_of(CASE_DECISION, actions)
            self._server = self.mec_agents.read_case_decision(action, 1)
            observation = self.mec_agents.observe_emulator_config(self.simulator, self._server)[0]
            return ({EMULATOR_CONFIG: observation}, {}, *self._ends(), {})
        action = action_of(EMULATOR_CONFIG, actions)
        retention, keep = self.mec_agents.read_emulator_config(action, 1)
        outcome = self.simulator.step(self._server, retention, keep)
        self._server = None
        # At the end both agents need a last observation, to bootstrap from.
        observations = self._observe() if self.simulator.done else self._observe_case_decision()
        rewards = self._rewards(outcome.reward)
        return (observations, rewards, *self._ends(), self._infos())

    def _observe_case_decision(self) -> dict[str, Any]:
        return {CASE_DECISION: self.mec_agents.observe_case_decision(self.simulator)[0]}


def _batch_of_one(action: Any) -> Any:
    if isinstance(action, Mapping):
        return {key: _batch_of_one(part) for key, part in action.items()}
    return [action]


def make_env(env_config: Mapping[str, Any] | None = None) -> MECEnv | TurnBasedMECEnv:
    """Returns the environment that ``env_config`` describes, see :meth:`EnvConfig.of`.

    Raises:
        InputError: an unknown key, or a value that makes no sense.
    """
    config = EnvConfig.of(env_config)
    if config.turn_based:
        return TurnBasedMECEnv(config.scenario, config.replay)
    if config.decentralised:
        return DecentralisedMECEnv(config.scenario, config.replay)
    return MECEnv(config.scenario, config.single_agent, config.replay)
