"""Measures training steps per second: HMPPO's ways to train, RLlib's PPO, a bare loop.

    python tests/benchmarks/throughput.py --out tests/benchmarks/results/throughput.json

All systems do the same work (N UEs, steps per iteration, minibatch, epochs, networks) on one
thread, one iteration after the other in turn; ratios are medians over the rounds. A step is one
task of every UE. See systems.py for the systems, rounds.py for the rounds, compilation.py for what
``compiled`` costs, growth.py for time and memory with more UEs, environments and runners.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import figure
import growth
from compilation import cold_start, pays_from
from process import machine, start

HEADLINE = "large"


def measured(work: dict[str, Any], rounds: int) -> dict[str, Any]:
    """Measures a work, its compilation included."""
    import torch
    from rounds import measure

    with tempfile.TemporaryDirectory() as cache:
        cold_s = cold_start(work, cache)
        # What was compiled there is taken from there; no other work's.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        torch._dynamo.reset()
        result = measure(work, rounds, without=() if cold_s is not None else ("compiled",))
    steps = None if cold_s is None else pays_from(cold_s, result["steps_per_s"])
    return result | {"compilation": {"cold_s": cold_s, "pays_from_steps": steps}}


def report(name: str, result: dict[str, Any]) -> None:
    """Prints the results of a work."""
    print(f"{name}: {result['work']}, {result['rounds']} rounds")
    for system, rate in result["steps_per_s"].items():
        low, high = result["range"][system]
        split = result["split"].get(system, {})
        parts = ", ".join(f"{part[:-2]} {seconds:.3f} s" for part, seconds in split.items())
        print(f"  {system:<9} {rate:>7,} steps/s  ({low:,} to {high:,})  {parts}".rstrip())
    print(f"  the environment alone: {result['env_steps_per_s']:,} steps/s")
    print(f"  {result['ratios']}\n  compilation: {result['compilation']}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument(
        "--quick", action="store_true", help="three rounds, no growth: under four minutes"
    )
    parser.add_argument("--out", type=Path, help="a .json file to write")
    parser.add_argument("--figure", type=Path, help="a .png or .svg file to write")
    args = parser.parse_args()
    if args.figure is not None:
        figure.require()
    start()
    from systems import WORKS

    rounds = 3 if args.quick else args.rounds
    works = {}
    for name, work in WORKS.items():
        works[name] = measured(work, rounds)
        report(name, works[name])
    points: list[dict[str, Any]] = []
    if not args.quick:
        print(f"growth: {growth.SETTINGS}")
        points = growth.measure_all()
    headline = {key: works[HEADLINE][key] for key in ("work", "steps_per_s", "ratios")}
    result = {"machine": machine(), "rounds": rounds, **headline, "works": works, "growth": points}
    if args.out is not None:
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    if args.figure is not None:
        figure.draw(result, args.figure)


if __name__ == "__main__":
    main()
