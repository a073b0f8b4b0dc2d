"""Carries out one unit: trains all its seeds, evaluates each, and returns the rows."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rllib_mec.experiment.evaluate import evaluate
from rllib_mec.experiment.plan import Plan
from rllib_mec.experiment.progress import STEPS, metrics_of
from rllib_mec.experiment.study import results
from rllib_mec.experiment.study.results import TRAINED, Row
from rllib_mec.experiment.study.spec import with_ues
from rllib_mec.experiment.study.units import Unit
from rllib_mec.hmppo import HMPPOConfig
from rllib_mec.hmppo.stacked.trainable import MEMBERS

SECONDS_BETWEEN_CHECKPOINTS = 120.0

CURVE_SPACING = 1.02
"""A point of a training curve is kept if it has so many times the steps of the last."""

_STATE, _PROGRESS = "state", "progress.json"

Say = Callable[[int, float], None]
"""Called with the steps that each seed has taken and the mean reward, now and then."""


@dataclasses.dataclass(frozen=True)
class Done:
    """What came out of a unit: rows of ``runs.parquet`` and ``curves.parquet``, and the time."""

    runs: list[Row]
    curves: list[Row]
    seconds: float


def carry_out(unit: Unit, folder: Path, say: Say) -> Done:
    """Trains and evaluates a unit, or goes on with it.

    Args:
        folder: the unit's own: its checkpoints, from which an interrupted training goes on.
    """
    clock = _Clock()
    if unit.kind != TRAINED:
        what = _what(unit, None) | {"kind": unit.kind, "episodes": unit.episodes}
        env_config = unit.form["env_config"]
        runs = [
            what | {"num_ues": n} | _evaluated(unit, unit.form["run"], env_config, n)
            for n in unit.tested
        ]
        return Done(runs, [], clock.seconds())
    curve, checkpoints, config, train_seconds = _trained(unit, folder, say, clock)
    what = _what(unit, config.critic if isinstance(config, HMPPOConfig) else None)
    runs = [
        what
        | ({"variant": unit.variant + results.EXPLORED} if explore else {})
        | {"kind": unit.kind, "trained_ues": unit.num_ues, "num_ues": n, "seed": seed}
        | {"steps": unit.steps, "episodes": unit.episodes}
        | {"train_seconds": train_seconds and train_seconds / len(unit.seeds)}
        | _evaluated(unit, str(checkpoint), unit.form["config"]["env_config"], n, explore)
        for seed, checkpoint in checkpoints.items()
        for n in unit.tested
        for explore in ((False, True) if unit.explored else (False,))
    ]
    curves = [what | {"num_ues": unit.num_ues} | point for point in curve]
    return Done(runs, curves, clock.seconds())


def _what(unit: Unit, critic: str | None) -> Row:
    return {
        "study": unit.study,
        "variant": unit.variant,
        "algorithm": unit.form["run"],
        "critic": critic,
    }


def _evaluated(
    unit: Unit,
    target: str,
    env_config: Mapping[str, Any],
    num_ues: int | None,
    explore: bool = False,
) -> Row:
    values = evaluate(
        target,
        unit.form["env"],
        with_ues(env_config, num_ues),
        unit.episodes,
        unit.evaluation_seed,
        explore=explore,
    )
    return results.summary(values, unit.metric_names())


class _Clock:
    """Seconds that a unit has taken, those before an interruption included."""

    def __init__(self) -> None:
        self.before = 0.0
        self._start = time.monotonic()

    def seconds(self) -> float:
        return self.before + time.monotonic() - self._start


def _trained(
    unit: Unit, folder: Path, say: Say, clock: _Clock
) -> tuple[list[Row], dict[int, Path], Any, float | None]:
    """Returns points of the curves, each seed's checkpoint, the configuration, training seconds."""
    plan = unit.plan()
    plan.environment.register()
    steps, saved = _newest(folder)
    progress: dict[str, Any] = {"curve": [], "seconds": 0.0, "train_seconds": 0.0}
    if saved is not None:
        progress = json.loads((saved / _PROGRESS).read_text())
        clock.before = progress["seconds"]
    if saved is None or steps < unit.steps:
        saved = _train(unit, plan, folder, saved, progress, say, clock)
    state = saved / _STATE
    checkpoints = {s: state / f"seed_{s}" if unit.stacked else state for s in unit.seeds}
    # Unknown where an older version has begun it.
    return progress["curve"], checkpoints, plan.configs[0], progress.get("train_seconds")


def _train(
    unit: Unit,
    plan: Plan,
    folder: Path,
    saved: Path | None,
    progress: dict[str, Any],
    say: Say,
    clock: _Clock,
) -> Path:
    """Trains on from ``saved``, adds to the progress, and returns where the end is saved."""
    curve, names = progress["curve"], unit.metric_names()
    trial = plan.trainable(config=plan.param_space)
    try:
        if saved is not None:
            trial.load_checkpoint(str(saved / _STATE))
        last_save = time.monotonic()
        steps = 0
        while steps < unit.steps:
            started = time.monotonic()
            result = trial.train()
            if "train_seconds" in progress:
                progress["train_seconds"] += time.monotonic() - started
            steps = int(result[STEPS])
            due = not curve or steps >= min(CURVE_SPACING * curve[-1]["steps"], unit.steps)
            if due and (points := _points(unit, result, names.metrics)):
                curve += points
                say(steps, float(np.mean([point["reward"] for point in points])))
            if time.monotonic() - last_save > SECONDS_BETWEEN_CHECKPOINTS:
                _save(trial, folder, steps, progress | {"seconds": clock.seconds()})
                last_save = time.monotonic()
        return _save(trial, folder, steps, progress | {"seconds": clock.seconds()})
    finally:
        trial.stop()


def _points(unit: Unit, result: Mapping[str, Any], names: Sequence[str]) -> list[Row]:
    """Returns the metrics of each seed after an iteration, none before the first episode's end."""
    members = result.get(MEMBERS) or {}
    own = {s: members[f"seed_{s}"] if unit.stacked else result for s in unit.seeds}
    points = []
    for seed, of_seed in own.items():
        metrics = metrics_of(of_seed)
        if "reward" not in metrics:
            return []
        known = {name: metrics.get(name) for name in names}
        points.append({"seed": seed, "steps": int(result[STEPS]), **known})
    return points


def _newest(folder: Path) -> tuple[int, Path | None]:
    """Returns the steps of the newest saved state, and where it is."""
    saved = {int(path.name): path for path in folder.glob("[0-9]*")}
    steps = max(saved, default=0)
    return steps, saved.get(steps)


def _save(trial: Any, folder: Path, steps: int, progress: Mapping[str, Any]) -> Path:
    """Saves a training as ``folder/STEPS``, whole or not at all, in place of what is there."""
    aside, path = folder / "new", folder / str(steps)
    for old in (aside, path):
        shutil.rmtree(old, ignore_errors=True)
    aside.mkdir(parents=True)
    trial.save(str(aside / _STATE))
    (aside / _PROGRESS).write_text(json.dumps(progress))
    aside.rename(path)
    for old in folder.iterdir():
        if old != path:
            shutil.rmtree(old)
    return path
