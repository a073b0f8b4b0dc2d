"""Results of studies as `rllib study` leaves them, made up."""

import json

import numpy as np
import pyarrow as pa
from pyarrow import parquet

METRICS = ("reward", "total_delay_min", "perplexity", "emulator_changes")

TRAINED = {
    "HMPPO, decision_point": ("HMPPO", "decision_point", 0.0),
    "HMPPO, joint_state": ("HMPPO", "joint_state", 4.0),
    "IPPO": ("IPPO", "separate", 0.0),
}
"""Algorithm, critic, and how much reward is missing to hold."""


def origin(name):
    return {
        "name": name,
        "command": f"rllib study tuned_examples/studies/{name}.yaml",
        "seconds": 5025.5,
        "steps": 300_000,
        "versions": {"rllib_mec": "0.1.0", "ray": "2.60.0"},
        "spec": {"name": name, "seeds": [0, 1, 2, 3]},
    }


def row(variant, algorithm, num_ues, reward, **others):
    """A row of runs.parquet: a baseline, unless `others` say something else."""
    delay = -8.0 * (reward + 98) + num_ues
    metrics = {
        "reward": reward,
        "total_delay_min": delay,
        "perplexity": 21.0 + 0.001 * delay,
        "emulator_changes": float(num_ues) + delay / 10,
    }
    return {
        "study": "table1",
        "variant": variant,
        "algorithm": algorithm,
        "critic": None,
        "kind": "baseline",
        "trained_ues": None,
        "num_ues": num_ues,
        "seed": None,
        "steps": None,
        "episodes": 500,
        **metrics,
        **{f"{name}_se": 0.1 for name in METRICS},
        **others,
    }


def baselines(num_ues):
    none = dict.fromkeys((*METRICS[1:], *(f"{name}_se" for name in METRICS)))
    oracle = {"kind": "bound", **none}
    return [
        row("random", "random", num_ues, -117.0 - 10 * num_ues),
        row("hold", "hold", num_ues, -100.0 - 0.5 * num_ues),
        row("oracle", "oracle", num_ues, -99.5 - 0.5 * num_ues, **oracle),
    ]


def trained(variant, num_ues, seed, rng):
    algorithm, critic, missing = TRAINED[variant]
    reward = -100.0 - 0.5 * num_ues - missing * (1 + 0.3 * seed) + 0.1 * rng.standard_normal()
    training = {"trained_ues": num_ues, "seed": seed, "steps": 300_000}
    others = {"critic": critic, "kind": "trained", **training}
    return row(variant, algorithm, num_ues, reward, **others)


def curve(run, rng, points=25):
    """Rows of curves.parquet: from near random to what the run has reached."""
    rows = []
    for steps in np.linspace(12_000, 300_000, points).astype(int):
        left = 80 * np.exp(-steps / 40_000) + rng.exponential(0.3)
        reached = row(run["variant"], run["algorithm"], run["num_ues"], run["reward"] - left)
        kept = ("study", "variant", "algorithm", "critic", "num_ues", "seed")
        same = {key: run[key] for key in kept}
        rows.append({**same, "steps": int(steps), **{name: reached[name] for name in METRICS}})
    return rows


def make(num_ues=(6, 8), seeds=4, variants=tuple(TRAINED)):
    """Returns rows of runs.parquet and of curves.parquet."""
    rng = np.random.default_rng(0)
    cells = [(variant, n, s) for n in num_ues for variant in variants for s in range(seeds)]
    runs = [trained(*cell, rng) for cell in cells]
    curves = [point for run in runs for point in curve(run, rng)]
    return [baseline for n in num_ues for baseline in baselines(n)] + runs, curves


def write(folder, runs, curves, name="table1", **changes):
    """Writes the directory of a study and returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(runs), folder / "runs.parquet")
    # Where there are none, the columns are there all the same.
    rows = curves or make(num_ues=(6,), seeds=1)[1]
    parquet.write_table(pa.Table.from_pylist(rows).slice(0, len(curves)), folder / "curves.parquet")
    (folder / "study.json").write_text(json.dumps(origin(name) | changes))
    return folder
