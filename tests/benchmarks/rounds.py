"""Measures the systems of a work in turn, so that a busy moment of the machine hits them alike."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
from environment import NUM_DRAWN, draw_actions, steps_per_second
from systems import TASKS, Training, Work, described, systems

from rllib_mec.envs import BatchedMECEnv

RATIOS = {
    "batched_over_stock": ("batched", "stock"),
    "batched_over_episodes": ("batched", "episodes"),
    "batched_over_bare": ("batched", "bare"),
    "compiled_over_bare": ("compiled", "bare"),
    "compiled_over_batched": ("compiled", "batched"),
    "seeds8_over_one": ("seeds8", "batched"),
}

LONG = 1600
"""Steps of an iteration that is measured once a round; shorter ones get as many more rounds."""


def measure(work: Work, rounds: int, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Runs all systems in turn, ``rounds`` times or more after a first one that does not count."""
    known = described(work)
    rounds *= max(LONG // (known["num_envs"] * TASKS), 1)
    running = {name: make() for name, make in systems(work).items() if name not in without}
    rates: dict[str, list[float]] = {name: [] for name in running}
    for number in range(rounds + 1):
        for name, system in running.items():
            began = time.perf_counter()
            steps = system.iterate()
            if number:
                rates[name].append(steps / (time.perf_counter() - began))

    def ratio(over: str, under: str) -> float:
        pairs = zip(rates[over], rates[under], strict=True)
        return round(statistics.median(a / b for a, b in pairs), 3)

    trainings = {name: system for name, system in running.items() if isinstance(system, Training)}
    result = {
        "work": known,
        "rounds": rounds,
        "steps_per_s": {name: round(statistics.median(values)) for name, values in rates.items()},
        "range": {name: [round(min(v)), round(max(v))] for name, v in rates.items()},
        "ratios": {
            name: ratio(*pair) for name, pair in RATIOS.items() if rates.keys() >= set(pair)
        },
        "over_bare": {name: ratio(name, "bare") for name in rates if "bare" in rates},
        "split": {
            name: {part: round(statistics.median(v[1:]), 4) for part, v in system.split.items()}
            for name, system in trainings.items()
        },
        "env_steps_per_s": environment_alone(known),
    }
    for system in running.values():
        if hasattr(system, "stop"):
            system.stop()
    return result


def environment_alone(work: Work, repeats: int = 5, seconds: float = 0.4) -> int:
    """Returns the steps per second of the batched environment, actions drawn beforehand."""
    env = BatchedMECEnv({"num_ues": work["num_ues"]}, work["num_envs"])
    env.reset(0)
    rng = np.random.default_rng(0)
    actions = [draw_actions(env, rng) for _ in range(NUM_DRAWN)]
    steps_per_second(env, actions, 0)  # warm-up
    return round(statistics.median(steps_per_second(env, actions, seconds) for _ in range(repeats)))
