"""Measures what sampling ahead saves: one remote runner, with it and in turns.

    python tests/benchmarks/sample_ahead.py --out tests/benchmarks/results/sample_ahead.json

The work is the larger one of throughput.py, one thread a process, one iteration after the other in
turn. An iteration ahead ends when its next batch is there, so that nothing runs while the other
one is on the clock. It needs a core for the runner and one for the learner.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

from process import machine, start


def build(sample_ahead: int, batched: bool) -> Any:
    from systems import WORKS, hmppo

    # More than 32 environments only slow RLlib's own sampler down.
    num_envs = None if batched else 32
    config = hmppo(WORKS["large"], num_envs, batched=batched)
    config.env_runners(num_env_runners=1).training(sample_ahead=sample_ahead)
    return config.build_algo()


def iterate(algorithm: Any) -> float:
    """Returns the seconds of an iteration; a runner's answer comes after its sample."""
    began = time.perf_counter()
    algorithm.train()
    algorithm.env_runner_group.foreach_env_runner(lambda runner: None, local_env_runner=False)
    return time.perf_counter() - began


def measure(batched: bool, rounds: int) -> dict[str, Any]:
    """Runs both in turn, ``rounds`` times after two that do not count."""
    systems = {"turns": build(0, batched), "ahead": build(1, batched)}
    seconds: dict[str, list[float]] = {name: [] for name in systems}
    for number in range(rounds + 2):
        for name, algorithm in systems.items():
            spent = iterate(algorithm)
            if number > 1:
                seconds[name].append(spent)
    for algorithm in systems.values():
        algorithm.stop()
    pairs = zip(seconds["turns"], seconds["ahead"], strict=True)
    return {
        "seconds": {name: round(statistics.median(values), 4) for name, values in seconds.items()},
        "range": {name: [round(min(v), 4), round(max(v), 4)] for name, v in seconds.items()},
        "ahead_over_turns": round(statistics.median(a / b for a, b in pairs), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--out", type=Path, help="a .json file to write")
    args = parser.parse_args()
    start(num_env_runners=1)
    from systems import WORKS

    report: dict[str, Any] = {
        "machine": machine(),
        "work": WORKS["large"],
        "rounds": args.rounds,
    }
    for name, batched in (("batched", True), ("episodes", False)):
        report[name] = measure(batched, args.rounds)
        print(f"{name}: {report[name]}", flush=True)
    if args.out is not None:
        args.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
