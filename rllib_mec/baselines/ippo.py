"""IPPO: independent PPO, each agent with a critic of its own over its own observation.

Everything else is HMPPO's: networks, update, normalised value targets, and that
``emulator_config`` observes what ``case_decision`` has decided. So a comparison of the two
compares the critics.
"""

from __future__ import annotations

from typing import Any

from rllib_mec.errors import InputError
from rllib_mec.hmppo import HMPPO, HMPPOConfig


class IPPOConfig(HMPPOConfig):
    """Configures IPPO; ``critic`` is ``separate``, all other settings are those of HMPPO."""

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class or IPPO)
        self.critic = "separate"

    def validate(self) -> None:
        if self.critic != "separate":
            raise InputError(f"critic = {self.critic!r}: expected 'separate' with IPPO (or HMPPO)")
        super().validate()


class IPPO(HMPPO):
    """Independent PPO; see :class:`IPPOConfig`."""

    @classmethod
    def get_default_config(cls) -> Any:
        return IPPOConfig()
