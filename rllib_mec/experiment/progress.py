"""What a run prints: a line every few seconds, and the results at its end."""

from __future__ import annotations

import math
import numbers
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ray.tune import Callback

from rllib_mec.experiment import search_space
from rllib_mec.experiment.interrupt import say
from rllib_mec.hmppo.stacked.trainable import MEMBERS
from rllib_mec.source import KeyPath
from rllib_mec.system import DECISIONS

SECONDS_BETWEEN_LINES = 5.0

STEPS = "num_env_steps_sampled_lifetime"

_STEADY = (STEPS, "training_iteration", "time_total_s")
"""Results that grow evenly, so that the time until they reach a value can be told."""


class Progress(Callback):
    """Prints lines such as ``12,800/2,000,000 steps  6,100/s  5m 25s left  reward -1.23``.

    Args:
        stop: the stop criteria, flat.
        num_trials: how many trials there will be.
        searched: where the trials' configs differ.
    """

    def __init__(
        self, stop: Mapping[str, float], num_trials: int, searched: Sequence[KeyPath] = ()
    ) -> None:
        self._stop = dict(stop)
        self._num_trials = num_trials
        self._searched = list(searched)
        self._last_line = -math.inf
        self._starts: dict[str, tuple[float, dict[str, Any]]] = {}
        self._unprinted: dict[str, str] = {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Forgets where a trial began that is started again, from a checkpoint."""
        self._starts.pop(trial.trial_id, None)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Prints a line, unless the last is too fresh."""
        now = time.monotonic()
        began, first = self._starts.setdefault(
            trial.trial_id, (now - result.get("time_this_iter_s", 0.0), _before(result))
        )
        line = progress_line(result, self._stop, first, now - began)
        if self._num_trials > 1:
            done = sum(trial.is_finished() for trial in trials)
            line = f"[{done}/{self._num_trials} done] {label(trial, self._searched)}: {line}"
        self._unprinted[trial.trial_id] = line
        if now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._print(trial.trial_id)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Prints a trial's last line."""
        self._print(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Prints a failed trial's last line."""
        self._print(trial.trial_id)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Says that a failed trial is started again."""
        say(f"{label(trial, self._searched)} failed and is started again from its last checkpoint")

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """Prints what an interrupted run has not printed yet."""
        for trial_id in list(self._unprinted):
            self._print(trial_id)

    def _print(self, trial_id: str) -> None:
        if (line := self._unprinted.pop(trial_id, None)) is not None:
            say(line)
            self._last_line = time.monotonic()


def progress_line(
    result: Mapping[str, Any], stop: Mapping[str, float], first: Mapping[str, Any], seconds: float
) -> str:
    """Returns one line about a training result; what was decided does not fit into it.

    Args:
        result: the result.
        stop: the stop criteria, flat.
        first: :data:`_STEADY` results as they were ``seconds`` ago.
        seconds: see ``first``.
    """
    parts = [_of_target(result.get(STEPS, 0), stop.get(STEPS), "steps")]
    if "training_iteration" in stop:
        parts.append(
            _of_target(result["training_iteration"], stop["training_iteration"], "iterations")
        )
    if seconds > 0 and STEPS in result:
        members = len(result.get(MEMBERS) or ())
        times = f"{members} x " if members else ""
        parts.append(f"{times}{(result[STEPS] - first[STEPS]) / seconds:,.0f}/s")
    left = [
        (stop[key] - result[key]) * seconds / (result[key] - first[key])
        for key in _STEADY
        if key in stop and key in result and result[key] > first[key]
    ]
    if left:
        parts.append(f"{duration(max(0.0, min(left)))} left")
    shown = {key: value for key, value in metrics_of(result).items() if key not in DECISIONS}
    parts += [f"{key} {value:.4g}" for key, value in shown.items()]
    return "  ".join(parts)


def metrics_of(result: Mapping[str, Any]) -> dict[str, float]:
    """Returns the environment's own metrics of its episodes, reward first, or the mean return."""
    runners = result.get("env_runners") or {}
    metrics = runners.get("episode_metrics") or {
        "episode_return_mean": runners.get("episode_return_mean", math.nan)
    }
    return {
        key: float(value)
        for key, value in sorted(metrics.items(), key=lambda item: (item[0] != "reward", item[0]))
        if isinstance(value, numbers.Real) and not math.isnan(value)
    }


def duration(seconds: float) -> str:
    """Returns a time in words.

    >>> duration(3725.0), duration(65.4), duration(0.0)
    ('1h 02m', '1m 05s', '0s')
    """
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 60}m {whole % 60:02d}s" if whole >= 60 else f"{whole}s"


def label(trial: Any, searched: Sequence[KeyPath]) -> str:
    """Returns a trial's id, by which its directory is found, and what it has drawn."""
    settings = search_space.in_words(search_space.drawn(trial.config, searched))
    return f"{trial.trial_id} {settings}".strip()


def _of_target(value: float, target: float | None, unit: str) -> str:
    return f"{value:,.0f}/{target:,.0f} {unit}" if target else f"{value:,.0f} {unit}"


def _before(result: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the steady results as they were before the iteration that ``result`` is of."""
    steps = (result.get("env_runners") or {}).get("num_env_steps_sampled", 0)
    return {
        STEPS: result.get(STEPS, 0) - steps,
        "training_iteration": result.get("training_iteration", 1) - 1,
        "time_total_s": result.get("time_total_s", 0.0) - result.get("time_this_iter_s", 0.0),
    }
