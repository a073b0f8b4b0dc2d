"""Coordinate-wise greedy: UE after UE takes what is best for the step's reward, for any N.

It begins with what every UE could do at once (all on the server, or all keeping their emulators, or
all downloading one), and then goes through the UEs again and again: each tries the server, keeping
and each retention of a grid, all others as they are, until nobody finds anything better. Every
trial is a step of the system itself, so whatever parts the scenario has are counted.
"""

from __future__ import annotations

import numpy as np

from rllib_mec.system import Scenario
from rllib_mec.system.radio import Bools, Floats
from rllib_mec.system.step import Situation, step

GRID = 13
"""Retentions to try where there is no grid of layers."""

MOST_SWEEPS = 20
"""Rounds over all UEs, which few situations need."""

_BETTER = 1e-9
"""What a change must gain at least, so that rounding cannot keep two choices going."""


def retentions(scenario: Scenario) -> Floats:
    """Returns the retentions that are tried, (K,)."""
    if scenario.emulator_action == "layers":
        low, high = scenario.layer_bounds
        return np.arange(low, high + 1) / scenario.num_layers
    return np.linspace(*scenario.retention, GRID)


def best_actions(scenario: Scenario, situation: Situation) -> tuple[Bools, Floats]:
    """Returns the server decisions z and the retentions E, (B, N) each.

    A UE that keeps its emulator gets E = its cached retention.
    """
    cached = situation.cached
    envs, ues = cached.shape
    grid = retentions(scenario)
    # The choices of a UE: the server, keeping, and each retention; [c, b, i].
    held = np.where(cached > 0, cached, grid[-1])
    choices = np.stack([held, held, *(np.full(cached.shape, e) for e in grid)])
    if situation.devices.most_retention is not None:
        choices = np.minimum(choices, situation.devices.most_retention)
    serves = np.zeros(len(choices), dtype=bool)
    serves[0] = True
    server, retention, reward = _best_of_all_alike(scenario, situation, choices, serves)
    every = situation.take(np.tile(np.arange(envs), len(choices)))
    rows = np.arange(envs)
    for _ in range(MOST_SWEEPS):
        before = reward
        for ue in range(ues):
            z = np.repeat(server[None], len(choices), axis=0)
            e = np.repeat(retention[None], len(choices), axis=0)
            z[..., ue] = serves[:, None]
            e[..., ue] = choices[..., ue]
            rewards = _rewards(scenario, every, z, e)
            best = rewards.argmax(axis=0)
            better = rewards[best, rows] > reward + _BETTER
            server[:, ue] = np.where(better, serves[best], server[:, ue])
            retention[:, ue] = np.where(better, choices[best, rows, ue], retention[:, ue])
            reward = np.where(better, rewards[best, rows], reward)
        if not (reward > before).any():
            break
    return server, retention


def _best_of_all_alike(
    scenario: Scenario, situation: Situation, choices: Floats, serves: Bools
) -> tuple[Bools, Floats, Floats]:
    """The best of what all UEs do alike: z, E, (B, N) each, and its reward, (B,)."""
    envs, ues = situation.cached.shape
    every = situation.take(np.tile(np.arange(envs), len(choices)))
    z = np.broadcast_to(serves[:, None, None], choices.shape)
    rewards = _rewards(scenario, every, z, choices)
    best = rewards.argmax(axis=0)
    rows = np.arange(envs)
    server = np.repeat(serves[best][:, None], ues, axis=1)
    return server, choices[best, rows].copy(), rewards[best, rows]


def _rewards(scenario: Scenario, situation: Situation, server: Bools, retention: Floats) -> Floats:
    """Rewards of joint actions (C, B, N) in the situations of the same C times B rows, (C, B)."""
    shape = server.shape[:2]
    keep = None
    flat = retention.reshape(-1, retention.shape[-1])
    if scenario.emulator_action == "keep_or_retention":
        keep = flat == situation.cached
    outcome = step(scenario, situation, server.reshape(flat.shape), flat, keep)
    return outcome.reward.reshape(shape)
