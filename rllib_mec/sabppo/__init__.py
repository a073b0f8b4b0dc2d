"""SABPPO: single-agent action branching PPO, on all that HMPPO is made of."""

from rllib_mec.sabppo.algorithm import SABPPO
from rllib_mec.sabppo.config import SABPPOConfig

__all__ = ["SABPPO", "SABPPOConfig"]
