"""The agents of ``fedpeat``: who takes which decisions, what they see, how actions are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from rllib_mec.envs.agents import ORCHESTRATOR, action_of
from rllib_mec.envs.fedpeat.observations import NUMBERS, FedPEATNumbers, Observation
from rllib_mec.errors import InputError
from rllib_mec.system.fedpeat import Decision, Federation, FedPEATScenario
from rllib_mec.system.radio import Floats

SELECTION, RETENTION, BANDWIDTH, POWER = "selection", "retention", "bandwidth", "power"
DECISIONS = (SELECTION, RETENTION, BANDWIDTH, POWER)
"""All that is decided of each UE."""

TRANSMISSION = "transmission"

ARRANGEMENTS: dict[int, dict[str, tuple[str, ...]]] = {
    1: {ORCHESTRATOR: DECISIONS},
    3: {SELECTION: (SELECTION,), RETENTION: (RETENTION,), TRANSMISSION: (BANDWIDTH, POWER)},
    4: {decision: (decision,) for decision in DECISIONS},
}
"""The agents, in the order they decide, and what each decides, by their number."""


class FedPEATAgents:
    """Spaces, observations and actions of the agents, on batches of environments.

    Observations are laid out UE by UE: the numbers of UE 1, then those of UE 2, and so on. They are
    those of :mod:`rllib_mec.envs.fedpeat.observations` and, where an agent does not decide first,
    slots for what was decided of the UE before it in the same step: -1 or 1 for the selection,
    [-1, 1] for a number, 0 for not yet.

    Attributes:
        order: the agents, in the order they decide. numbers: what is seen of each UE.
        action_slots: where, in the observation of the key, the earlier actions of the named agents
        stand. entity_order: by which number UEs choose where they choose in turn, those whose
        training takes longest first.
    """

    def __init__(self, scenario: FedPEATScenario, agents: int = 1) -> None:
        self.scenario = scenario
        self.decides = ARRANGEMENTS[agents]
        self.order = tuple(self.decides)
        n = scenario.num_ues
        self._bounds = {
            RETENTION: scenario.retention,
            BANDWIDTH: (-1.0, 1.0),
            POWER: scenario.uplink_power_w,
        }
        spaces: dict[str, gym.Space] = {
            name: gym.spaces.Box(*bounds, (n,), np.float32) for name, bounds in self._bounds.items()
        }
        spaces[SELECTION] = gym.spaces.MultiDiscrete([2] * n)
        self.action_spaces: dict[str, gym.Space] = {
            agent: spaces[own[0]]
            if len(own) == 1
            else gym.spaces.Dict({name: spaces[name] for name in own})
            for agent, own in self.decides.items()
        }
        self._slots = {agent: index for index, agent in enumerate(self.order)}
        self.observation_spaces: dict[str, gym.Space] = {}
        self.action_slots: dict[str, dict[str, list[int]]] = {}
        for agent, slots in self._slots.items():
            width = len(NUMBERS) + slots
            self.observation_spaces[agent] = gym.spaces.Box(
                -np.inf, np.inf, (width * n,), np.float32
            )
            seen = {
                earlier: [width * ue + len(NUMBERS) + slot for ue in range(n)]
                for slot, earlier in enumerate(self.order[:slots])
            }
            if seen:
                self.action_slots[agent] = seen
        self.entity_order = {self.order[0]: NUMBERS.index("training")}
        self.numbers = FedPEATNumbers(scenario)

    def observe(self, federation: Federation) -> dict[str, Observation]:
        """Returns what every agent observes before any has acted, (B, …) each."""
        return self.lay_out(self.numbers.see(federation))

    def lay_out(self, seen: Observation) -> dict[str, Observation]:
        """The same from the numbers of all UEs, (B, N, K)."""
        observations = {}
        for agent, slots in self._slots.items():
            empty = np.zeros((*seen.shape[:2], slots), np.float32)
            own = np.concatenate([seen, empty], axis=-1)
            observations[agent] = own.reshape(len(seen), -1)
        return observations

    def read(self, actions: Mapping[str, Any], num_envs: int) -> Decision:
        """Returns what the actions of all agents, (B, …) each, decide.

        Raises:
            InputError: an action is missing, NaN, of the wrong shape or out of range.
        """
        numbers: dict[str, Floats] = {}
        for agent, own in self.decides.items():
            action = action_of(agent, actions)
            if len(own) == 1:
                action = {own[0]: action}
            elif not isinstance(action, Mapping) or set(action) != set(own):
                raise InputError(
                    f"{agent} action = {action!r}: expected a dict of {', '.join(own)}"
                )
            for name in own:
                where = f"{agent} action" + (f"[{name}]" if len(own) > 1 else "")
                numbers[name] = self._read(name, where, action[name], num_envs)
        return Decision(
            numbers[SELECTION].astype(bool), numbers[RETENTION], numbers[BANDWIDTH], numbers[POWER]
        )

    def join(self, decision: Decision) -> dict[str, Any]:
        """Returns the actions of all agents that decide this; the inverse of :meth:`read`."""
        values: dict[str, Any] = {
            SELECTION: decision.selected.astype(np.int64),
            RETENTION: decision.retention,
            BANDWIDTH: decision.bandwidth,
            POWER: decision.power_w,
        }
        return {
            agent: values[own[0]] if len(own) == 1 else {name: values[name] for name in own}
            for agent, own in self.decides.items()
        }

    def _read(self, name: str, where: str, action: Any, num_envs: int) -> Floats:
        shape = (num_envs, self.scenario.num_ues)
        try:
            numbers = np.asarray(action, dtype=np.float64)
        except (TypeError, ValueError):
            raise InputError(f"{where} = {action!r}: expected numbers") from None
        if numbers.shape != shape:
            given = numbers.shape[1:] if numbers.shape[:1] == (num_envs,) else numbers.shape
            raise InputError(f"{where} has shape {given}: expected {shape[1:]}, one entry per UE")
        if name == SELECTION:
            allowed, expected = (numbers == 0) | (numbers == 1), "0 or 1"
        else:
            low, high = self._bounds[name]
            # float32 actions overshoot the float64 bounds by a rounding error.
            allowed = (numbers >= low - 1e-6) & (numbers <= high + 1e-6)
            expected = f"a number in [{low:g}, {high:g}]"
            numbers = np.clip(numbers, low, high)
        if not allowed.all():
            env, ue = np.argwhere(~allowed)[0]
            given = np.asarray(action, dtype=np.float64)[env, ue]
            raise InputError(f"{where}, UE {ue} = {given:g}: expected {expected}")
        return numbers
