"""Measures an iteration with 1 to 8 runners on 1 to 3 nodes, and fits what each part costs.

    python tests/benchmarks/scale.py

The nodes are raylets on this machine: their runners share its cores, but talk to the learner as
runners elsewhere do, and each node has an object store of its own. The work is that of the tuned
example of 8 UEs with larger batches: 64 or 256 environments altogether, an episode of 50 steps of
each is an iteration. Two parts of the model are of the machine (seconds of sampling and of learning
per step), three of Ray (per iteration, per runner, per step sent).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from process import HERE, machine

TASKS = 50
ITERATIONS, WARM_UP = 40, 5
TOTAL_ENVS = (64, 256)
PLACES = ((1, 1), (1, 2), (1, 4), (1, 8), (2, 2), (2, 4), (2, 8), (3, 3), (3, 8))
"""(nodes, runners)."""

RUNNERS_TO_PREDICT = (1, 8, 32, 100, 300)
"""One on a node: 100 runners are 100 nodes."""


def form(nodes: int, runners: int, num_envs: int, storage: str) -> dict[str, Any]:
    """Returns the experiment that is measured."""
    per_runner = -(-num_envs // runners)
    return {
        "run": "HMPPO",
        "env": "mec",
        "stop": {"training_iteration": ITERATIONS},
        "storage_path": storage,
        "checkpoint_config": {"checkpoint_at_end": False, "checkpoint_frequency": 0},
        "env_runners_per_node": -(-runners // nodes),
        "config": {
            "env_config": {"num_ues": 8, "num_tasks": TASKS},
            "num_env_runners": runners,
            "num_envs_per_env_runner": per_runner,
            "train_batch_size_per_learner": per_runner * runners * TASKS,
            "rollout_fragment_length": TASKS,
            "minibatch_size": 400,
            "num_epochs": 3,
            "entity_shared": True,
            "callbacks_class": "scale_clock:Clock",
        },
    }


def measure(cluster: Any, nodes: int, runners: int, num_envs: int) -> dict[str, Any]:
    """Trains for some iterations; returns medians of the later ones."""
    with tempfile.TemporaryDirectory() as storage:
        file = Path(storage, "scale.yaml")
        file.write_text(json.dumps({"scale": form(nodes, runners, num_envs, storage)}))
        # Both folders: modules of a user's own are imported here, too, to be checked.
        env = {"PYTHONPATH": cluster.env["PYTHONPATH"]}
        arguments = ("train", "file", str(file), "--address", cluster.address)
        done = cluster.run("-m", "rllib_mec.cli", *arguments, env=env)
        if done.returncode:
            raise SystemExit(f"{nodes} nodes, {runners} runners: {done.stdout}{done.stderr}")
        (file,) = Path(storage).glob("scale/*/result.json")
        rows = [json.loads(line) for line in file.read_text().splitlines()][WARM_UP:]
    clocks = [row["clock"] for row in rows]
    steps = {row["env_runners"]["num_env_steps_sampled"] for row in rows}
    if len(steps) != 1 or {clock["nodes"] for clock in clocks} != {nodes}:
        raise SystemExit(f"{nodes} nodes, {runners} runners: was not placed so: {clocks[-1]}")
    first, *_, last = (clock["store_bytes"] for clock in clocks)
    (batch,) = steps
    return {
        "nodes": nodes,
        "runners": runners,
        "steps": int(batch),
        "store_bytes_per_iteration": round((last - first) / (len(rows) - 1)),
        "steps_per_s": round(batch / statistics.median(clock["all"] for clock in clocks)),
        **{
            f"{part}_s": round(statistics.median(clock[part] for clock in clocks), 5)
            for part in ("all", "sampling", "learning", "sync")
        },
    }


def fit(rows: list[dict[str, Any]], cores: int) -> dict[str, Any]:
    """Fits the parts of an iteration, least squares with coefficients >= 0.

    sampling = a + b * runners + c * steps / min(runners, cores) + d * steps;
    learning = e * steps; sync = f + g * runners; bytes = h * steps + i * runners. Each point is
    weighted by what was measured, so that relative errors count.
    """

    def solve(columns: list[str], target: str) -> tuple[dict[str, float], float]:
        features = np.array([[_FEATURES[c](row, cores) for c in columns] for row in rows])
        measured = np.array([row[target] for row in rows], float)
        found = _non_negative(features / measured[:, None], np.ones(len(rows)))
        errors = np.abs(features @ found / measured - 1)
        return dict(zip(columns, found.tolist(), strict=True)), float(np.median(errors))

    parts = {
        "sampling_s": ["iteration", "runner", "step_of_a_core", "step"],
        "learning_s": ["step"],
        "sync_s": ["iteration", "runner"],
        "store_bytes_per_iteration": ["step", "runner"],
    }
    fitted = {target: solve(columns, target) for target, columns in parts.items()}
    return {
        target: {"per": coefficients, "median_relative_error": round(error, 3)}
        for target, (coefficients, error) in fitted.items()
    }


_FEATURES = {
    "iteration": lambda row, cores: 1.0,
    "runner": lambda row, cores: row["runners"],
    "step_of_a_core": lambda row, cores: row["steps"] / min(row["runners"], cores),
    "step": lambda row, cores: row["steps"],
}


def _non_negative(features: NDArray[np.float64], target: NDArray[np.float64]) -> Any:
    from scipy.optimize import nnls

    return nnls(features, target)[0]


def predict(model: dict[str, Any], runners: int, steps: int) -> dict[str, float]:
    """Returns what the model says of runners that have a core each."""
    row = {"runners": runners, "steps": steps}
    parts = {
        target: sum(
            coefficient * _FEATURES[column](row, runners)
            for column, coefficient in model[target]["per"].items()
        )
        for target in ("sampling_s", "learning_s", "sync_s", "store_bytes_per_iteration")
    }
    seconds = sum(value for target, value in parts.items() if target.endswith("_s"))
    return {
        "runners": runners,
        "steps": steps,
        **{target: float(f"{value:.3g}") for target, value in parts.items()},
        "steps_per_s": round(steps / seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=HERE / "results" / "scale.json")
    arguments = parser.parse_args()
    sys.path += [str(HERE), str(HERE.parent / "cluster")]
    from heads import ROOT, head

    cores = os.cpu_count() or 1
    env = {"PYTHONPATH": f"{HERE}{os.pathsep}{ROOT}", "RAY_worker_niceness": "0"}
    with head(num_cpus=9, env=env) as cluster:
        for _ in range(2):
            cluster.add(8)
        rows = [
            measure(cluster, nodes, runners, num_envs)
            for num_envs in TOTAL_ENVS
            for nodes, runners in PLACES
        ]
    model = fit(rows, cores)
    result = {
        "command": "python tests/benchmarks/scale.py",
        "machine": machine(),
        "measured": rows,
        "model": model,
        "predicted": [
            predict(model, runners, steps)
            for steps in (12_800, 128_000)
            for runners in RUNNERS_TO_PREDICT
        ],
    }
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    for row in rows + result["predicted"]:
        print(json.dumps(row))


if __name__ == "__main__":
    main()
