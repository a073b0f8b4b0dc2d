"""What the ``env_config`` of ``fedpeat`` may hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from rllib_mec.envs.fedpeat.agents import ARRANGEMENTS
from rllib_mec.errors import InputError, unknown_name
from rllib_mec.system.fedpeat import FedPEATScenario

_SCENARIO_KEYS = {field.name for field in dataclasses.fields(FedPEATScenario)} - {"name"}


@dataclasses.dataclass(frozen=True, slots=True)
class FedPEATConfig:
    """A parsed ``env_config``.

    scenario: the system to simulate. agents: over how many agents its decisions are split.
    """

    scenario: FedPEATScenario
    agents: int = 1

    @classmethod
    def of(cls, env_config: Mapping[str, Any] | None) -> FedPEATConfig:
        """Parses ``{"scenario": name | path | mapping, "agents": 1 | 3 | 4, …}``.

        Every other key is a field of :class:`~rllib_mec.system.fedpeat.FedPEATScenario`.

        Raises:
            InputError: an unknown key, or a value that makes no sense.
        """
        values = dict(env_config or {})
        source = values.pop("scenario", "fedpeat")
        agents = values.pop("agents", 1)
        if isinstance(agents, bool) or agents not in ARRANGEMENTS:
            expected = ", ".join(map(str, ARRANGEMENTS))
            raise InputError(f"env_config.agents = {agents!r}: expected one of {expected}")
        for key in values:
            if key not in _SCENARIO_KEYS:
                raise unknown_name("env_config key", key, _SCENARIO_KEYS | {"scenario", "agents"})
        return cls(FedPEATScenario.of(source, **values), int(agents))
