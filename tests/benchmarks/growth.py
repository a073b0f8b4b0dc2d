"""Measures how training time and memory grow with UEs, environments and environment runners.

    python tests/benchmarks/growth.py

All points have the same settings, which are not those of the other works: networks of 64x64,
minibatches of 100 rows, 1 epoch; one episode of 50 steps of every environment is an iteration, so
that 64 environments make 3,200 rows. Each point has a process of its own, for its peak memory.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from process import in_new_process, start

TASKS = 50
SETTINGS: dict[str, Any] = {
    "num_ues": 8,
    "num_envs": 64,
    "num_env_runners": 0,
    "entity_shared": True,
    "hidden": [64, 64],
    "minibatch": 100,
    "epochs": 1,
    "fragment": TASKS,
}
SERIES: dict[str, tuple[int, ...]] = {
    "num_ues": (8, 64, 512, 1000),
    "num_envs": (16, 64, 256),
    "num_env_runners": (0, 1, 2),
}
MOST_UES, MEANT_GIB = 1000, 3.0
"""The largest point, and the memory that it is meant not to exceed."""


def points() -> Iterator[dict[str, Any]]:
    """Yields all settings to measure; ``varied`` says what their series is about."""
    for varied, values in SERIES.items():
        for value in values:
            point = SETTINGS | {"varied": varied, varied: value}
            # Runners share the environments; their networks are the plain ones.
            yield point | {"entity_shared": varied != "num_env_runners"}


def measure_all() -> list[dict[str, Any]]:
    """Measures and prints all points."""
    measured = []
    for point in points():
        measured.append(result := in_new_process("growth.py", point))
        print(line(result), flush=True)
    return measured


def line(result: dict[str, Any]) -> str:
    """Returns a line about a point."""
    memory = f"{result['peak_memory_gib']:.2f} GiB"
    if result["num_ues"] == MOST_UES:
        memory += f" (meant to be at most {MEANT_GIB:g})"
    return (
        f"  {result['varied']} = {result[result['varied']]:<5} "
        f"{result['steps_per_s']:>7,} steps/s, {result['iteration_s']:.2f} s an iteration, "
        f"peak memory beyond Ray's own {memory}"
    )


def measure(point: dict[str, Any], iterations: int = 3, seconds: float = 3.0) -> dict[str, Any]:
    """Measures one point, in a process that has done nothing before."""
    start(point["num_env_runners"])
    from rllib_mec.hmppo import HMPPOConfig

    before = peak_memory()
    runners = point["num_env_runners"]
    config = HMPPOConfig().environment("mec", env_config={"num_ues": point["num_ues"]})
    config.env_runners(
        num_env_runners=runners,
        num_envs_per_env_runner=point["num_envs"] // max(runners, 1),
        rollout_fragment_length=point["fragment"],
    )
    rows = point["num_envs"] * point["fragment"]
    config.training(
        batched=True,
        entity_shared=point["entity_shared"],
        train_batch_size_per_learner=rows,
        minibatch_size=point["minibatch"],
        num_epochs=point["epochs"],
        entropy_coeff=0.002,
    )
    config.rl_module(model_config={"fcnet_hiddens": point["hidden"]})
    algorithm = config.build_algo()
    algorithm.train()  # the first one is slower
    taken: list[float] = []
    while len(taken) < iterations or sum(taken) < seconds:
        began = time.perf_counter()
        algorithm.train()
        taken.append(time.perf_counter() - began)
    peak = peak_memory() - before
    algorithm.stop()
    usual = statistics.median(taken)
    return point | {
        "rows": rows,
        "iteration_s": round(usual, 4),
        "steps_per_s": round(rows / usual),
        "peak_memory_gib": round(peak / 2**30, 3),
    }


def peak_memory() -> int:
    """Returns the most bytes that this process has had resident, of Linux.

    Not ``getrusage``'s: a process inherits that from the one that started it.
    """
    status = Path("/proc/self/status").read_text()
    (kib,) = (row.split()[1] for row in status.splitlines() if row.startswith("VmHWM"))
    return int(kib) * 1024


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(measure(json.loads(sys.argv[1]))))
    else:
        measure_all()


if __name__ == "__main__":
    main()
