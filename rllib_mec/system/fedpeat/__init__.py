"""FedPEAT: rounds of federated tuning that an orchestrator controls (arXiv 2310.17491)."""

from rllib_mec.system.fedpeat.federation import METRICS, Federation
from rllib_mec.system.fedpeat.round import Decision, Outcome, Situation, carry_out
from rllib_mec.system.fedpeat.scenario import FedPEATScenario

__all__ = [
    "METRICS",
    "Decision",
    "FedPEATScenario",
    "Federation",
    "Outcome",
    "Situation",
    "carry_out",
]
