"""Results of a study of fedpeat and of federations, made up so that tables can be told by hand."""

import json

from rllib_mec.experiment.federation.results import write_results
from rllib_mec.experiment.study import results
from rllib_mec.experiment.study.metrics import MetricNames
from rllib_mec.federated.records import Row
from rllib_mec.system.fedpeat import METRICS

NAMES = MetricNames(METRICS)


def run(variant, algorithm, reward, seed=None, seconds=None, **others):
    row = {
        "study": "fedpeat",
        "variant": variant,
        "algorithm": algorithm,
        "critic": None,
        "kind": "baseline" if seed is None else "trained",
        "trained_ues": None if seed is None else 6,
        "num_ues": 6,
        "seed": seed,
        "steps": None if seed is None else 1000,
        "episodes": 100,
        "train_seconds": seconds,
        "reward": reward,
        "log_delay": 6.0,
        "exchanges": 10.0,
        "perplexity": 16.0,
    }
    return row | {f"{name}_se": 0.5 for name in METRICS} | others


def runs():
    """Rewards of SABPPO 101 ± 1, HMPPO 100 ± 1, PPO 90, one seed; seconds 2, 4, unknown."""
    rows = [run("hold", "hold", 80.0), run("random", "random", 101.0)]
    for seed, noise in enumerate((-1.0, 0.0, 1.0)):
        rows.append(run("SABPPO", "SABPPO", 101.0 + noise, seed, 2.0 + noise / 10))
        rows.append(run("HMPPO, 3 agents", "HMPPO", 100.0 + noise, seed, 4.0))
    rows.append(run("SABPPO, explored", "SABPPO", 95.0, 0, 2.0))
    rows.append(run("PPO", "PPO", 90.0, 0))
    return rows


def curves(rows):
    kept = ("study", "variant", "algorithm", "critic", "num_ues", "seed", *METRICS)
    trained = [row for row in rows if row["kind"] == "trained" and "expl" not in row["variant"]]
    return [
        {name: row[name] for name in kept} | {"steps": steps, "reward": row["reward"] - 1e4 / steps}
        for row in trained
        for steps in (100, 300, 1000)
    ]


def write(folder, rows=None, name="fedpeat", **changes):
    """Writes the directory of a study and returns it."""
    rows = runs() if rows is None else rows
    folder.mkdir(parents=True)
    results.write(folder / results.RUNS, rows, results.runs_schema(NAMES))
    results.write(folder / results.CURVES, curves(rows), results.curves_schema(NAMES))
    about = {
        "name": name,
        "command": f"rllib study {name}.yaml",
        "seconds": 60.0,
        "steps": 1000,
        "versions": {"rllib_mec": "0.1.0"},
        "spec": {"env": "fedpeat"},
        "metrics": list(METRICS),
        "decisions": [],
    }
    (folder / results.ABOUT).write_text(json.dumps(about | changes))
    return folder


def federation(case, seed, number, perplexity, adapters=0, emulators=0, models=0):
    """A round; bytes of adapters and models go in both directions."""
    return Row(
        case,
        seed,
        number,
        perplexity,
        adapter_bytes_down=adapters,
        adapter_bytes_up=adapters,
        emulator_bytes_down=emulators,
        model_bytes_down=models,
        model_bytes_up=models,
        seconds=float(adapters + models) / 1e6,
        wall_seconds=1.0,
        selected=2,
        used=2,
        dropped=0,
        late=0,
        refused=0,
        failed=0,
        server_used=1,
        exchanges=int(emulators > 0 or models > 0) * 2,
        peak_memory_bytes=(1, 2),
        events=(),
    )


def write_federations(path):
    """Two seeds of two rounds; FedPEAT sends its emulators in the first one only."""
    rows = []
    for seed in (0, 1):
        rows += [
            federation("fedpeat", seed, 0, 100.0),
            federation("fedpeat", seed, 1, 80.0, adapters=1_000_000, emulators=2_000_000),
            federation("fedpeat", seed, 2, 60.0 + 6 * seed, adapters=1_000_000),
            federation("fl", seed, 0, 100.0),
            federation("fl", seed, 1, 70.0, models=6_000_000),
            federation("fl", seed, 2, 60.0, models=6_000_000),
        ]
    write_results(path, rows, {"model": "made up"})
    return path
