"""What HMPPO is compared with: IPPO, and policies that learn nothing."""

from rllib_mec.baselines.algorithm import (
    AllServerConfig,
    BaselineConfig,
    BestRetentionConfig,
    GreedyConfig,
    HoldConfig,
    RandomConfig,
)
from rllib_mec.baselines.ippo import IPPO, IPPOConfig

__all__ = [
    "IPPO",
    "AllServerConfig",
    "BaselineConfig",
    "BestRetentionConfig",
    "GreedyConfig",
    "HoldConfig",
    "IPPOConfig",
    "RandomConfig",
]
