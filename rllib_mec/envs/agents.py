"""The agents: what they observe and how their actions are read.

Everything here works on batches of environments, (B, …), and is shared by all forms of the
environment: they differ only in who is asked when.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from rllib_mec.envs.observations import Numbers, Observation
from rllib_mec.errors import InputError
from rllib_mec.system import Scenario, Simulator
from rllib_mec.system.radio import Bools, Floats

CASE_DECISION = "case_decision"
EMULATOR_CONFIG = "emulator_config"
AGENTS = (CASE_DECISION, EMULATOR_CONFIG)
ORCHESTRATOR = "orchestrator"


class Agents:
    """Spaces, observations and actions of ``case_decision`` and ``emulator_config``.

    Both observations are laid out UE by UE: the numbers of UE 1, then those of UE 2, and so on.
    See :mod:`rllib_mec.envs.observations` for the numbers and how they are scaled.

    * ``observation: paper``: ``case_decision`` sees gain, complexity, data and cached of each UE;
      ``emulator_config`` sees cached, z and complexity;
    * ``observation: full``: both see all numbers, and ``emulator_config`` z after them.

    z is this step's case decision: -1 local, 1 server, 0 not yet.

    Action of ``case_decision``: ``MultiDiscrete([2] * N)``, z of each UE: 0 local, 1 server.
    Action of ``emulator_config``: ``Box(low, high, (N,))``, the retention E of each UE; with
    ``keep_or_retention`` a ``Dict`` of ``keep``, ``MultiDiscrete([2] * N)``, and ``retention``.
    """

    order: tuple[str, ...] = AGENTS
    """The agents, in the order they decide."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        n = scenario.num_ues
        low, high = scenario.retention
        case_space = gym.spaces.MultiDiscrete([2] * n)
        retention_space: gym.Space = gym.spaces.Box(low, high, (n,), np.float32)
        if scenario.emulator_action == "keep_or_retention":
            retention_space = gym.spaces.Dict(
                {"keep": gym.spaces.MultiDiscrete([2] * n), "retention": retention_space}
            )
        self.action_spaces: dict[str, gym.Space] = {
            CASE_DECISION: case_space,
            EMULATOR_CONFIG: retention_space,
        }
        self.numbers = Numbers(scenario)
        names = self.numbers.names
        if scenario.observation == "paper":
            self._emulator_columns = [names.index("cached"), names.index("complexity")]
            slot = 1
        else:
            self._emulator_columns = list(range(len(names)))
            slot = len(names)
        width = len(self._emulator_columns) + 1
        self._case_slot = slot
        self.observation_spaces: dict[str, gym.Space] = {
            CASE_DECISION: gym.spaces.Box(-np.inf, np.inf, (len(names) * n,), np.float32),
            EMULATOR_CONFIG: gym.spaces.Box(-np.inf, np.inf, (width * n,), np.float32),
        }
        # Where, in the observation of the key, the earlier action of the named agent stands.
        self.action_slots: dict[str, dict[str, list[int]]] = {
            EMULATOR_CONFIG: {CASE_DECISION: [width * ue + slot for ue in range(n)]}
        }
        # Where UEs choose in turn, those whose local training would take longest come first.
        self.entity_order: dict[str, int] = {}
        if "local" in names:
            self.entity_order[CASE_DECISION] = names.index("local")

    def observe(self, simulator: Simulator) -> dict[str, Observation]:
        """Returns what every agent observes before any has acted, (B, …) each."""
        return self.lay_out(self.numbers.see(simulator))

    def lay_out(self, seen: Observation) -> dict[str, Observation]:
        """The same from the numbers of all UEs, (B, N, K); see :class:`Numbers`."""
        return {
            CASE_DECISION: seen.reshape(len(seen), -1),
            EMULATOR_CONFIG: self._with_case(seen, None),
        }

    def read(self, actions: Mapping[str, Any], num_envs: int) -> tuple[Bools, Floats, Bools | None]:
        """Returns z, (B, N), the retention, (B, N), and ``keep``, (B, N) or None.

        Raises:
            InputError: an action is missing, NaN, of the wrong shape or out of range.
        """
        server = self.read_case_decision(action_of(CASE_DECISION, actions), num_envs)
        emulator = action_of(EMULATOR_CONFIG, actions)
        return (server, *self.read_emulator_config(emulator, num_envs))

    def join(self, case: Any, emulator: Any) -> dict[str, Any]:
        """Returns the actions of every agent from the two decisions."""
        return {CASE_DECISION: case, EMULATOR_CONFIG: emulator}

    def observe_case_decision(self, simulator: Simulator) -> Observation:
        """Returns the observation of ``case_decision``, (B, N K)."""
        seen = self.numbers.see(simulator)
        return seen.reshape(len(seen), -1)

    def observe_emulator_config(self, simulator: Simulator, server: Bools | None) -> Observation:
        """Returns the observation of ``emulator_config``, (B, …); ``server`` None: not yet."""
        return self._with_case(self.numbers.see(simulator), server)

    def _with_case(self, seen: Observation, server: Bools | None) -> Observation:
        """The numbers that ``emulator_config`` sees, with z in its place."""
        slot, columns = self._case_slot, self._emulator_columns
        observation = np.empty((*seen.shape[:2], len(columns) + 1), np.float32)
        observation[..., :slot] = seen[..., columns[:slot]]
        observation[..., slot] = 0.0 if server is None else np.where(server, 1.0, -1.0)
        observation[..., slot + 1 :] = seen[..., columns[slot:]]
        return observation.reshape(len(seen), -1)

    def read_case_decision(self, action: Any, num_envs: int) -> Bools:
        """Returns z, (B, N), from an action of shape (B, N).

        Raises:
            InputError: names the agent, the field and the value.
        """
        return self._choices(f"{CASE_DECISION} action", action, num_envs)

    def read_emulator_config(self, action: Any, num_envs: int) -> tuple[Floats, Bools | None]:
        """Returns the retention, (B, N), and ``keep``, (B, N) or None.

        Raises:
            InputError: names the agent, the field and the value.
        """
        where = f"{EMULATOR_CONFIG} action"
        keep = None
        if self.scenario.emulator_action == "keep_or_retention":
            if not isinstance(action, Mapping) or set(action) != {"keep", "retention"}:
                raise InputError(f"{where} = {action!r}: expected a dict of keep and retention")
            keep = self._choices(f"{where}[keep]", action["keep"], num_envs)
            action, where = action["retention"], f"{where}[retention]"
        retention = self._numbers(where, action, num_envs)
        low, high = self.scenario.retention
        # float32 actions overshoot the float64 bounds by a rounding error.
        bad = ~((retention >= low - 1e-6) & (retention <= high + 1e-6))
        if bad.any():
            raise _bad_entry(where, retention, bad, f"a retention in [{low:g}, {high:g}]")
        return np.clip(retention, low, high), keep

    def _choices(self, where: str, action: Any, num_envs: int) -> Bools:
        numbers = self._numbers(where, action, num_envs)
        bad = ~((numbers == 0) | (numbers == 1))
        if bad.any():
            raise _bad_entry(where, numbers, bad, "0 or 1")
        return numbers.astype(bool)

    def _numbers(self, where: str, action: Any, num_envs: int) -> Floats:
        shape = (num_envs, self.scenario.num_ues)
        try:
            numbers = np.asarray(action, dtype=np.float64)
        except (TypeError, ValueError):
            raise InputError(f"{where} = {action!r}: expected numbers") from None
        if numbers.shape != shape:
            given = numbers.shape[1:] if numbers.shape[:1] == (num_envs,) else numbers.shape
            raise InputError(f"{where} has shape {given}: expected {shape[1:]}, one entry per UE")
        return numbers


