"""What HMPPO is compared with: IPPO, and policies that learn nothing."""

from rllib_mec.baselines.algorithm import (
    AllServerConfig,
    BaselineConfig,
    BestFixedConfig,
    BestRetentionConfig,
    EqualSharesConfig,
    GreedyConfig,
    GreedyCoordinateConfig,
    GreedyObservedConfig,
    HoldConfig,
    RandomConfig,
    ServerAloneConfig,
)
from rllib_mec.baselines.ippo import IPPO, IPPOConfig

__all__ = [
    "IPPO",
    "AllServerConfig",
    "BaselineConfig",
    "BestFixedConfig",
    "BestRetentionConfig",
    "EqualSharesConfig",
    "GreedyConfig",
    "GreedyCoordinateConfig",
    "GreedyObservedConfig",
    "HoldConfig",
    "IPPOConfig",
    "RandomConfig",
    "ServerAloneConfig",
]
