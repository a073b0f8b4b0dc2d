"""Measures an iteration with 1 to 8 runners on 1 to 3 nodes, and fits what each part costs.

    python tests/benchmarks/scale.py

The nodes are raylets on this machine: their runners share its cores, but talk to the learner as
runners elsewhere do, and each node has an object store of its own. The work is that of the tuned
example of 8 UEs with larger batches: 64 or 256 environments altogether, an episode of 50 steps of
each is an iteration.
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
from process import HERE, machine

TASKS = 50
ITERATIONS, WARM_UP = 30, 5
TOTAL_ENVS = (64, 256)
PLACES = ((1, 1), (1, 2), (1, 4), (1, 8), (2, 2), (2, 4), (2, 8), (3, 3), (3, 8))
"""(nodes, runners)."""

NODES_TO_PREDICT = (1, 2, 8, 32, 100)
"""With one runner on each."""

NETWORK_BYTES_PER_S = 10e9 / 8
"""Assumed between nodes, and into the learner's; it cannot be measured on one machine."""


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
            for part in ("all", "sampling", "trial", "learning", "sync")
        },
    }


def fit(rows: list[dict[str, Any]], cores: int) -> dict[str, Any]:
    """Fits what each part of an iteration costs, by least squares of relative errors.

    ``trial_s``, of the trial's own process, from all rows; ``runner_s``, what a runner does beside
    the others, from the rows in which every runner has a core. With more runners than cores they
    take turns, so that the whole model can be compared with what was measured there.
    """
    alone = [row | {"runner_s": row["sampling_s"] - row["trial_s"]} for row in rows]
    alone = [row for row in alone if row["runners"] <= cores]
    model = {
        "trial_s": _solve(rows, "trial_s", ["iteration", "runner", "step"]),
        "runner_s": _solve(alone, "runner_s", ["iteration", "step_of_a_runner"]),
        "learning_s": _solve(rows, "learning_s", ["step"]),
        "sync_s": _solve(rows, "sync_s", ["iteration", "runner"]),
        "store_bytes_per_iteration": _solve(
            rows, "store_bytes_per_iteration", ["step", "step_sent", "runner"]
        ),
    }
    errors = [
        abs(1 - sum(seconds_of(model, row, cores).values()) / row["all_s"])
        for row in rows
        if row["runners"] > cores
    ]
    return model | {"median_error_of_crowded_rows": round(statistics.median(errors), 3)}


_FEATURES = {
    "iteration": lambda row: 1.0,
    "runner": lambda row: row["runners"],
    "step": lambda row: row["steps"],
    "step_of_a_runner": lambda row: row["steps"] / row["runners"],
    "step_sent": lambda row: row["steps"] * (1 - 1 / row["nodes"]),
}


def _solve(rows: list[dict[str, Any]], target: str, columns: list[str]) -> dict[str, float]:
    from scipy.optimize import nnls

    measured = np.array([row[target] for row in rows], float)
    features = np.array([[_FEATURES[column](row) for column in columns] for row in rows])
    found, _ = nnls(features / measured[:, None], np.ones(len(rows)))
    return {column: float(f"{value:.3g}") for column, value in zip(columns, found, strict=True)}


def _value(model: dict[str, Any], part: str, row: dict[str, Any]) -> float:
    return sum(coefficient * _FEATURES[c](row) for c, coefficient in model[part].items())


def seconds_of(model: dict[str, Any], row: dict[str, Any], cores: int) -> dict[str, float]:
    """Returns what the model says of a row whose runners share ``cores``."""
    turns = max(row["runners"] / cores, 1.0)
    return {
        "trial_s": _value(model, "trial_s", row),
        "runner_s": _value(model, "runner_s", row) * turns,
        "learning_s": _value(model, "learning_s", row),
        "sync_s": _value(model, "sync_s", row),
    }


def predict(model: dict[str, Any], runners: int, steps: int) -> dict[str, float]:
    """Returns what the model says of runners on a node each, with a core each."""
    row = {"nodes": runners, "runners": runners, "steps": steps}
    parts = seconds_of(model, row, runners)
    sent = model["store_bytes_per_iteration"]["step_sent"] * _FEATURES["step_sent"](row)
    parts["network_s"] = sent / NETWORK_BYTES_PER_S
    return {
        "nodes": runners,
        "steps": steps,
        **{part: float(f"{seconds:.3g}") for part, seconds in parts.items()},
        "steps_per_s": round(steps / sum(parts.values())),
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
            predict(model, nodes, steps)
            for steps in (12_800, 128_000)
            for nodes in NODES_TO_PREDICT
        ],
    }
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    for row in rows + result["predicted"]:
        print(json.dumps(row))


if __name__ == "__main__":
    main()
