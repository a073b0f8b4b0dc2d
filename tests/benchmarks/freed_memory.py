"""Measures what it saves that a process keeps the memory it frees: training a stack, both ways.

    python tests/benchmarks/freed_memory.py --out tests/benchmarks/results/freed_memory.json

Processes in turn, one thread each: a stack of HMPPO's runs on mpe-spread, with batches of 128
environments. A setting of malloc in the environment, here of what it does anyway, makes
``keep_freed_memory`` leave malloc alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from process import in_new_process, machine, start

UNTOUCHED = {"MALLOC_PERTURB_": "0"}
WARM_UP, ITERATIONS = 2, 10


def train(work: dict[str, Any]) -> float:
    """Returns the stack's environment steps per second, of all its runs."""
    start()
    from rllib_mec.hmppo.config import HMPPOConfig
    from rllib_mec.hmppo.stacked.training import StackedTraining

    config = HMPPOConfig().environment("mpe-spread")
    config.env_runners(num_envs_per_env_runner=128)
    config.training(
        train_batch_size_per_learner=work["rows"],
        minibatch_size=work["minibatch"],
        num_epochs=10,
    )
    config.rl_module(model_config={"fcnet_hiddens": [64, 64], "fcnet_activation": "relu"})
    training = StackedTraining(config, [{"seed": seed} for seed in range(work["seeds"])])
    seconds = []
    for _ in range(WARM_UP + ITERATIONS):
        began = time.perf_counter()
        training.train()
        seconds.append(time.perf_counter() - began)
    return work["seeds"] * work["rows"] / statistics.median(seconds[WARM_UP:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, help="a .json file to write")
    args = parser.parse_args()
    report: dict[str, Any] = {"machine": machine(), "rounds": args.rounds, "works": []}
    for seeds, minibatch in ((5, 3200), (5, 320), (1, 3200)):
        work = {"seeds": seeds, "rows": 3200, "minibatch": minibatch}
        pairs = [
            (in_new_process(__file__, work, UNTOUCHED), in_new_process(__file__, work))
            for _ in range(args.rounds)
        ]
        ratios = [kept / untouched for untouched, kept in pairs]
        report["works"].append(
            work
            | {
                "steps_per_s": [round(statistics.median(p)) for p in zip(*pairs, strict=True)],
                "kept_over_untouched": round(statistics.median(ratios), 2),
                "range": [round(min(ratios), 2), round(max(ratios), 2)],
            }
        )
        print(report["works"][-1], flush=True)
    if args.out is not None:
        args.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1].startswith("{"):
        print(json.dumps(train(json.loads(sys.argv[1]))))
    else:
        main()
