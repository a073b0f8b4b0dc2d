"""Measures what the scenario ``field`` costs: training, the environment, and a decision.

    python tests/benchmarks/field.py --checkpoint DIR --out tests/benchmarks/results/field.json

* Training steps per second of ``field`` over ``published``, with the settings of the tuned example
  of ``field`` in both, and with each case head; one iteration after the other in turn.
* The batched environment alone.
* Milliseconds per decision for 64 UEs: the policy of the checkpoint in DIR, of the
  example for 64 UEs, against coordinate-wise greedy in the same situations; one environment at a
  time and 64 at a time.

Everything on one thread, in this process; ratios are medians over the rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from process import machine, start

EXAMPLE = Path(__file__).parents[2] / "tuned_examples" / "hmppo-field-6ue.yaml"
TASKS = 50
WARM_UP = 2
"""Rounds that do not count."""


def training_rates(rounds: int) -> dict[str, list[float]]:
    """Returns steps per second of each training, round by round."""
    from systems import Training

    from rllib_mec.experiment.plan import prepare
    from rllib_mec.experiment.spec import read_file

    trainings = {}
    for name, scenario, head in (
        ("published", "published", "factorised"),
        ("field, factorised", "field", "factorised"),
        ("field, autoregressive", "field", "autoregressive"),
        ("published, autoregressive", "published", "autoregressive"),
    ):
        (experiment,) = read_file(EXAMPLE, {})
        experiment.form.config["env_config"]["scenario"] = scenario
        experiment.form.config["case_head"] = head
        config = prepare(experiment).configs[0]
        steps = config.train_batch_size_per_learner
        trainings[name] = Training(config, steps)
    return _in_turn({name: training.iterate for name, training in trainings.items()}, rounds)


def environment_rates(rounds: int) -> dict[str, list[float]]:
    """Returns steps per second of the environment alone, 64 of 8 UEs each."""
    from environment import NUM_DRAWN, draw_actions, steps_per_second

    from rllib_mec.envs import BatchedMECEnv

    rng = np.random.default_rng(0)
    calls = {}
    for name in ("published", "field"):
        env = BatchedMECEnv({"scenario": name, "num_ues": 8}, 64)
        env.reset(0)
        actions = [draw_actions(env, rng) for _ in range(NUM_DRAWN)]
        calls[name] = (env, actions)
    rates: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, (env, actions) in calls.items():
            rates[name].append(steps_per_second(env, actions, 0.3))
    return rates


def decision_times(checkpoint: Path, num_envs: int, steps: int) -> dict[str, list[float]]:
    """Returns milliseconds per decision of an environment, step by step, and rewards."""
    from rllib_mec.baselines import coordinate
    from rllib_mec.envs import CASE_DECISION, EMULATOR_CONFIG
    from rllib_mec.experiment.checkpoints import reading
    from rllib_mec.experiment.checkpoints.policies import trained_policy
    from rllib_mec.hmppo.sampling.batched_env import batched

    loaded = reading.read(checkpoint.absolute(), None, {}, trust=False)
    loaded.config.callbacks_class = []
    single = loaded.env.check(loaded.env_config)
    env: Any = batched(single, num_envs)
    policy = trained_policy(loaded, single)
    assert policy is not None
    observations = env.reset(0)
    times: dict[str, list[float]] = {"HMPPO": [], "greedy-coordinate": []}
    for step in range(steps + WARM_UP):
        began = time.perf_counter()
        actions = policy.act(env, observations)
        between = time.perf_counter()
        coordinate.best_actions(env.scenario, env.simulator.situation)
        ended = time.perf_counter()
        if step >= WARM_UP:
            times["HMPPO"].append((between - began) / num_envs * 1e3)
            times["greedy-coordinate"].append((ended - between) / num_envs * 1e3)
        both = {agent: actions[agent] for agent in (CASE_DECISION, EMULATOR_CONFIG)}
        observations, _, _, truncated = env.step(both)
        if truncated:
            observations = env.reset()
    return times


def _in_turn(calls: dict[str, Callable[[], int]], rounds: int) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + WARM_UP):
        for name, call in calls.items():
            began = time.perf_counter()
            steps = call()
            if number >= WARM_UP:
                rates[name].append(steps / (time.perf_counter() - began))
    return rates


def _summary(values: dict[str, list[float]], over: str, digits: int = 1) -> dict[str, Any]:
    """Medians, ranges, and medians of the ratios to ``over`` in the same round."""
    return {
        name: {
            "median": round(statistics.median(own), digits),
            "range": [round(min(own), digits), round(max(own), digits)],
            f"over {over}": round(
                statistics.median(a / b for a, b in zip(own, values[over], strict=True)), 4
            ),
        }
        for name, own in values.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--checkpoint", type=Path, help="of the example for 64 UEs")
    parser.add_argument("--out", type=Path, help="a .json file to write")
    args = parser.parse_args()
    start()
    result: dict[str, Any] = {
        "machine": machine(),
        "training, steps/s": _summary(training_rates(args.rounds), "published"),
        "environment alone, steps/s": _summary(environment_rates(args.rounds // 4), "published"),
    }
    if args.checkpoint is not None:
        for num_envs in (1, 64):
            times = decision_times(args.checkpoint, num_envs, args.rounds)
            key = f"decision, ms, {num_envs} at a time"
            result[key] = _summary(times, "greedy-coordinate", 4)
    print(json.dumps(result, indent=1))
    if args.out is not None:
        args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
