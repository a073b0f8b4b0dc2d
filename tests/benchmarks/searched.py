"""Trains the best settings of a search and the shipped ones on seeds that the search has not seen.

    python tests/benchmarks/searched.py

The found ones are the best drawn row of ``tuned_examples/tune/results/hmppo-optuna.csv``, the
``trials.csv`` that ``rllib train file tuned_examples/tune/hmppo-optuna.yaml`` leaves behind; the
shipped ones are the point that this search begins with. The seeds of a setting train as one stack;
each is evaluated on the same 500 unseen episodes. The results go to
``tuned_examples/tune/results/comparison.json``.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from pathlib import Path
from typing import Any

import yaml
from published import ROOT, evaluated, rllib
from scipy import stats

RESULTS = ROOT / "tuned_examples" / "tune" / "results"
EVALUATION = {"num_ues": 9, "episodes": 500, "seed": 1000}


def settings(row: dict[str, str]) -> dict[str, Any]:
    """Returns what a trial has drawn, as settings of a ``config``."""
    names = list(row)
    values: dict[str, Any] = {}
    for name in names[names.index("trial") + 1 : names.index("failed")]:
        outer, _, inner = name.partition(".")
        value = json.loads(row[name])
        if inner:
            values.setdefault(outer, {})[inner] = value
        else:
            values[outer] = value
    return values


def search() -> dict[str, Any]:
    """Returns the form of the search."""
    example = ROOT / "tuned_examples" / "tune" / "hmppo-optuna.yaml"
    (form,) = yaml.safe_load(example.read_text()).values()
    return form


def rewards(
    name: str, own: dict[str, Any], steps: int, seeds: list[int], folder: Path
) -> list[Any]:
    """Trains a stack with the settings ``own``; returns each member's mean reward."""
    form = search()
    model = form["config"]["model_config"] | own["model_config"]
    config = {key: value for key, value in form["config"].items() if key != "lambda_"}
    form |= {"num_samples": 1, "seeds": seeds, "config": config | own | {"model_config": model}}
    form |= {"tune_config": {}, "stop": {"num_env_steps_sampled_lifetime": steps}}
    run = f"{name}-{steps}"
    file = folder / f"{run}.yaml"
    file.write_text(yaml.safe_dump({run: form}))
    rllib("train", "file", str(file), "--storage-path", str(folder), "--num-cpus", "1")
    (checkpoint,) = (folder / run).glob("*/checkpoint_*")
    members = [str(checkpoint / f"seed_{seed}") for seed in seeds]
    every = [evaluated(member, *EVALUATION.values(), folder)["reward"] for member in members]
    return [metrics["mean"] for metrics in every]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[100, 101, 102, 103])
    parser.add_argument("--steps", type=int, nargs="+", default=[50000, 100000])
    args = parser.parse_args()
    with (RESULTS / "hmppo-optuna.csv").open(newline="") as stream:
        trials = list(csv.DictReader(stream))
    (point,) = search()["tune_config"]["search_alg"]["points_to_evaluate"]
    shipped = {name.rstrip("_"): value for name, value in point.items()}
    drawn = [r for r in trials if r["failed"] == "False" and settings(r) != shipped]
    found = settings(max(drawn, key=lambda row: float(row["reward"])))
    report: dict[str, Any] = {
        "command": "python tests/benchmarks/searched.py",
        "evaluation": EVALUATION,
        "seeds": args.seeds,
        "settings": {"shipped": shipped, "found": found},
        "steps": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        for steps in args.steps:
            reached = {
                name: rewards(name, own, steps, args.seeds, Path(folder))
                for name, own in report["settings"].items()
            }
            test = stats.ttest_rel(reached["found"], reached["shipped"])
            low, high = test.confidence_interval()
            report["steps"][steps] = {
                "rewards": reached,
                "found_minus_shipped": {
                    "mean": sum(reached["found"]) / len(args.seeds)
                    - sum(reached["shipped"]) / len(args.seeds),
                    "ci95": [float(low), float(high)],
                },
            }
            print(steps, json.dumps(report["steps"][steps]), flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "comparison.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
