"""Measures SABPPO beside HMPPO on fedpeat: training steps per second, the same 24 dimensions.

    python tests/benchmarks/branching.py --out tests/benchmarks/results/branching.json

HMPPO has them in the hands of one agent (without branches) and of four; all iterate in turn, one
thread, with the settings of tuned_examples/sabppo-fedpeat-6ue.yaml.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

from process import machine, start

ROOT = Path(__file__).parents[2]


def configs(entity_shared: bool) -> dict[str, Any]:
    """Returns the configurations by name."""
    from rllib_mec.experiment.plan import prepare
    from rllib_mec.experiment.spec import make
    from rllib_mec.source import read_yaml

    content, _ = read_yaml(ROOT / "tuned_examples" / "sabppo-fedpeat-6ue.yaml")
    (form,) = content.values()
    settings = {**form["config"], "lr": 1e-3, "entity_shared": entity_shared}
    model = {**settings.pop("model_config")}
    width = model.pop("branch_width")
    systems = {"SABPPO": ("SABPPO", 1), "HMPPO, 1 agent": ("HMPPO", 1), "HMPPO": ("HMPPO", 4)}
    found = {}
    for name, (run, agents) in systems.items():
        own = {"model_config": model | ({"branch_width": width} if run == "SABPPO" else {})}
        own["env_config"] = {**settings["env_config"], "agents": agents}
        form = {"run": run, "env": "fedpeat", "config": {**settings, **own}}
        (found[name],) = prepare(make("speed", form)).configs
    return found


def measure(entity_shared: bool, rounds: int) -> dict[str, Any]:
    """Runs all in turn, ``rounds`` times after three that do not count."""
    running = {name: config.build_algo() for name, config in configs(entity_shared).items()}
    rates: dict[str, list[float]] = {name: [] for name in running}
    for number in range(rounds + 3):
        for name, algorithm in running.items():
            began = time.perf_counter()
            algorithm.train()
            if number > 2:
                steps = algorithm.config.total_train_batch_size
                rates[name].append(steps / (time.perf_counter() - began))
    for algorithm in running.values():
        algorithm.stop()
    return {
        "steps_per_s": {name: round(statistics.median(values)) for name, values in rates.items()},
        "SABPPO_over": {
            name: round(
                statistics.median(a / b for a, b in zip(rates["SABPPO"], own, strict=True)), 3
            )
            for name, own in rates.items()
            if name != "SABPPO"
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--out", type=Path, help="a .json file to write")
    args = parser.parse_args()
    start()
    report: dict[str, Any] = {"machine": machine(), "rounds": args.rounds, "action_dimensions": 24}
    for name, entity_shared in (("entity_shared", True), ("mlp", False)):
        report[name] = measure(entity_shared, args.rounds)
        print(f"{name}: {report[name]}", flush=True)
    if args.out is not None:
        args.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
