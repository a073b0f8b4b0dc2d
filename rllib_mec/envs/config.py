"""The environment's configuration: what an ``env_config`` may hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from rllib_mec.errors import InputError, unknown_name
from rllib_mec.system import Scenario

_SCENARIO_KEYS = {field.name for field in dataclasses.fields(Scenario)} - {"name"}


@dataclasses.dataclass(frozen=True, slots=True)
class EnvConfig:
    """A parsed ``env_config``.

    scenario: the system to simulate.
    turn_based: False, both agents act in each step (HMPPO fills in the action of the first);
        True, the agents take turns, two steps per task, which any algorithm can train on.
    """

    scenario: Scenario
    turn_based: bool = False

    @classmethod
    def of(cls, env_config: Mapping[str, Any] | None) -> EnvConfig:
        """Parses ``{"scenario": name | path | mapping, "turn_based": bool, …}``.

        Every other key is a field of :class:`~rllib_mec.system.Scenario` and overrides the
        scenario's value, for example ``num_ues``.

        Raises:
            InputError: an unknown key, or a value that makes no sense.
        """
        values = dict(env_config or {})
        source = values.pop("scenario", "published")
        turn_based = values.pop("turn_based", False)
        if not isinstance(turn_based, bool):
            raise InputError(f"env_config.turn_based = {turn_based!r}: expected true or false")
        for key in values:
            if key not in _SCENARIO_KEYS:
                raise unknown_name(
                    "env_config key", key, _SCENARIO_KEYS | {"scenario", "turn_based"}
                )
        return cls(Scenario.of(source, **values), turn_based)
