"""Measures the wall time of ``rllib train``, start to end, against a bare loop's.

    python tests/benchmarks/end_to_end.py --out tests/benchmarks/results/end_to_end.json

Both train by the settings of one file for as many steps, each in a process of its own on one
thread for PyTorch, alternately. Start and end count: for ``rllib train`` that of Ray and of Tune,
checkpoint and results included; for the bare loop that of Python.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from process import HERE, machine

EXAMPLE = HERE.parents[1] / "tuned_examples" / "hmppo-published-6ue.yaml"


def seconds(*command: str) -> float:
    """Runs a command of this Python; its output is shown if it fails."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *command],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3, help="of both (default 3)")
    parser.add_argument("--stop", type=int, help="training steps, if not those of the file")
    parser.add_argument("--out", type=Path, help="a .json file to write")
    args = parser.parse_args()
    experiments = yaml.safe_load(EXAMPLE.read_text())
    (form,) = experiments.values()
    if args.stop is not None:
        form["stop"]["num_env_steps_sampled_lifetime"] = args.stop
    times: dict[str, list[float]] = {"rllib_train": [], "bare_loop": []}
    for _ in range(args.repeats):
        with tempfile.TemporaryDirectory() as folder:
            file = str(EXAMPLE)
            if args.stop is not None:
                file = str(Path(folder, EXAMPLE.name))
                Path(file).write_text(yaml.safe_dump(experiments))
            train = ("-m", "rllib_mec.cli", "train", "file", file, "--storage-path", folder)
            times["rllib_train"].append(seconds(*train))
            times["bare_loop"].append(seconds(str(HERE / "bare_loop.py"), file))
        print(", ".join(f"{name} {taken[-1]:.1f} s" for name, taken in times.items()), flush=True)
    medians = {name: round(statistics.median(taken), 2) for name, taken in times.items()}
    ratio = round(medians["rllib_train"] / medians["bare_loop"], 3)
    steps = form["stop"]["num_env_steps_sampled_lifetime"]
    print(f"{steps:,} steps, medians: {medians}; rllib train takes {ratio} times the bare loop's")
    if args.out is not None:
        report = {
            "machine": machine(),
            "file": f"tuned_examples/{EXAMPLE.name}",
            "steps": steps,
            "seconds": {name: [round(t, 2) for t in taken] for name, taken in times.items()},
            "median_s": medians,
            "rllib_train_over_bare_loop": ratio,
        }
        args.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
