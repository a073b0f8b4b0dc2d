"""The system that an environment simulates, for whoever wants to watch it being played."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rllib_mec.errors import InputError
from rllib_mec.system import Simulator
from rllib_mec.system.fedpeat import Federation

System = Simulator | Federation

Watch = Callable[[System], None]
"""Is given the system before its episodes are played; see ``on_step`` of both kinds."""


def system_of(env: Any) -> System:
    """Returns the system behind an environment, a single one or a batch.

    Raises:
        InputError: there is none, as the environment is neither ``mec`` nor ``fedpeat``.
    """
    inner = getattr(env, "env", env)  # of a batch of one, or a wrapper
    inner = getattr(inner, "unwrapped", inner)
    for name in ("simulator", "federation"):
        system = getattr(inner, name, None)
        if isinstance(system, System):
            return system
    raise InputError(
        f"the environment is a {type(inner).__name__}: expected mec, mec-case-decision or fedpeat, "
        "whose steps can be shown"
    )
