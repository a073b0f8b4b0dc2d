"""What no policy can beat: bounds on an episode's reward with all its draws known."""

from rllib_mec.bounds.exact import best_plan
from rllib_mec.bounds.relaxation import upper_bound

__all__ = ["best_plan", "upper_bound"]
