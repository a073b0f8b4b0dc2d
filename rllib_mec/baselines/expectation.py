"""What is expected of the coming channels, which nobody can have measured."""

from __future__ import annotations

from rllib_mec.system.radio import Floats


def expected_gain(correlation: float, seen: Floats) -> Floats:
    """Returns the mean of each UE's coming channel gain, given those it had, (B, N).

    With fading of correlation rho it is rho^2 times the last one and 1 - rho^2 times the mean, for
    which the mean of all that have been seen in the episode stands in.

    Args:
        correlation: rho.
        seen: the gains of the episode so far, (t, B, N).
    """
    weight = correlation**2
    return weight * seen[-1] + (1 - weight) * seen.mean(axis=0)
