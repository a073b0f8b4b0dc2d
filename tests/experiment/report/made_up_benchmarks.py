"""Results of a study without UEs, made up so that its table can be told by hand."""

import json

from rllib_mec.experiment.study import results
from rllib_mec.experiment.study.metrics import MetricNames

NAMES = MetricNames(("reward", "theirs"))
PUBLISHED = {
    "metric": "theirs",
    "returns": [{"algorithm": "MAPPO", "value": -20.0, "steps": 4000, "source": "a paper"}],
}


def run(variant, algorithm, reward, seed=None, steps=4000, **others):
    """A policy's evaluation; ``theirs`` is twice the reward."""
    return {
        "study": "walk",
        "variant": variant,
        "algorithm": algorithm,
        "critic": None,
        "kind": "baseline" if seed is None else "trained",
        "trained_ues": None,
        "num_ues": None,
        "seed": seed,
        "steps": None if seed is None else steps,
        "episodes": 100,
        "train_seconds": None if seed is None else 2.0,
        "reward": reward,
        "theirs": 2 * reward,
        "reward_se": 0.5,
        "theirs_se": 1.0,
    } | others


def runs():
    """HMPPO -8 ± 1, IPPO -11 ± 1, of PPO, with a quarter of the steps, one seed of -30."""
    rows = [run("still", "still", -40.0)]
    for seed, noise in enumerate((-1.0, 0.0, 1.0)):
        rows.append(run("HMPPO", "HMPPO", -8.0 + noise, seed))
        rows.append(run("IPPO", "IPPO", -11.0 + noise, seed))
    return [*rows, run("PPO", "PPO", -30.0, 0, steps=1000)]


def curves(rows):
    """Straight lines of rewards: 10 less 1,000 steps before the end."""
    kept = ("study", "variant", "algorithm", "critic", "num_ues", "seed")
    trained = [row for row in rows if row["kind"] == "trained"]
    return [
        {name: row[name] for name in kept}
        | {"steps": steps, "reward": reward, "theirs": 2 * reward}
        for row in trained
        for steps in (row["steps"] - 900, row["steps"])
        for reward in [row["reward"] - (row["steps"] - steps) / 100]
    ]


def write(folder, rows=None, name="walk", **changes):
    """Writes the directory of a study and returns it."""
    rows = runs() if rows is None else rows
    folder.mkdir(parents=True)
    results.write(folder / results.RUNS, rows, results.runs_schema(NAMES))
    results.write(folder / results.CURVES, curves(rows), results.curves_schema(NAMES))
    about = {
        "name": name,
        "command": f"rllib study {name}.yaml",
        "seconds": 60.0,
        "steps": 4000,
        "versions": {"rllib_mec": "0.1.0"},
        "spec": {"env": "walk", "published": PUBLISHED},
        "metrics": list(NAMES.metrics),
        "decisions": [],
    }
    (folder / results.ABOUT).write_text(json.dumps(about | changes))
    return folder
