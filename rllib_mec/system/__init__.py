"""The system model in plain NumPy: scenario, radio, tasks, perplexity, step, episodes."""

from rllib_mec.system.scenario import Scenario
from rllib_mec.system.scenarios import SCENARIOS
from rllib_mec.system.simulator import DECISIONS, METRICS, Simulator

__all__ = ["DECISIONS", "METRICS", "SCENARIOS", "Scenario", "Simulator"]
