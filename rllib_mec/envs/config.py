"""The environment's configuration: what an ``env_config`` may hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from rllib_mec.errors import InputError, unknown_name
from rllib_mec.system import Scenario
from rllib_mec.system.tasks import EpisodeSource
from rllib_mec.traces import Replay

_ARRANGEMENTS = ("turn_based", "single_agent", "decentralised")
"""Of which one at most."""
_REPLAY = ("trace", "replay", "replay_block")
_SCENARIO_KEYS = {field.name for field in dataclasses.fields(Scenario)} - {"name"}


@dataclasses.dataclass(frozen=True, slots=True)
class EnvConfig:
    """A parsed ``env_config``.

    scenario: the system to simulate.
    turn_based: False, both agents act in each step (HMPPO fills in the action of the first);
        True, the agents take turns, two steps per task, which any algorithm can train on.
    single_agent: True, one agent takes both decisions at once.
    decentralised: True, each decision of each UE has an agent of its own.
    replay: the trace that episodes come from; None, they are drawn.
    """

    scenario: Scenario
    turn_based: bool = False
    single_agent: bool = False
    decentralised: bool = False
    replay: Replay | None = None

    @classmethod
    def of(cls, env_config: Mapping[str, Any] | None) -> EnvConfig:
        """Parses ``{"scenario": name | path | mapping, "turn_based": bool, …}``.

        ``single_agent`` and ``decentralised`` are bools, too; one of the three can be True.
        ``trace`` is the path of a trace, ``replay`` how it is replayed and ``replay_block`` the
        length of blocks, see :mod:`rllib_mec.traces.replay`. Every other key is a field of
        :class:`~rllib_mec.system.Scenario` and overrides the scenario's value, for example
        ``num_ues``.

        Raises:
            InputError: an unknown key, a value that makes no sense, or a trace that does not fit.
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
        replay = Replay.of(*(values.pop(key, None) for key in _REPLAY))
        for key in values:
            if key not in _SCENARIO_KEYS:
                raise unknown_name(
                    "env_config key", key, _SCENARIO_KEYS | {"scenario", *_ARRANGEMENTS, *_REPLAY}
                )
        config = cls(Scenario.of(source, **values), **arrangement, replay=replay)
        config.episode_source()
        return config

    def episode_source(self) -> EpisodeSource | None:
        """Returns a new source for a simulator: the trace from its start, or None to draw."""
        return None if self.replay is None else self.replay.source(self.scenario)
