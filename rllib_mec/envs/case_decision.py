"""The case decision alone, as one choice among 2^N, for algorithms with discrete actions (DQN)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from rllib_mec.envs.agents import CASE_DECISION, EMULATOR_CONFIG, Observation, action_of
from rllib_mec.envs.batched import BatchedMECEnv
from rllib_mec.envs.config import EnvConfig
from rllib_mec.envs.multi_agent import metrics_for_infos
from rllib_mec.envs.one_of_batch import EPISODE_METRICS
from rllib_mec.errors import InputError
from rllib_mec.system import DECISIONS, METRICS
from rllib_mec.system.emulator import highest_useful_retention
from rllib_mec.system.tasks import Seeds

MAX_UES = 12
"""The action space holds 2^N choices, and a Q-network has an output for each."""


class BatchedCaseDecisionEnv:
    """B systems of :class:`CaseDecisionEnv` in lockstep, see :class:`BatchedMECEnv`.

    Args:
        env_config: see :class:`CaseDecisionEnv`.
        num_envs: B.
    """

    agent_order = (CASE_DECISION,)

    def __init__(self, env_config: Mapping[str, Any] | None = None, num_envs: int = 1) -> None:
        config = EnvConfig.of(env_config)
        for key in ("turn_based", "single_agent", "decentralised"):
            if getattr(config, key):
                raise InputError(f"env_config.{key} = True: expected false, or the environment mec")
        self.scenario = scenario = config.scenario
        n = scenario.num_ues
        if n > MAX_UES:
            raise InputError(
                f"num_ues = {n}: expected at most {MAX_UES} where a case decision is one choice "
                "among 2^num_ues"
            )
        self.num_envs = num_envs
        self.replay = config.replay
        replayed = {} if config.replay is None else config.replay.to_env_config()
        self._mec = BatchedMECEnv({"scenario": scenario, **replayed}, num_envs)
        self.simulator = self._mec.simulator
        self.observation_spaces = {CASE_DECISION: self._mec.observation_spaces[CASE_DECISION]}
        self.num_choices = 2**n
        self.action_spaces: dict[str, gym.Space] = {
            CASE_DECISION: gym.spaces.Discrete(self.num_choices)
        }
        self._held: Any = np.full((num_envs, n), highest_useful_retention(scenario))
        if scenario.emulator_action == "keep_or_retention":
            # The same retention again is no change, whether it is kept or chosen.
            self._held = {"keep": np.zeros((num_envs, n)), "retention": self._held}

    def reset(self, seed: Seeds = None) -> dict[str, Observation]:
        """Starts new episodes and returns the observations, (B, 4N)."""
        return {CASE_DECISION: self._mec.reset(seed)[CASE_DECISION]}

    def step(
        self, actions: Mapping[str, Any]
    ) -> tuple[dict[str, Observation], NDArray[np.float64], bool, bool]:
        """Carries out one task of every UE; actions are (B,), the rest as in BatchedMECEnv.

        Raises:
            InputError: an action is missing, or none of the 2^N numbers.
        """
        case = self._bits(np.asarray(action_of(CASE_DECISION, actions)))
        observations, reward, terminated, truncated = self._mec.step(
            {CASE_DECISION: case, EMULATOR_CONFIG: self._held}
        )
        return {CASE_DECISION: observations[CASE_DECISION]}, reward, terminated, truncated

    def episode_metrics(self) -> dict[str, NDArray[np.float64]]:
        """See :meth:`Simulator.episode_metrics`, (B,) each."""
        return self._mec.episode_metrics()

    def _bits(self, numbers: NDArray[Any]) -> NDArray[Any]:
        """Returns z, (B, N): bit i of each number is z of UE i."""
        whole = np.issubdtype(numbers.dtype, np.integer) and numbers.shape == (self.num_envs,)
        if not whole or ((numbers < 0) | (numbers >= self.num_choices)).any():
            raise InputError(
                f"{CASE_DECISION} action = {numbers.tolist()}: expected whole numbers in "
                f"0..{self.num_choices - 1}, one per environment"
            )
        return numbers[:, None] >> np.arange(self.scenario.num_ues) & 1


class CaseDecisionEnv(gym.Env[Observation, np.int64]):
    """Mobile edge orchestration by one agent that decides the cases; retention is held.

    ## Description
    :class:`~rllib_mec.envs.MECEnv` in which ``emulator_config`` always says the most useful
    retention: a UE downloads its emulator with its first local task and never changes it.

    ## Action Space
    ``Discrete(2^N)``: bit i of the action, counted from the least significant, is z of UE i,
    0 local, 1 server. So 0 is all local, 1 sends UE 0 alone to the server, 2^N - 1 all.

    ## Observation
    That of ``case_decision``, see :class:`~rllib_mec.envs.agents.Agents`.

    ## Rewards, Episode End
    As in :class:`~rllib_mec.envs.MECEnv`; the last infos hold ``episode_metrics``.

    ## Version History
    * v0: initial version.

    Args:
        env_config: see :meth:`EnvConfig.of <rllib_mec.envs.config.EnvConfig.of>`, with at most
            :data:`MAX_UES` UEs and none of the other arrangements of agents.

    Raises:
        InputError: an unknown key, or a value that makes no sense.
    """

    metric_names = METRICS
    decision_names = DECISIONS

    def __init__(self, env_config: Mapping[str, Any] | None = None) -> None:
        self._one = BatchedCaseDecisionEnv(env_config)
        self.replay = self._one.replay
        self.scenario = self._one.scenario
        self.simulator = self._one.simulator
        self.observation_space = self._one.observation_spaces[CASE_DECISION]
        self.action_space = self._one.action_spaces[CASE_DECISION]

    def batched(self, num_envs: int) -> BatchedCaseDecisionEnv:
        """Returns the same environment for ``num_envs`` systems at once."""
        replayed = {} if self.replay is None else self.replay.to_env_config()
        return BatchedCaseDecisionEnv({"scenario": self.scenario, **replayed}, num_envs)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        return self._one.reset(seed)[CASE_DECISION][0], {}

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        actions = {CASE_DECISION: np.asarray(action)[None]}
        observations, reward, terminated, truncated = self._one.step(actions)
        infos: dict[str, Any] = {}
        if truncated:
            infos[EPISODE_METRICS] = metrics_for_infos(self._one.episode_metrics())
        return observations[CASE_DECISION][0], float(reward[0]), terminated, truncated, infos
