"""The algorithm: HMPPO's loop with one agent whose actor has branches."""

from __future__ import annotations

from typing import Any

from rllib_mec.hmppo import HMPPO


class SABPPO(HMPPO):
    """Single-agent action branching PPO; see :class:`~rllib_mec.sabppo.SABPPOConfig`."""

    @classmethod
    def get_default_config(cls) -> Any:
        from rllib_mec.sabppo.config import SABPPOConfig

        return SABPPOConfig()
