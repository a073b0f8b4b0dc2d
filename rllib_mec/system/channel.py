"""Channels over time: Rayleigh fading with memory, and UEs that walk.

Both are Markov chains over the tasks of an episode. The time axis T comes first: all
environments and UEs, (B, N), take a step at once.
"""

from __future__ import annotations

import itertools

import numpy as np

from rllib_mec.system.radio import Floats


def correlated_power(correlation: float, power: Floats, phase: Floats) -> Floats:
    """Power gain |g|^2 of first-order Gauss-Markov fading, (T, B, N).

    g_0 = w_0 and g_t = rho g_{t-1} + sqrt(1 - rho^2) w_t, where w_t is complex Gaussian of
    variance 1. The power gain of every task is Exp(1), that of tasks k apart correlates by
    rho^(2k). Clarke's and Jakes's scattering gives rho = J0(2 pi f_D tau), f_D the Doppler
    frequency and tau the time between two tasks (Jakes, Microwave Mobile Communications, 1974).

    Args:
        correlation: rho, in [0, 1).
        power: |w_t|^2, drawn from Exp(1), (T, B, N).
        phase: argument of w_t, drawn from U(0, 2 pi), (T, B, N).

    >>> power, phase = np.array([1.0, 4.0]), np.array([0.0, np.pi / 2])
    >>> correlated_power(0.6, power, phase).round(3).tolist()  # g_1 = 0.6 + 0.8 * 2j
    [1.0, 2.92]
    """
    amplitude = np.sqrt(power)
    gain = np.stack([amplitude * np.cos(phase), amplitude * np.sin(phase)], axis=1)
    return _gauss_markov(correlation, gain)


def branch_power(correlation: float, components: Floats) -> Floats:
    """Mean power gain of M branches of such fading, (T, B, N).

    Args:
        correlation: rho, in [0, 1).
        components: real and imaginary parts of all branches' w_t, drawn from the standard normal
            distribution, (T, 2 M, B, N).
    """
    branches = components.shape[1] // 2
    return _gauss_markov(correlation, components * np.sqrt(0.5)) / branches


def _gauss_markov(correlation: float, gain: Floats) -> Floats:
    """The squared amplitude of g_t, (T, B, N), from the parts of w_t, (T, K, B, N)."""
    if correlation:
        gain[1:] *= np.sqrt(1 - correlation**2)
        for before, now in itertools.pairwise(gain):
            now += correlation * before
    return np.square(gain).sum(axis=1)


def random_walk(bounds: tuple[float, float], start: Floats, walk: Floats, turn: Floats) -> Floats:
    """Distances from the server of UEs on a random walk in the plane, in m, (T + 1, B, N).

    Between two tasks a UE walks straight, in a direction drawn anew, and is reflected at the
    circles that bound the area: the random walk of Camp, Boleng and Davies, A survey of mobility
    models for ad hoc network research, 2002. As all directions are alike, the distance is
    itself a Markov chain: where on its circle a UE stands does not matter.

    Args:
        bounds: radii of the two circles in m.
        start: distance at first, within ``bounds``, (B, N).
        walk: length in m, at most the width of ``bounds``, (T, B, N).
        turn: direction, 0 away from the server, drawn from U(0, 2 pi), (T, B, N).

    >>> walk, turn = np.array([3.0, 12.0, 5.5]), np.array([0.0, np.pi / 2, np.pi])
    >>> random_walk((1.0, 14.0), np.array(4.0), walk, turn).round(3).tolist()
    [4.0, 7.0, 13.892, 8.392]
    """
    low, high = bounds
    distance = np.empty((len(walk) + 1, *start.shape))
    distance[0] = start
    outwards, sidewards = walk * np.cos(turn), walk * np.sin(turn)
    for t, (out, side) in enumerate(zip(outwards, sidewards, strict=True)):
        free = np.hypot(distance[t] + out, side)
        inside = np.minimum(free, 2 * high - free)
        distance[t + 1] = np.maximum(inside, 2 * low - inside)
    return distance