class Orchestrator(Agents):
    """One agent, ``orchestrator``, that takes both decisions at once, for both agents' reward.

    It observes what ``case_decision`` does, which holds all that ``emulator_config`` sees but the
    case decision of the step. Its action is a ``Dict`` of ``case_decision`` and
    ``emulator_config``, each the action of that agent: one branch for each decision, as in SABPPO
    (arXiv 2310.17491).
    """

    order = (ORCHESTRATOR,)

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario)
        self.observation_spaces = {ORCHESTRATOR: self.observation_spaces[CASE_DECISION]}
        self.action_spaces = {ORCHESTRATOR: gym.spaces.Dict(self.action_spaces)}
        self.action_slots = {}
        self.entity_order = {}

    def lay_out(self, seen: Observation) -> dict[str, Observation]:
        return {ORCHESTRATOR: seen.reshape(len(seen), -1)}

    def read(self, actions: Mapping[str, Any], num_envs: int) -> tuple[Bools, Floats, Bools | None]:
        action = action_of(ORCHESTRATOR, actions)
        if not isinstance(action, Mapping) or set(action) != set(AGENTS):
            raise InputError(
                f"{ORCHESTRATOR} action = {action!r}: expected a dict of {' and '.join(AGENTS)}"
            )
        return super().read(action, num_envs)

    def join(self, case: Any, emulator: Any) -> dict[str, Any]:
        return {ORCHESTRATOR: super().join(case, emulator)}


def action_of(agent: str, actions: Mapping[str, Any]) -> Any:
    """Returns the action of one agent.

    Raises:
        InputError: there is none.
    """
    if agent not in actions:
        raise InputError(f"actions {sorted(actions)}: expected an action of {agent}")
    return actions[agent]


def _bad_entry(where: str, numbers: Floats, bad: Bools, expected: str) -> InputError:
    env, ue = np.argwhere(bad)[0]
    return InputError(f"{where}, UE {ue} = {numbers[env, ue]:g}: expected {expected}")
