"""The environment in all its forms.

RLlib's MultiAgentEnv, batched arrays, PettingZoo views, and the case decision as a Gymnasium Env.
"""

from rllib_mec.envs.agents import AGENTS, CASE_DECISION, EMULATOR_CONFIG, ORCHESTRATOR
from rllib_mec.envs.batched import BatchedMECEnv
from rllib_mec.envs.case_decision import BatchedCaseDecisionEnv, CaseDecisionEnv
from rllib_mec.envs.config import EnvConfig
from rllib_mec.envs.multi_agent import DecentralisedMECEnv, MECEnv, TurnBasedMECEnv, make_env

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
