"""The environment's configuration: what an ``env_config`` may hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from rllib_mec.errors import InputError, unknown_name
from rllib_mec.system import Scenario

_ARRANGEMENTS = ("turn_based", "single_agent", "decentralised")
"""Of which one at most."""
_SCENARIO_KEYS = {field.name for field in dataclasses.fields(Scenario)} - {"name"}


@dataclasses.dataclass(frozen=True, slots=True)
class EnvConfig:
    """A parsed ``env_config``.

    scenario: the system to simulate.
    turn_based: False, both agents act in each step (HMPPO fills in the action of the first);
        True, the agents take turns, two steps per task, which any algorithm can train on.
    single_agent: True, one agent takes both decisions at once.
    decentralised: True, each decision of each UE has an agent of its own.
    """

    scenario: Scenario
    turn_based: bool = False
    single_agent: bool = False
    decentralised: bool = False

    @classmethod
    def of(cls, env_config: Mapping[str, Any] | None) -> EnvConfig:
        """Parses ``{"scenario": name | path | mapping, "turn_based": bool, …}``.

        ``single_agent`` and ``decentralised`` are bools, too; one of the three can be True. Every
        other key is a field of :class:`~rllib_mec.system.Scenario` and overrides the scenario's
        value, for example ``num_ues``.

        Raises:
            InputError: an unknown key, or a value that makes no sense.
        """
        values = dict(env_config or {})
        source = values.pop("scenario", "published")
        arrangement = {key: values.pop(key, False) for key in _ARRANGEMENTS}
        for key, value in arrangement.items():
            if not isinstance(value, bool):
                raise InputError(f"env_config.{key} = {value!r}: expected true or false")
        chosen = [key for key in _ARRANGEMENTS if arrangement[key]]
        if chosen == ["turn_based", "single_agent"]:
            raise InputError(
                "env_config.single_agent = True: expected false with turn_based, for which it "
                "takes two agents"
            )
        if len(chosen) > 1:
            raise InputError(f"env_config.{chosen[-1]} = True: expected false with {chosen[0]}")
        for key in values:
            if key not in _SCENARIO_KEYS:
                raise unknown_name(
                    "env_config key", key, _SCENARIO_KEYS | {"scenario", *_ARRANGEMENTS}
                )
        return cls(Scenario.of(source, **values), **arrangement)
