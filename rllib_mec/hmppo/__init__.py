"""HMPPO: PPO with a centralised critic for any cooperative ``MultiAgentEnv``."""

from rllib_mec.hmppo.algorithm import HMPPO
from rllib_mec.hmppo.config import HMPPOConfig
from rllib_mec.hmppo.recording.files import read_recording
from rllib_mec.hmppo.sampling.callbacks import EpisodeMetrics
from rllib_mec.hmppo.team import Team

__all__ = ["HMPPO", "EpisodeMetrics", "HMPPOConfig", "Team", "read_recording"]
