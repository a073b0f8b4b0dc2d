"""The orchestrator: from what is measured of each UE to what each UE is to do."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rllib_mec.errors import InputError, unknown_name
from rllib_mec.orchestrator.fedpeat import FedPEAT
from rllib_mec.orchestrator.fields import Field, read_ues, shortened
from rllib_mec.orchestrator.mec import MEC
from rllib_mec.orchestrator.policy import ExportedPolicy
from rllib_mec.orchestrator.system import Kind, System
from rllib_mec.system import Scenario
from rllib_mec.system.fedpeat import FedPEATScenario

State = Mapping[str, Any]
Decision = dict[str, Any]

MOST_UES = 10_000
"""Of a state: what a decision takes grows with it."""


class Orchestrator:
    """A trained policy of ``mec`` or ``fedpeat`` that decides from states in physical units.

    Args:
        directory: of ``rllib export``.
        threads: see :class:`ExportedPolicy`.

    Attributes:
        policy: the exported policy. num_ues: how many UEs a state must have, None for any number.

    Raises:
        InputError: no such directory, a damaged one, one of another environment, or ONNX Runtime is
            not installed.

    A state is a mapping of ``ues``, a list with a mapping of each UE, and in some scenarios
    ``tasks_left``; :meth:`schema` says which quantities there are, their units and ranges. Ranges
    are those that the policy was trained on: of others it knows nothing.
    """

    def __init__(self, directory: str | Path, threads: int = 1) -> None:
        self.policy = ExportedPolicy(directory, threads)
        spec = self.policy.spec
        if any(actor.memory for actor in spec.actors):
            raise InputError(
                f"{directory}: a policy that remembers what was before: expected one that decides "
                "from a state alone (ExportedPolicy takes memories)"
            )
        self._kind = _kind(str(directory), spec.environment, spec.scenario)
        self.num_ues = None if spec.any_number else spec.num_entities
        self._system = functools.lru_cache(maxsize=32)(self._kind.system)

    def decide(self, state: State) -> Decision:
        """Returns what each UE is to do: ``{"ues": [...]}``, in the order of the state's UEs.

        Raises:
            InputError: names the field, the UE, the value and what was expected.
        """
        return self.decide_all([state])[0]

    def decide_all(self, states: Sequence[State]) -> list[Decision]:
        """Returns the decisions of several states, which are independent of each other.

        States with as many UEs are decided together, which takes hardly longer than one.

        Raises:
            InputError: a state is not valid.
        """
        return self.decide_checked([self.check(state) for state in states])

    def check(self, state: Any) -> dict[str, Any]:
        """Returns the quantities of a valid state, (N,) each, and those of the whole, (1,).

        Raises:
            InputError: it is not valid.
        """
        if not isinstance(state, Mapping):
            raise InputError(f"state = {shortened(state)}: expected a mapping with ues")
        known = ["ues", *(field.name for field in self._kind.of_all)]
        for name in state:
            if name not in known:
                raise unknown_name("key of the state", str(name)[:60], known)
        if "ues" not in state:
            raise InputError("ues is missing: expected a list with the quantities of each UE")
        ues = state["ues"]
        if isinstance(ues, Sequence) and len(ues) > MOST_UES:
            raise InputError(f"ues has {len(ues)}: expected at most {MOST_UES}")
        found = read_ues(ues, self._kind.fields, self._kind.active, self.num_ues)
        for field in self._kind.of_all:
            if field.name not in state:
                raise InputError(f"{field.name} is missing: expected {field.expected}")
            found[field.name] = np.array([field.read(state[field.name], field.name)])
        return found

    def decide_checked(self, states: Sequence[Mapping[str, Any]]) -> list[Decision]:
        """Returns the decisions of what :meth:`check` has returned."""
        decisions: list[Decision] = [{} for _ in states]
        first = self._kind.fields[0].name
        by_size: dict[int, list[int]] = {}
        for index, state in enumerate(states):
            by_size.setdefault(len(state[first]), []).append(index)
        for size, indices in by_size.items():
            system: System = self._system(size)
            names = states[indices[0]]
            together = {name: np.stack([states[i][name] for i in indices]) for name in names}
            observations = system.observations(together)
            actions = self.policy.decide(observations, system.slots)
            decided = system.decisions(together, actions)
            for index, ues in zip(indices, decided, strict=True):
                decisions[index] = {"ues": ues}
        return decisions

    def schema(self) -> dict[str, Any]:
        """Returns ``state`` and ``decision`` as JSON schemas (draft 2020-12)."""
        count = {"minItems": 1, "maxItems": MOST_UES}
        if self.num_ues is not None:
            count = {"minItems": self.num_ues, "maxItems": self.num_ues}
        kind = self._kind
        needed = [field for field in kind.fields if field.idle is None or kind.active is None]
        ue = _object(kind.fields, [field.name for field in needed])
        if kind.active is not None:
            ue = self._only_without_task(ue)
        of_all = _object(kind.of_all, [field.name for field in kind.of_all])
        state = {
            **of_all,
            "properties": of_all["properties"] | {"ues": {"type": "array", "items": ue, **count}},
            "required": [*of_all["required"], "ues"],
        }
        decided = {
            "type": "object",
            "properties": dict(kind.decision),
            "required": list(kind.decision),
        }
        ues = {"type": "array", "items": decided}
        decision = {"type": "object", "properties": {"ues": ues}, "required": ["ues"]}
        draft = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
        return {"state": draft | state, "decision": draft | decision}

    def _only_without_task(self, ue: dict[str, Any]) -> dict[str, Any]:
        """The schema of a UE, which need not have the quantities of a task if it has none."""
        of_task = [field.name for field in self._kind.fields if field.idle is not None]
        strict = {name: ue["properties"][name] for name in of_task}
        loose = {
            name: {"anyOf": [own, {"type": "null"}], "description": own["description"]}
            for name, own in strict.items()
        }
        return {
            **ue,
            "properties": ue["properties"] | loose,
            "if": {"properties": {str(self._kind.active): {"const": False}}},
            "else": {"properties": strict, "required": of_task},
        }


def _object(fields: Sequence[Field], required: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {field.name: field.schema() for field in fields},
        "required": required,
        "additionalProperties": False,
    }


def _kind(
    directory: str, environment: Mapping[str, Any], scenario: Mapping[str, Any] | None
) -> Kind:
    name, config = environment["name"], environment["config"]
    if name == "mec" and scenario is not None:
        return MEC(Scenario.of(scenario), config)
    if name == "fedpeat" and scenario is not None:
        return FedPEAT(FedPEATScenario.of(scenario), config)
    raise InputError(
        f"{directory}: a policy of {name}: expected one of mec or fedpeat (ExportedPolicy decides "
        "from observations of any environment)"
    )
