"""Random draws of an episode of rounds: UEs' places, channels, devices and data.

Each environment draws a whole episode at once from its own stream, so that environment k of a
batch sees the same episodes whatever the size of the batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from rllib_mec.system.channel import correlated_power
from rllib_mec.system.fedpeat.scenario import FedPEATScenario
from rllib_mec.system.radio import Bools, Floats, path_gain


@dataclasses.dataclass(frozen=True, slots=True)
class Episode:
    """All draws of an episode of T rounds.

    gain: h, channel power gain, (T + 2, B, N): that of the round before the first one, those of
        all rounds, and one more, so that there is always a coming round.
    busy: whether the device does other things, too, (T + 1, B, N).
    tokens: of each UE's data, (B, N). tflops: speed of each device when it is not busy, (B, N).
    most_retention: retention of the largest emulator that fits, (B, N).
    """

    gain: Floats
    busy: Bools
    tokens: Floats
    tflops: Floats
    most_retention: Floats


def draw_episode(scenario: FedPEATScenario, rngs: Sequence[np.random.Generator]) -> Episode:
    """Draws an episode of every environment from its own stream."""
    rounds, envs, ues = scenario.num_rounds + 1, len(rngs), scenario.num_ues
    devices = np.empty((4, envs, ues))
    fading, phase = (np.ones((rounds + 1, envs, ues)) for _ in range(2))
    busy = np.empty((2, rounds, envs, ues))
    for env, rng in enumerate(rngs):
        devices[:, env] = rng.random((4, ues))
        busy[:, :, env] = rng.random((2, rounds, ues))
        if scenario.fading == "rayleigh":
            fading[:, env] = rng.exponential(size=(rounds + 1, ues))
            phase[:, env] = rng.uniform(0, 2 * np.pi, (rounds + 1, ues))
    if scenario.fading_correlation:
        fading = correlated_power(scenario.fading_correlation, fading, phase)
    distance = _between(scenario.distance_m, devices[0])
    return Episode(
        gain=fading * path_gain(scenario, distance),
        busy=_busy(scenario, busy),
        tokens=_between(scenario.tokens, devices[1]),
        tflops=_one_of(scenario.ue_tflops, devices[2]),
        most_retention=most_retention(scenario, _one_of(scenario.ue_memory_gb, devices[3])),
    )


def most_retention(scenario: FedPEATScenario, memory_gb: Floats) -> Floats:
    """Retention of the largest emulator that fits into a UE's memory, in its shape.

    >>> most_retention(FedPEATScenario(), np.array([2.5, 6.0])).tolist()
    [0.4, 0.8]
    """
    share = np.minimum(memory_gb / scenario.model_size_gb, scenario.retention[1])
    if not scenario.num_emulators:
        return share
    emulators = scenario.emulators
    # The small term forgives what rounding takes from a share that is an emulator's.
    return emulators[np.searchsorted(emulators, share + 1e-9, side="right") - 1]


def _busy(scenario: FedPEATScenario, uniform: Floats) -> Bools:
    """A two-state Markov chain over the rounds, (T + 1, B, N), that starts as it goes on."""
    busy = uniform[0] < scenario.busy_probability
    stays = uniform[1] < scenario.busy_persistence
    for before, now, stay in zip(busy, busy[1:], stays[1:], strict=False):
        np.copyto(now, before, where=stay)
    return busy


def _between(bounds: tuple[float, float], uniform: Floats) -> Floats:
    low, high = bounds
    return low + (high - low) * uniform


def _one_of(values: tuple[float, ...], uniform: Floats) -> Floats:
    return np.array(values)[(uniform * len(values)).astype(np.intp)]
