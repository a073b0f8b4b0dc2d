"""What all measuring processes share: how they start, what machine they are on, and children."""

from __future__ import annotations

import json
import logging
import os
import platform
import subprocess
import sys
import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def start(num_env_runners: int = 0) -> None:
    """Starts a Ray of this process's own, with everything on one thread."""
    os.environ["OMP_NUM_THREADS"] = "1"  # Ray's workers inherit it
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    import ray
    import torch

    from rllib_mec.registry import register

    torch.set_num_threads(1)
    ray.init(
        address="local",
        include_dashboard=False,
        num_cpus=1 + num_env_runners,
        log_to_driver=False,
        logging_level="ERROR",
    )
    register()


def in_new_process(script: str, argument: Any, env: Mapping[str, str] | None = None) -> Any:
    """Runs a script of this folder with ``argument``; both this and its last line are JSON."""
    command = [sys.executable, str(HERE / script), json.dumps(argument)]
    done = subprocess.run(
        command, env=os.environ | dict(env or {}), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def machine() -> dict[str, Any]:
    """Returns what the numbers depend on besides the code."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next((x.split(":")[1].strip() for x in info.splitlines() if "model name" in x), "")
    return {
        "cpu": model or platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{package: version(package) for package in ("ray", "torch", "numpy")},
    }
