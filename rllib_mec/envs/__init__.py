"""The environment in all its forms.

RLlib's MultiAgentEnv, batched arrays, PettingZoo views, and the case decision as a Gymnasium Env.
Those that are RLlib's are imported when they are asked for: the others need no Ray.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rllib_mec.envs.agents import AGENTS, CASE_DECISION, EMULATOR_CONFIG, ORCHESTRATOR
from rllib_mec.envs.batched import BatchedMECEnv
from rllib_mec.envs.config import EnvConfig

if TYPE_CHECKING:
    from rllib_mec.envs.case_decision import BatchedCaseDecisionEnv, CaseDecisionEnv
    from rllib_mec.envs.multi_agent import DecentralisedMECEnv, MECEnv, TurnBasedMECEnv, make_env

_OF_RLLIB = {
    "BatchedCaseDecisionEnv": "case_decision",
    "CaseDecisionEnv": "case_decision",
    "DecentralisedMECEnv": "multi_agent",
    "MECEnv": "multi_agent",
    "TurnBasedMECEnv": "multi_agent",
    "make_env": "multi_agent",
}
"""In which module each is."""

__all__ = [
    "AGENTS",
    "CASE_DECISION",
    "EMULATOR_CONFIG",
    "ORCHESTRATOR",
    "BatchedCaseDecisionEnv",
    "BatchedMECEnv",
    "CaseDecisionEnv",
    "DecentralisedMECEnv",
    "EnvConfig",
    "MECEnv",
    "TurnBasedMECEnv",
    "make_env",
]


def __getattr__(name: str) -> Any:
    if name not in _OF_RLLIB:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_OF_RLLIB[name]}"), name)
