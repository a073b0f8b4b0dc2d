"""A tuned example as a job on two nodes, undisturbed and with a rollout worker killed in mid-run.

    python tests/cluster/recorded_run.py --out tests/cluster/recorded_run.json

One rollout worker is on each node. Both runs must end well and take exactly the same number of
steps: what a killed worker did not deliver is sampled by the other one.
"""

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import yaml
from heads import ROOT, Head, head

EXAMPLE = ROOT / "tuned_examples" / "hmppo-published-6ue.yaml"
NAME = "hmppo-published-6ue"
STEPS = "num_env_steps_sampled_lifetime"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=300_000, help="of each run")
    parser.add_argument("--out", type=Path, help="a JSON file to write")
    arguments = parser.parse_args()
    # As fast as the driver, as on nodes of their own.
    with head(2, env={"RAY_worker_niceness": "0"}) as cluster:
        cluster.add(1)
        runs = {
            "undisturbed": train(cluster, arguments.steps, kill=False),
            "killed": train(cluster, arguments.steps, kill=True),
        }
    record = {
        "example": str(EXAMPLE.relative_to(ROOT)),
        "cluster": "2 nodes on one machine, a rollout worker on each (env_runners_per_node: 1)",
        "steps": arguments.steps,
        "runs": runs,
        "machine": {"cpus": os.cpu_count(), "system": platform.system()},
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("ray", "torch", "numpy")},
        },
    }
    text = json.dumps(record, indent=1)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")
    undisturbed, killed = runs.values()
    well = undisturbed["exit_code"] == killed["exit_code"] == 0
    return int(not (well and undisturbed["env_steps"] == killed["env_steps"]))


def train(cluster: Head, steps: int, kill: bool) -> dict[str, object]:
    """Submits the example and waits for its end; returns what is recorded.

    Args:
        cluster: two nodes, for a main process and two rollout workers.
        steps: when to end.
        kill: whether a rollout worker of the second node gets a SIGKILL after half of the steps.
    """
    folder = cluster.folder / f"kill-{kill}"
    folder.mkdir()
    form = yaml.safe_load(EXAMPLE.read_text())[NAME]
    form["stop"] = {STEPS: steps}
    form["env_runners_per_node"] = 1
    form["config"]["num_env_runners"] = 2
    (folder / "f.yaml").write_text(yaml.safe_dump({NAME: form}))
    log = folder / "log"
    began = time.monotonic()
    with log.open("w") as stream:
        job = subprocess.Popen(
            [
                *[sys.executable, "-m", "rllib_mec.cli", "submit", "f.yaml"],
                *["--address", cluster.dashboard, "--storage-path", str(folder / "results")],
            ],
            cwd=folder,
            env={**cluster.env, "PYTHONPATH": str(ROOT)},
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    killed_at = None
    while job.poll() is None:
        time.sleep(0.5)
        # The log, as Tune brings results to where they are kept only with checkpoints.
        told = re.findall(r"^([\d,]+)/[\d,]+ steps", log.read_text(), re.MULTILINE)
        reached = int(told[-1].replace(",", "")) if told else 0
        if kill and killed_at is None and reached >= steps / 2:
            (pid,) = runners(cluster)
            os.kill(pid, signal.SIGKILL)
            killed_at = reached
    print(log.read_text(), file=sys.stderr)
    rows = results(folder)
    sampled = [row["env_runners"].get("num_env_steps_sampled", 0) for row in rows]
    return {
        "exit_code": job.returncode,
        "env_steps": rows[-1][STEPS],
        "iterations": rows[-1]["training_iteration"],
        "iterations_of_other_sizes": sorted(
            (row["training_iteration"], round(size))
            for row, size in zip(rows, sampled, strict=True)
            if size != sampled[0]
        ),
        "killed_after_steps": killed_at,
        "runner_restarts": rows[-1]["fault_tolerance"]["num_remote_worker_restarts"],
        "trial_restarts": len(re.findall("is started again", log.read_text())),
        "reward_at_the_end": round(rows[-1]["env_runners"]["episode_metrics"]["reward"], 2),
        "seconds": round(time.monotonic() - began),
    }


def results(folder: Path) -> list[dict]:
    """Returns the results so far."""
    return [
        json.loads(line)
        for file in folder.glob("results/*/*/result.json")
        for line in file.read_text().splitlines(keepends=True)
        if line.endswith("\n")
    ]


def runners(cluster: Head) -> list[int]:
    """Returns the process ids of the rollout workers on the second node."""
    return [
        each.pid
        for each in cluster.nodes[1].processes()
        if "EnvRunner" in " ".join(each.cmdline()[:1])
    ]


if __name__ == "__main__":
    sys.exit(main())
