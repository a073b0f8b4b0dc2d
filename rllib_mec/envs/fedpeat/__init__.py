"""The environment ``fedpeat``: the control of federated tuning, alone and in batches.

``FedPEATEnv``, which is RLlib's, is imported when it is asked for: the others need no Ray.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rllib_mec.envs.fedpeat.agents import (
    BANDWIDTH,
    DECISIONS,
    ORCHESTRATOR,
    POWER,
    RETENTION,
    SELECTION,
    TRANSMISSION,
    FedPEATAgents,
)
from rllib_mec.envs.fedpeat.batched import BatchedFedPEATEnv
from rllib_mec.envs.fedpeat.config import FedPEATConfig

if TYPE_CHECKING:
    from rllib_mec.envs.fedpeat.multi_agent import FedPEATEnv

__all__ = [
    "BANDWIDTH",
    "DECISIONS",
    "ORCHESTRATOR",
    "POWER",
    "RETENTION",
    "SELECTION",
    "TRANSMISSION",
    "BatchedFedPEATEnv",
    "FedPEATAgents",
    "FedPEATConfig",
    "FedPEATEnv",
]


def __getattr__(name: str) -> Any:
    if name != "FedPEATEnv":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rllib_mec.envs.fedpeat.multi_agent import FedPEATEnv

    return FedPEATEnv
