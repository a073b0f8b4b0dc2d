"""What HMPPO is compared with: IPPO, and policies that learn nothing."""

from rllib_mec.baselines.algorithm import (
    AllServerConfig,
    BaselineConfig,
    BestFixedConfig,
    BestRetentionConfig,
    GreedyConfig,
    GreedyCoordinateConfig,
    GreedyObservedConfig,
    HoldConfig,
    RandomConfig,
)
from rllib_mec.baselines.ippo import IPPO, IPPOConfig

__all__ = [
    "IPPO",
    "AllServerConfig",
    "BaselineConfig",
    "BestFixedConfig",
    "BestRetentionConfig",
    "GreedyConfig",
    "GreedyCoordinateConfig",
    "GreedyObservedConfig",
    "HoldConfig",
    "IPPOConfig",
    "RandomConfig",
]
