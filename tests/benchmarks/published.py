"""Trains HMPPO (both critics) and IPPO on the published scenario and scores them.

    python tests/benchmarks/published.py --num-ues 6 --seeds 0 1 2

Every run is a tuned example, run by the command line as a user would; the trained policies and
the baselines are evaluated on the same unseen episodes. About 20 minutes on two cores for three
seeds. The normalised score is (R - R_random) / (R_hold - R_random). The results go to
``tests/benchmarks/results``; ``--table`` prints those that are there, as the README shows them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"
BASELINES = ("random", "hold", "all-server", "greedy")
TRAINED = {
    "HMPPO, decision_point": ("HMPPO", "decision_point"),
    "HMPPO, joint_state": ("HMPPO", "joint_state"),
    "IPPO": ("IPPO", "separate"),
}


def rllib(*arguments: str) -> None:
    """Runs the command line; its output is shown if it fails."""
    command = [sys.executable, "-m", "rllib_mec.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def evaluated(target: str, num_ues: int, episodes: int, seed: int, folder: Path) -> dict[str, Any]:
    """Returns the metrics of ``rllib evaluate``."""
    out = folder / f"{target.replace('/', '_')[-80:]}.json"
    config = json.dumps({"scenario": "published", "num_ues": num_ues})
    arguments = ["--episodes", str(episodes), "--seed", str(seed), "--out", str(out)]
    rllib("evaluate", target, "--env", "mec", "--config", config, *arguments)
    return json.loads(out.read_text())["metrics"]


def trained(name: str, seed: int, num_ues: int, folder: Path) -> str:
    """Trains one run and returns its checkpoint."""
    algorithm, critic = TRAINED[name]
    example = ROOT / "tuned_examples" / f"hmppo-published-{num_ues}ue.yaml"
    (form,) = yaml.safe_load(example.read_text()).values()
    form["run"] = algorithm
    form["config"] |= {"critic": critic, "seed": seed}
    run = f"{algorithm}-{critic}-{seed}"
    file = folder / f"{run}.yaml"
    file.write_text(yaml.safe_dump({run: form}))
    rllib("train", "file", str(file), "--storage-path", str(folder))
    return str(next((folder / run).glob("*/checkpoint_*")))


def table(report: dict[str, Any]) -> str:
    """Returns the results as Markdown, a row for each policy."""
    names = ("reward", "total_delay_min", "perplexity", "emulator_changes")
    lines = [
        "| algorithm | seed | reward | delay, min | perplexity | emulator changes | score |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        low, high = row["metrics"]["reward"]["ci95"]
        reward = f"{row['metrics']['reward']['mean']:.2f} ± {(high - low) / 2:.2f}"
        means = [f"{row['metrics'][name]['mean']:.2f}" for name in names[1:]]
        cells = [row["algorithm"], str(row.get("training_seed", "")), reward, *means]
        lines.append(f"| {' | '.join([*cells, format(row['score'], '.3f')])} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--num-ues", type=int, default=6, choices=(6, 7, 8, 9))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--episodes", type=int, default=500)
    parser.add_argument("--evaluation-seed", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--table", action="store_true", help="print the kept results, run nothing")
    args = parser.parse_args()
    out = RESULTS / f"published_{args.num_ues}ue.json"
    if args.table:
        print(table(json.loads(out.read_text())))
        return
    scoring = (args.num_ues, args.episodes, args.evaluation_seed)
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(args.jobs) as pool:
        folder = Path(temporary)
        scores = {name: evaluated(name, *scoring, folder) for name in BASELINES}
        pairs = list(itertools.product(TRAINED, args.seeds))

        def run(pair: tuple[str, int]) -> dict[str, Any]:
            name, seed = pair
            metrics = evaluated(trained(name, seed, args.num_ues, folder), *scoring, folder)
            print(f"{name}, seed {seed}: reward {metrics['reward']['mean']:.2f}", flush=True)
            return {"algorithm": name, "training_seed": seed, "metrics": metrics}

        rows = [{"algorithm": name, "metrics": metrics} for name, metrics in scores.items()]
        rows += pool.map(run, pairs)
    worst, best = (scores[name]["reward"]["mean"] for name in ("random", "hold"))
    for row in rows:
        row["score"] = (row["metrics"]["reward"]["mean"] - worst) / (best - worst)
    report = {
        "command": f"python tests/benchmarks/published.py {' '.join(sys.argv[1:])}".strip(),
        "evaluation": {"episodes": args.episodes, "seed": args.evaluation_seed},
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in ("rllib_mec", "ray", "torch", "numpy")},
        },
        "rows": rows,
    }
    RESULTS.mkdir(exist_ok=True)
    out.write_text(json.dumps(report, indent=1) + "\n")
    print(table(report))


if __name__ == "__main__":
    main()
