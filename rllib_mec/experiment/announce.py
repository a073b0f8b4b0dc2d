"""What is printed before a run and after it, and the table of a search's trials."""

from __future__ import annotations

import csv
import io
import re
import shlex
import sys
from pathlib import PurePosixPath
from typing import Any

from ray.tune.utils import flatten_dict

from rllib_mec.errors import InputError
from rllib_mec.experiment import search_space
from rllib_mec.experiment.interrupt import say
from rllib_mec.experiment.plan import Plan
from rllib_mec.experiment.progress import STEPS, duration, metrics_of
from rllib_mec.experiment.resume import storage
from rllib_mec.hmppo.stacked.trainable import MEMBERS

TABLE = "trials.csv"
"""The file in a search's directory that holds a row for each trial."""


def before(plan: Plan, resuming: bool) -> None:
    """Prints what is about to run, and where its results and logs go."""
    experiment = plan.experiment
    stop = ", ".join(f"{key} {value:,g}" for key, value in experiment.stop.items())
    say(
        f"{experiment.name}: {experiment.form.run} on {experiment.form.env}"
        + (f", {plan.num_trials} trials" if plan.num_trials > 1 else "")
        + (f", a stack of {len(plan.members)}" if plan.members else "")
        + (f", until {stop}" if stop else ", until Ctrl-C")
        + (", resumed" if resuming else "")
    )
    say(f"  results and TensorBoard logs: {experiment.directory}")


def after(plan: Plan, results: Any) -> bool:
    """Prints how each trial ended, and the best one; returns whether all ended well.

    Of a search, :data:`TABLE` is written as well.

    Args:
        plan: what has run.
        results: Tune's ``ResultGrid``.
    """
    for result in results:
        name = PurePosixPath(result.path).name
        if result.error is not None:
            say(f"{name} failed: {last_line(result.error)}", sys.stderr)
            say(f"  the whole error: {result.path}/error.txt", sys.stderr)
        else:
            _report_trial(name, result)
    if plan.searched:
        _write_table(plan, results)
    form = plan.experiment.form.tune_config
    if form.metric and len(results) > max(1, results.num_errors):
        _report_best(plan, results, form.metric, form.mode)
    return results.num_errors == 0


def last_line(error: BaseException) -> str:
    """Returns the line that says what went wrong; of an InputError its message alone."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    marker = f"{InputError.__module__}.{InputError.__name__}: "
    for line in reversed(lines):
        if marker in line:
            return line.split(marker, 1)[1]
    # RLlib ends a chain of causes with an empty RuntimeError.
    worded = [line for line in lines if re.match(r"[\w.]+(Error|Exception)\b.*: ", line)]
    return (worded or lines or [type(error).__name__])[-1]


def _report_trial(name: str, result: Any) -> None:
    metrics = result.metrics or {}
    say(
        f"{name}: {metrics.get('training_iteration', 0):,} iterations, "
        f"{metrics.get(STEPS, 0):,.0f} steps, {duration(metrics.get('time_total_s', 0.0))}"
    )
    members = metrics.get(MEMBERS) or {}
    for key, value in metrics_of(metrics).items():
        say(f"  {key} {value:.6g}" + (f" (mean of {len(members)})" if members else ""))
    for member, own in members.items():
        values = (f"{key} {value:.6g}" for key, value in metrics_of(own).items())
        say(f"  {member}: {', '.join(values)}")
    _report_checkpoint(result)


def _report_checkpoint(result: Any) -> None:
    if result.checkpoint is not None:
        say(f"  checkpoint {result.checkpoint.path}")
        for member in (result.metrics or {}).get(MEMBERS) or ("",):
            path = str(PurePosixPath(result.checkpoint.path, member))
            say(f"  rllib evaluate {shlex.quote(path)}")


def _report_best(plan: Plan, results: Any, metric: str, mode: str) -> None:
    try:
        best = results.get_best_result(metric, mode)
    except RuntimeError:
        say(f"best by {metric}: none, no trial has reported it")
        return
    value = flatten_dict(best.metrics)[metric]
    say(f"best by {metric}: {PurePosixPath(best.path).name} ({value:.6g})")
    for name, setting in search_space.drawn(best.config, plan.searched).items():
        say(f"  {name}: {setting}")
    _report_checkpoint(best)


def _write_table(plan: Plan, results: Any) -> None:
    rows = []
    for result in results:
        metrics = result.metrics or {}
        rows.append(
            {
                "trial": PurePosixPath(result.path).name,
                **search_space.drawn(result.config or {}, plan.searched if result.config else ()),
                "failed": result.error is not None,
                "steps": metrics.get(STEPS),
                "seconds": metrics.get("time_total_s"),
                **metrics_of(metrics),
            }
        )
    text = io.StringIO(newline="")
    table = csv.DictWriter(
        text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n"
    )
    table.writeheader()
    table.writerows(rows)
    filesystem, path = storage(plan)
    with filesystem.open_output_stream(f"{path}/{TABLE}") as stream:
        stream.write(text.getvalue().encode())
    say(f"  all trials: {plan.experiment.directory}/{TABLE}")
