"""The environment for PettingZoo: ``parallel_env`` (both agents act at once) and ``env`` (AEC).

Needs the extra ``pettingzoo``. Both are views of the RLlib environments: for equal seeds and
actions they give the same numbers. In an experiment the parallel one goes by the name
``pettingzoo:rllib_mec.envs.pettingzoo_views``.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from rllib_mec.envs.agents import AGENTS, CASE_DECISION
from rllib_mec.envs.config import EnvConfig
from rllib_mec.envs.multi_agent import MECEnv, TurnBasedMECEnv
from rllib_mec.errors import InputError
from rllib_mec.system import Scenario
from rllib_mec.traces import Replay

try:
    from pettingzoo import AECEnv, ParallelEnv
    from pettingzoo.utils.wrappers import OrderEnforcingWrapper
except ModuleNotFoundError as error:
    # A PettingZoo that is there but lacks a module of its own is another matter.
    if error.name != "pettingzoo":
        raise
    raise ImportError(
        "PettingZoo is not installed: expected `pip install rllib_mec[pettingzoo]`"
    ) from error


class _View:
    """What both views show of an environment."""

    render_mode = None

    def __init__(self, env: MECEnv | TurnBasedMECEnv) -> None:
        super().__init__()
        self._env: Any = env
        self.scenario = env.scenario
        self.observation_spaces = env.observation_spaces
        self.action_spaces = env.action_spaces
        self.possible_agents = list(AGENTS)
        self.agents: list[str] = []

    def observation_space(self, agent: str) -> gym.Space:
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> gym.Space:
        return self.action_spaces[agent]


class ParallelMECEnv(_View, ParallelEnv):
    """:class:`~rllib_mec.envs.multi_agent.MECEnv` as a PettingZoo ``ParallelEnv``.

    ## Action Space, Observation
    See :class:`~rllib_mec.envs.agents.Agents`; the slot of ``emulator_config`` for this step's
    case decision is empty (0).

    ## Rewards
    Both agents get omega_p * mean perplexity + omega_d * maximum delay.

    ## Episode End
    Truncated after ``num_tasks`` steps, never terminated. The last infos hold
    ``episode_metrics``.

    ## Arguments
    scenario: the system to simulate. replay: the trace that episodes come from, if any.

    ## Version History
    * v0: initial version.
    """

    metadata: dict[str, Any] = {"name": "mec_v0", "render_modes": []}  # noqa: RUF012

    def __init__(self, scenario: Scenario, replay: Replay | None = None) -> None:
        super().__init__(MECEnv(scenario, replay=replay))

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        observations, infos = self._env.reset(seed=seed, options=options)
        self.agents = list(AGENTS)
        return observations, _infos(infos)

    def step(self, actions: dict[str, Any]) -> tuple[dict[str, Any], ...]:
        """Carries out one task of every UE.

        Raises:
            InputError: an action is missing, NaN, of the wrong shape or out of range, or the
                episode is over.
        """
        observations, rewards, terminations, truncations, infos = self._env.step(actions)
        if truncations["__all__"]:
            self.agents = []
        return (
            observations,
            rewards,
            dict.fromkeys(AGENTS, terminations["__all__"]),
            dict.fromkeys(AGENTS, truncations["__all__"]),
            _infos(infos),
        )


class TurnBasedMECView(_View, AECEnv):
    """:class:`~rllib_mec.envs.multi_agent.TurnBasedMECEnv` as a PettingZoo ``AECEnv``.

    ## Description
    One task takes two turns: ``case_decision``, then ``emulator_config``, which observes what
    it decided.

    ## Action Space, Observation
    See :class:`~rllib_mec.envs.agents.Agents`. Observed out of turn, the slot of
    ``emulator_config`` for this step's case decision is empty (0).

    ## Rewards
    As in :class:`ParallelMECEnv`; both agents get the reward of a task when ``emulator_config``
    has acted, and ``last()`` shows it at the next turn of each.

    ## Episode End
    Both agents are truncated after ``num_tasks`` tasks, never terminated; both see a last
    observation and ``episode_metrics``, and take the action None.

    ## Arguments
    scenario: the system to simulate. replay: the trace that episodes come from, if any.

    ## Version History
    * v0: initial version.
    """

    # Nobody leaves within a task, so that PettingZoo may collect the two turns into one step.
    metadata: dict[str, Any] = {  # noqa: RUF012
        "name": "mec_v0",
        "render_modes": [],
        "is_parallelizable": True,
    }

    def __init__(self, scenario: Scenario, replay: Replay | None = None) -> None:
        super().__init__(TurnBasedMECEnv(scenario, replay))

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        self._observations, infos = self._env.reset(seed=seed, options=options)
        self.agents = list(AGENTS)
        self.agent_selection = CASE_DECISION
        self.rewards = _of_each_agent({}, 0.0)
        self._cumulative_rewards = _of_each_agent({}, 0.0)
        self.terminations = _of_each_agent({}, False)
        self.truncations = _of_each_agent({}, False)
        self.infos = _infos(infos)

    def observe(self, agent: str) -> Any:
        if agent in self._observations:
            return self._observations[agent]
        # Only emulator_config, while case_decision is to act.
        return self._env.mec_agents.observe_emulator_config(self._env.simulator, None)[0]

    def step(self, action: Any) -> None:
        """Takes the action of the agent whose turn it is.

        Raises:
            InputError: the action is NaN, of the wrong shape or out of range; it can be
                given again.
            ValueError: an action other than None of an agent that has been truncated.
        """
        agent = self.agent_selection
        if self.truncations[agent]:
            self._was_dead_step(action)
            return
        observations, rewards, terminations, truncations, infos = self._env.step({agent: action})
        # The system moves on only when both have acted: until then old observations are valid.
        self._observations = (
            observations if agent != CASE_DECISION else {**self._observations, **observations}
        )
        self.terminations = dict.fromkeys(AGENTS, terminations["__all__"])
        self.truncations = dict.fromkeys(AGENTS, truncations["__all__"])
        self.infos = _infos(infos)
        self.rewards = _of_each_agent(rewards, 0.0)
        self._cumulative_rewards[agent] = 0.0
        self._accumulate_rewards()
        self.agent_selection = AGENTS[(AGENTS.index(agent) + 1) % len(AGENTS)]


def parallel_env(**env_config: Any) -> ParallelMECEnv:
    """Returns the environment in which both agents act at once.

    Args:
        env_config: see :meth:`EnvConfig.of <rllib_mec.envs.config.EnvConfig.of>`;
            ``turn_based`` can only be False here.

    Raises:
        InputError: an unknown key, or a value that makes no sense.
    """
    config = _config(env_config, turn_based=False)
    return ParallelMECEnv(config.scenario, config.replay)


def env(**env_config: Any) -> AECEnv:
    """Returns the environment in which the agents take turns, in PettingZoo's order checks.

    Args:
        env_config: see :meth:`EnvConfig.of <rllib_mec.envs.config.EnvConfig.of>`;
            ``turn_based`` can only be True here, and need not be given.

    Raises:
        InputError: an unknown key, or a value that makes no sense.
    """
    config = _config(env_config, turn_based=True)
    return OrderEnforcingWrapper(TurnBasedMECView(config.scenario, config.replay))


aec_env = env


def _config(env_config: dict[str, Any], turn_based: bool) -> EnvConfig:
    config = EnvConfig.of({"turn_based": turn_based, **env_config})
    for key in ("single_agent", "decentralised"):
        if getattr(config, key):
            raise InputError(
                f"env_config.{key} = True: expected false, or the environment mec of RLlib"
            )
    if config.turn_based != turn_based:
        other = "parallel_env" if turn_based else "env"
        raise InputError(
            f"env_config.turn_based = {config.turn_based}: expected {turn_based}, or {other}()"
        )
    return config


def _of_each_agent(values: dict[str, Any], missing: Any) -> dict[str, Any]:
    """Returns one value for each agent."""
    return {agent: values.get(agent, missing) for agent in AGENTS}


def _infos(infos: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns each agent's infos; RLlib leaves out those that are empty."""
    return {agent: dict(infos.get(agent, {})) for agent in AGENTS}
