"""The environment ``fedpeat``: the control of federated tuning, alone and in batches."""

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
