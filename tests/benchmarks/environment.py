"""Measures environment steps per second of the batched environment, on one thread.

    python tests/benchmarks/environment.py --num-ues 8 --num-envs 64

A step of a batch of B environments counts B. Resets are included (one per episode), drawing
actions is not. The readings of the emulator action are measured in turn, several times over,
so that a busy moment of the machine hits them alike. It takes one thread: element-wise NumPy
never starts another.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from rllib_mec.envs import CASE_DECISION, EMULATOR_CONFIG, BatchedMECEnv
from rllib_mec.system.scenario import EMULATOR_ACTIONS

NUM_DRAWN = 16
"""Batches of actions to go through, again and again."""


def draw_actions(env: BatchedMECEnv, rng: np.random.Generator) -> dict[str, Any]:
    """Draws valid actions of both agents, (B, …) each."""
    shape = (env.num_envs, env.num_entities)
    emulator: Any = rng.uniform(*env.scenario.retention, shape).astype(np.float32)
    if env.scenario.emulator_action == "keep_or_retention":
        emulator = {"keep": rng.integers(0, 2, shape), "retention": emulator}
    return {CASE_DECISION: rng.integers(0, 2, shape), EMULATOR_CONFIG: emulator}


def steps_per_second(
    env: BatchedMECEnv, actions: Sequence[dict[str, Any]], seconds: float
) -> float:
    """Steps ``env`` through whole episodes for at least ``seconds`` s."""
    episodes, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds or not episodes:
        env.reset()
        for t in range(env.scenario.num_tasks):
            env.step(actions[t % len(actions)])
        episodes += 1
    return episodes * env.scenario.num_tasks * env.num_envs / elapsed


def main() -> None:
    """Prints one line for each reading of the emulator action."""
    parser = argparse.ArgumentParser(description="Environment steps per second, one thread.")
    parser.add_argument("--scenario", default="published", help="(default published)")
    parser.add_argument("--num-ues", type=int, default=8, help="N (default 8)")
    parser.add_argument("--num-envs", type=int, default=64, help="B (default 64)")
    parser.add_argument("--seconds", type=float, default=1.0, help="per repeat (default 1)")
    parser.add_argument("--repeats", type=int, default=5, help="per reading (default 5)")
    options = parser.parse_args()

    rng = np.random.default_rng(0)
    rates: dict[str, list[float]] = {reading: [] for reading in EMULATOR_ACTIONS}
    envs, actions = {}, {}
    for reading in EMULATOR_ACTIONS:
        env_config = {
            "scenario": options.scenario,
            "num_ues": options.num_ues,
            "emulator_action": reading,
        }
        env = envs[reading] = BatchedMECEnv(env_config, options.num_envs)
        env.reset(0)
        actions[reading] = [draw_actions(env, rng) for _ in range(NUM_DRAWN)]
        steps_per_second(env, actions[reading], 0)  # warm-up
    for _ in range(options.repeats):
        for reading in EMULATOR_ACTIONS:
            rate = steps_per_second(envs[reading], actions[reading], options.seconds)
            rates[reading].append(rate)

    size = f"N = {options.num_ues}, B = {options.num_envs}"
    print(f"{options.scenario}, {size}, {options.repeats} repeats")
    for reading, measured in rates.items():
        print(
            f"{reading:18} median {statistics.median(measured):9,.0f} steps/s, "
            f"range {min(measured):9,.0f} to {max(measured):9,.0f}"
        )


if __name__ == "__main__":
    main()
