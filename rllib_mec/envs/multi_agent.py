"""The environment as RLlib's ``MultiAgentEnv``, in both arrangements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.rllib.env.multi_agent_env import MultiAgentEnv

from rllib_mec.envs.agents import AGENTS, CASE_DECISION, EMULATOR_CONFIG, Agents
from rllib_mec.envs.batched import BatchedMECEnv
from rllib_mec.envs.config import EnvConfig
from rllib_mec.errors import InputError
from rllib_mec.system import Scenario, Simulator

EPISODE_METRICS = "episode_metrics"
"""Key of the infos that hold the metrics of an episode at its end."""


class _SingleMECEnv(MultiAgentEnv):
    """What both arrangements share: one system, two agents, infos."""

    agent_order = AGENTS

    def __init__(self, scenario: Scenario) -> None:
        super().__init__()
        self.scenario = scenario
        self.num_entities = scenario.num_ues
        self.mec_agents = Agents(scenario)
        self.agents = self.possible_agents = list(AGENTS)
        self.observation_spaces = self.mec_agents.observation_spaces
        self.action_spaces = self.mec_agents.action_spaces
        self.action_slots = self.mec_agents.action_slots
        self.simulator = Simulator(scenario)

    def _observe(self, agent: str, server: Any = None) -> Any:
        if agent == CASE_DECISION:
            return self.mec_agents.observe_case_decision(self.simulator)[0]
        return self.mec_agents.observe_emulator_config(self.simulator, server)[0]

    def _action(self, actions: Mapping[str, Any], agent: str) -> Any:
        if agent not in actions:
            raise InputError(f"actions {sorted(actions)}: expected an action of {agent}")
        action = actions[agent]
        if isinstance(action, Mapping):
            return {key: [value] for key, value in action.items()}
        return [action]

    def _infos(self) -> dict[str, dict[str, Any]]:
        if not self.simulator.done:
            return {}
        metrics = {k: float(v[0]) for k, v in self.simulator.episode_metrics().items()}
        return {agent: {EPISODE_METRICS: metrics} for agent in AGENTS}

    def _ends(self) -> tuple[dict[str, bool], dict[str, bool]]:
        # Not agent by agent: RLlib takes an episode whose agents are all truncated one by one
        # for a terminated one, and bootstraps nothing.
        return {"__all__": False}, {"__all__": self.simulator.done}


class MECEnv(_SingleMECEnv):
    """Mobile edge orchestration; both agents act in each step.

    ## Description
    A server and N UEs fine-tune a foundation model, one task of each UE per step. For every UE
    ``case_decision`` says where to train and ``emulator_config`` how much of the model the
    UE's emulator keeps.

    ## Action Space, Observation
    See :class:`~rllib_mec.envs.agents.Agents`. The observation of ``emulator_config`` has a slot
    for the action of ``case_decision`` in the same step; here it is empty (0), and
    ``action_slots`` says where it is, so that an algorithm that samples the agents in
    ``agent_order`` can fill it in.

    ## Rewards
    Both agents get omega_p * mean perplexity + omega_d * maximum delay (section IV-C).

    ## Episode End
    Truncated after ``num_tasks`` steps; never terminated: the agents do not see the clock, and the
    system they run goes on. The last infos hold ``episode_metrics``.

    ## Version History
    * v0: initial version.
    """

    def batched(self, num_envs: int) -> BatchedMECEnv:
        """Returns the same environment for ``num_envs`` systems at once."""
        return BatchedMECEnv({"scenario": self.scenario}, num_envs)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        self.simulator.reset(seed)
        return {agent: self._observe(agent) for agent in AGENTS}, {}

    def step(self, action_dict: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
        server = self.mec_agents.read_case_decision(self._action(action_dict, CASE_DECISION), 1)
        retention, keep = self.mec_agents.read_emulator_config(
            self._action(action_dict, EMULATOR_CONFIG), 1
        )
        outcome = self.simulator.step(server, retention, keep)
        observations = {agent: self._observe(agent) for agent in AGENTS}
        rewards = dict.fromkeys(AGENTS, float(outcome.reward[0]))
        return (observations, rewards, *self._ends(), self._infos())


class TurnBasedMECEnv(_SingleMECEnv):
    """:class:`MECEnv` with the agents taking turns, two steps per task, for any algorithm.

    ``case_decision`` acts first; ``emulator_config`` then observes what it decided (-1 local,
    1 server). The reward of a task goes to both agents when ``emulator_config`` has acted.
    """

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario)
        self._server: Any = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        self.simulator.reset(seed)
        self._server = None
        return {CASE_DECISION: self._observe(CASE_DECISION)}, {}

    def step(self, action_dict: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
        if self._server is None:
            action = self._action(action_dict, CASE_DECISION)
            self._server = self.mec_agents.read_case_decision(action, 1)
            observation = self._observe(EMULATOR_CONFIG, self._server)
            return ({EMULATOR_CONFIG: observation}, {}, *self._ends(), {})
        action = self._action(action_dict, EMULATOR_CONFIG)
        retention, keep = self.mec_agents.read_emulator_config(action, 1)
        outcome = self.simulator.step(self._server, retention, keep)
        self._server = None
        # At the end both agents need a last observation, to bootstrap from.
        next_agents = AGENTS if self.simulator.done else (CASE_DECISION,)
        observations = {agent: self._observe(agent) for agent in next_agents}
        rewards = dict.fromkeys(AGENTS, float(outcome.reward[0]))
        return (observations, rewards, *self._ends(), self._infos())


def make_env(env_config: Mapping[str, Any] | None = None) -> MECEnv | TurnBasedMECEnv:
    """Returns the environment that ``env_config`` describes, see :meth:`EnvConfig.of`.

    Raises:
        InputError: an unknown key, or a value that makes no sense.
    """
    config = EnvConfig.of(env_config)
    return (TurnBasedMECEnv if config.turn_based else MECEnv)(config.scenario)
