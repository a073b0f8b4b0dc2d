"""The best plan of an episode, all its draws known, for few UEs with few layers.

Dynamic programming over what all UEs have cached: with K numbers of layers, (K + 1)^N states and as
many joint actions in each. It is what the bound of :mod:`rllib_mec.bounds.relaxation` is tested by.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from rllib_mec.errors import InputError
from rllib_mec.system import Scenario
from rllib_mec.system.emulator import NOTHING_CACHED
from rllib_mec.system.radio import Bools, Floats
from rllib_mec.system.step import Situation, step
from rllib_mec.system.tasks import Episode

MOST_PAIRS = 500_000
"""States times actions, all of which are tried in each step."""


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What to do in each step, and what comes of it.

    server: z, (T, B, N). retention: E, (T, B, N). reward: of the whole episode, (B,).
    """

    server: Bools
    retention: Floats
    reward: Floats


def best_plan(scenario: Scenario, episode: Episode) -> Plan:
    """Returns a plan of the highest reward.

    Args:
        episode: all draws, T and N being those of the scenario.

    Raises:
        InputError: the scenario has no grid of retentions, too many states, or batteries, which
            are a state without a grid.
    """
    if scenario.energy is not None:
        raise InputError(f"best plan: scenario {scenario.name} has energy: expected energy: false")
    if scenario.emulator_action != "layers":
        raise InputError(
            f"best plan: emulator_action = {scenario.emulator_action!r}: expected 'layers'"
        )
    low, high = scenario.layer_bounds
    pairs = (high - low + 2) ** (2 * scenario.num_ues)
    if pairs > MOST_PAIRS:
        raise InputError(
            f"best plan: {scenario.num_ues} UEs with {high - low + 1} numbers of layers make "
            f"{pairs:,} pairs of state and action: expected at most {MOST_PAIRS:,}"
        )
    plans = [_plan(scenario, episode, env) for env in range(len(episode.first_gain))]
    server, retention, reward = zip(*plans, strict=True)
    return Plan(np.stack(server, axis=1), np.stack(retention, axis=1), np.array(reward))


def _plan(scenario: Scenario, episode: Episode, env: int) -> tuple[Bools, Floats, float]:
    """Returns z, (T, N), E, (T, N), and the reward of the environment ``env``."""
    low, high = scenario.layer_bounds
    emulators = np.array([NOTHING_CACHED, *np.arange(low, high + 1) / scenario.num_layers])
    # A row for each joint state, and for each joint action: the emulator to train with locally, and
    # to download if it is not there; 0 the server.
    rows = np.array(list(itertools.product(range(len(emulators)), repeat=scenario.num_ues)))
    state, action = rows[:, None], rows[None]
    held = np.where(action == 0, state, action)
    places = len(emulators) ** np.arange(scenario.num_ues)[::-1]
    shape = (len(rows) ** 2, scenario.num_ues)
    cached = np.broadcast_to(emulators[state], held.shape).reshape(shape)
    server = np.broadcast_to(action == 0, held.shape).reshape(shape)
    # On the server, to ask for the emulator that is there never shares the downlink.
    asked = np.maximum(emulators[held], emulators[1]).reshape(shape)
    ahead = np.zeros(len(rows))
    choices = []
    for t in reversed(range(scenario.num_tasks)):
        tasks = episode.tasks.take((t, env)).map(lambda v: np.broadcast_to(v, shape))
        devices = episode.devices.take(env).map(lambda v: np.broadcast_to(v, shape))
        outcome = step(scenario, Situation(tasks, cached, devices), server, asked)
        # What is held then: not what was asked for, where memory or the lack of a task says no.
        following = np.searchsorted(emulators, outcome.cached - 1e-9).reshape(held.shape) @ places
        total = outcome.reward.reshape(following.shape) + ahead[following]
        best = total.argmax(axis=-1)
        choices.append((best, following[np.arange(len(rows)), best]))
        ahead = total.max(axis=-1)
    now, pairs = 0, []
    for best, after in reversed(choices):
        pairs.append(now * len(rows) + best[now])
        now = after[now]
    return server[pairs], asked[pairs], float(ahead[0])
