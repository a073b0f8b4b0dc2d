"""Task quality: the perplexity that training on the server or on an emulator gives.

A :class:`Quality` says what a task's perplexity is by where it is trained, before the factor of
its complexity, eq. (9) and section VI. :class:`Fit` is the paper's curve,
:class:`~rllib_mec.system.measured.Measured` goes through what was measured on a language model.
"""

from __future__ import annotations

import functools
from typing import Protocol

import numpy as np

from rllib_mec.system.measured import Measured, lowest
from rllib_mec.system.radio import Bools, Floats, Ints
from rllib_mec.system.scenario import Scenario


class Quality(Protocol):
    """Perplexity by case; lower is better. All arrays broadcast against each other."""

    def server(self, domain: Ints | None) -> Floats:
        """Perplexity after training the whole model on the server.

        Args:
            domain: index of each task's domain; None: what the curves of all domains scale.
        """

    def local(self, retention: Floats, domain: Ints | None) -> Floats:
        """Perplexity after training locally on an emulator of ``retention``, in [0, 1]."""

    def least(self, low: float, high: float) -> float:
        """The retention in [low, high] of the lowest local perplexity, without a domain."""

    def convexity(self, edges: Floats) -> Floats:
        """The most that the second derivative of :meth:`local` is, or 0, between ascending edges.

        Returns:
            (M, K - 1) for M domains and K edges, or what broadcasts to that.
        """

    def stationary(self, slope: Floats, domain: Ints | None) -> Floats | None:
        """Retentions at which local perplexity has a slope, NaN for none, with one axis more.

        None if curves bend so little that a grid finds its way.
        """


class Fit:
    """f(E), fitted in the paper to the layer-drop sweep of Offsite-Tuning (arXiv 2302.04870).

    With the part ``emulator_tuned``, f(E) (1 + excess (1 - E)) locally; with ``domains``, those
    curves level by level, see :mod:`rllib_mec.system.parts`.

    >>> fit = Fit(Scenario())
    >>> round(float(fit.local(np.array(0.8), None)), 3), round(float(fit.server(None)), 3)
    (13.548, 14.0)
    """

    def __init__(self, scenario: Scenario) -> None:
        self.coefficients = scenario.perplexity_coefficients
        self.excess = scenario.emulator_tuned.excess if scenario.emulator_tuned else 0.0
        self.whole = self._f(np.array(1.0))
        self.levels = self.sensitivities = None
        if scenario.domains is not None:
            self.levels = np.array(scenario.domains.levels)
            self.sensitivities = np.array(scenario.domains.sensitivities)

    def server(self, domain: Ints | None) -> Floats:
        if self.levels is None or domain is None:
            return self.whole
        return self.levels[domain] * self.whole

    def local(self, retention: Floats, domain: Ints | None) -> Floats:
        quality = self._f(retention)
        if self.excess:
            quality = quality * (1 + self.excess * (1 - retention))
        if self.levels is None or self.sensitivities is None or domain is None:
            return quality
        missed = self.sensitivities[domain] * (quality - self.whole)
        return self.levels[domain] * (self.whole + missed)

    def least(self, low: float, high: float) -> float:
        a, b, _ = self.coefficients
        vertex = -b / (2 * a) if a > 0 else high
        allowed = np.array([low, min(max(vertex, low), high), high])
        return float(allowed[lowest(self.local(allowed, None))])

    def convexity(self, edges: Floats) -> Floats:
        a, b, _ = self.coefficients
        # That of f(E) (1 + excess (1 - E)) is linear in E.
        second = 2 * a * (1 + self.excess * (1 - 3 * edges)) - 2 * self.excess * b
        most = np.maximum(np.maximum(second[:-1], second[1:]), 0.0)
        if self.levels is None or self.sensitivities is None:
            return most[None]
        return (self.levels * self.sensitivities)[:, None] * most

    def stationary(self, slope: Floats, domain: Ints | None) -> None:
        return None

    def _f(self, retention: Floats) -> Floats:
        a, b, c = self.coefficients
        return (a * retention + b) * retention + c


@functools.lru_cache(maxsize=64)
def quality_of(scenario: Scenario) -> Quality:
    """Returns the curves of a scenario."""
    if scenario.quality is not None:
        return Measured(scenario.quality, by_task=scenario.domains is not None)
    return Fit(scenario)


def perplexity_of_retention(scenario: Scenario, retention: Floats) -> Floats:
    """Perplexity of local training, before what the domains make of it.

    >>> round(float(perplexity_of_retention(Scenario(), np.array(0.8))), 3)
    13.548
    """
    return quality_of(scenario).local(retention, None)


def complexity_factor(scenario: Scenario, complexity: Floats) -> Floats:
    """The factor on f(E): (c + iota) / c as printed, (c + iota) / iota, or 1, see Scenario.

    >>> float(complexity_factor(Scenario(), np.array(10.0)))
    2.0
    """
    weight = scenario.complexity_weight
    if scenario.complexity_factor == "none":
        return np.ones_like(complexity)
    if scenario.complexity_factor == "printed":
        return (complexity + weight) / complexity
    return (complexity + weight) / weight


def task_perplexity(
    scenario: Scenario,
    server: Bools,
    retention: Floats,
    complexity: Floats,
    domain: Ints | None = None,
) -> Floats:
    """Kappa of each UE's task: its perplexity by case, times the complexity factor.

    Args:
        server: z, (B, N). retention: E, (B, N). complexity: c, (B, N). domain: (B, N) or None.
    """
    curves = quality_of(scenario)
    quality = np.where(server, curves.server(domain), curves.local(retention, domain))
    return quality * complexity_factor(scenario, complexity)
