"""Measures training steps per second: HMPPO's two ways of sampling, RLlib's PPO, a bare loop.

    python tests/benchmarks/throughput.py --out tests/benchmarks/results/throughput.json

All systems do the same work (N UEs, steps per iteration, minibatch, epochs, networks) on one
thread, one iteration after the other in turn, so that a busy moment of the machine hits them
alike; ratios are medians over the rounds. A step is one task of every UE.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

import ray  # noqa: E402
import torch  # noqa: E402
from bare_loop import BareLoop  # noqa: E402
from ray.rllib.algorithms.ppo import PPOConfig  # noqa: E402

from rllib_mec.hmppo import HMPPOConfig  # noqa: E402
from rllib_mec.hmppo.config import module_of_agent  # noqa: E402
from rllib_mec.registry import register  # noqa: E402

TASKS = 50
WORKS = {
    "large": {"num_ues": 8, "num_envs": 64, "minibatch": 400, "epochs": 10, "hidden": [128, 128]},
    "small": {"num_ues": 6, "num_envs": 8, "minibatch": 100, "epochs": 10, "hidden": [64, 64]},
}
SYSTEMS = ("stock", "episodes", "batched", "bare")


class Training:
    """An RLlib algorithm in this process, with clocks on its sampling and its learning.

    RLlib's own timers are smoothed over iterations.
    """

    def __init__(self, config: Any, steps: int) -> None:
        self.algorithm, self.steps = config.build_algo(), steps
        self.split: dict[str, list[float]] = {"sampling_s": [], "learning_s": []}
        runner, learners = self.algorithm.env_runner, self.algorithm.learner_group
        runner.sample = self._timed(runner.sample, "sampling_s")
        learners.update = self._timed(learners.update, "learning_s")

    def _timed(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            result = function(*args, **kwargs)
            self.split[name].append(time.perf_counter() - began)
            return result

        return call

    def iterate(self) -> int:
        self.algorithm.train()
        return self.steps


def hmppo(work: dict[str, Any], num_envs: int, batched: bool) -> Training:
    steps = work["num_envs"] * TASKS
    config = HMPPOConfig().environment("mec", env_config={"num_ues": work["num_ues"]})
    config.env_runners(num_env_runners=0, num_envs_per_env_runner=num_envs)
    config.training(
        batched=batched,
        train_batch_size_per_learner=steps,
        minibatch_size=work["minibatch"],
        num_epochs=work["epochs"],
        entropy_coeff=0.002,
    )
    config.rl_module(model_config={"fcnet_hiddens": work["hidden"]})
    return Training(config, steps)


def stock(work: dict[str, Any], num_envs: int) -> Training:
    steps = work["num_envs"] * TASKS
    env_config = {"num_ues": work["num_ues"], "turn_based": True}
    config = PPOConfig().environment("mec", env_config=env_config)
    config.multi_agent(
        policies={"case_decision", "emulator_config"}, policy_mapping_fn=module_of_agent
    )
    config.env_runners(num_env_runners=0, num_envs_per_env_runner=num_envs)
    config.training(
        train_batch_size_per_learner=2 * steps,  # two turns per task
        minibatch_size=work["minibatch"],
        num_epochs=work["epochs"],
        entropy_coeff=0.002,
        use_kl_loss=False,
    )
    config.rl_module(model_config={"fcnet_hiddens": work["hidden"]})
    return Training(config, steps)


def systems(work: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    fewer = min(work["num_envs"], 32)  # more only slow RLlib's own sampler down
    return {
        "stock": lambda: stock(work, fewer),
        "episodes": lambda: hmppo(work, fewer, batched=False),
        "batched": lambda: hmppo(work, work["num_envs"], batched=True),
        "bare": lambda: BareLoop(
            work["num_ues"], work["num_envs"], work["hidden"], work["minibatch"], work["epochs"]
        ),
    }


def measure(work: dict[str, Any], rounds: int) -> dict[str, Any]:
    """Runs all systems in turn, ``rounds`` times after a first one that does not count."""
    running = {name: make() for name, make in systems(work).items()}
    rates: dict[str, list[float]] = {name: [] for name in running}
    for number in range(rounds + 1):
        for name, system in running.items():
            began = time.perf_counter()
            steps = system.iterate()
            if number:
                rates[name].append(steps / (time.perf_counter() - began))

    def ratio(over: str, under: str) -> float:
        pairs = zip(rates[over], rates[under], strict=True)
        return round(statistics.median(a / b for a, b in pairs), 3)

    return {
        "work": work,
        "steps_per_s": {name: round(statistics.median(values)) for name, values in rates.items()},
        "range": {name: [round(min(v)), round(max(v))] for name, v in rates.items()},
        "ratios": {
            "batched_over_stock": ratio("batched", "stock"),
            "batched_over_episodes": ratio("batched", "episodes"),
            "batched_over_bare": ratio("batched", "bare"),
        },
        "split": {
            name: {part: round(statistics.median(v[1:]), 4) for part, v in system.split.items()}
            for name, system in running.items()
            if isinstance(system, Training)
        },
    }


def machine() -> dict[str, Any]:
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next((x.split(":")[1].strip() for x in info.splitlines() if "model name" in x), "")
    return {
        "cpu": model or platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{package: version(package) for package in ("ray", "torch", "numpy")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--quick", action="store_true", help="four rounds: under four minutes")
    parser.add_argument("--out", type=Path, help="a .json file to write")
    args = parser.parse_args()
    torch.set_num_threads(1)
    ray.init(
        address="local",
        include_dashboard=False,
        num_cpus=1,
        log_to_driver=False,
        logging_level="ERROR",
    )
    register()
    rounds = 4 if args.quick else args.rounds
    report: dict[str, Any] = {"machine": machine(), "rounds": rounds}
    for name, work in WORKS.items():
        report[name] = measured = measure(work, rounds)
        print(f"{name}: {work}")
        for system in SYSTEMS:
            rate, (low, high) = measured["steps_per_s"][system], measured["range"][system]
            print(f"  {system:<9} {rate:>7,} steps/s  ({low:,} to {high:,})")
        print(f"  {measured['ratios']}\n  {measured['split']}", flush=True)
    if args.out is not None:
        args.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
