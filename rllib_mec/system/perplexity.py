"""Task quality: the perplexity that a retention gives, eq. (9) and section VI."""

from __future__ import annotations

import numpy as np

from rllib_mec.system.radio import Bools, Floats
from rllib_mec.system.scenario import Scenario


def perplexity_of_retention(scenario: Scenario, retention: Floats) -> Floats:
    """f(E), fitted in the paper to the layer-drop sweep of Offsite-Tuning (arXiv 2302.04870).

    >>> round(float(perplexity_of_retention(Scenario(), np.array(0.8))), 3)
    13.548
    """
    a, b, c = scenario.perplexity_coefficients
    return (a * retention + b) * retention + c


def complexity_factor(scenario: Scenario, complexity: Floats) -> Floats:
    """The factor on f(E): (c + iota) / c as printed, or (c + iota) / iota, see Scenario.

    >>> float(complexity_factor(Scenario(), np.array(10.0)))
    2.0
    """
    weight = scenario.complexity_weight
    if scenario.complexity_factor == "printed":
        return (complexity + weight) / complexity
    return (complexity + weight) / weight


def task_perplexity(
    scenario: Scenario, server: Bools, retention: Floats, complexity: Floats
) -> Floats:
    """Kappa of each UE's task: f(1) on the server, f(E) locally, times the complexity factor.

    Args:
        server: z, (B, N). retention: E, (B, N). complexity: c, (B, N).
    """
    whole_model = perplexity_of_retention(scenario, np.array(1.0))
    quality = np.where(server, whole_model, perplexity_of_retention(scenario, retention))
    return quality * complexity_factor(scenario, complexity)
