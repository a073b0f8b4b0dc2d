"""``rllib evaluate``: scores as a table, and in files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from rllib_mec.errors import InputError
from rllib_mec.experiment.evaluate import Metrics, evaluate
from rllib_mec.system.tasks import Episode
from rllib_mec.traces import write_trace
from rllib_mec.traces.trace import check_new


def evaluate_command(
    target: str,
    env: str | None,
    env_config: Mapping[str, Any],
    episodes: int,
    seed: int,
    out: Path | None,
    trust: bool = False,
    explore: bool = False,
    trace_out: Path | None = None,
) -> int:
    """Evaluates, prints a table and writes ``out``; returns the exit status.

    ``trust``, ``explore``: see :func:`evaluate`. ``trace_out``: where to record the episodes as a
    trace.

    Raises:
        InputError: no such target or environment, or they do not fit each other.
    """
    if not 0 <= seed < 2**63:
        raise InputError(f"--seed {seed}: expected a whole number in [0, 2^63)")
    if out is not None and not out.parent.is_dir():
        raise InputError(f"--out {out}: there is no directory {out.parent}")
    if out is not None and out.is_dir():
        raise InputError(f"--out {out}: expected a file, this is a directory")
    record: list[Episode] | None = None
    if trace_out is not None:
        check_new(trace_out)
        record = []
    metrics = evaluate(target, env, env_config, episodes, seed, trust, explore, record)
    summary = {name: summarise(values) for name, values in metrics.items()}
    # Files first: whoever reads the table may close the pipe.
    unwritten: InputError | None = None
    if out is not None:
        try:
            write(out, metrics, {"episodes": episodes, "seed": seed, "metrics": summary})
        except OSError as error:  # the table is not lost with it
            unwritten = InputError(f"--out {out}: {error.strerror or error}")
    if trace_out is not None and record is not None:
        origin = {"target": target, "episodes": episodes, "seed": seed}
        write_trace(trace_out, record, origin)
    width = max(map(len, summary))
    for name, row in summary.items():
        mean = "-" if row["mean"] is None else f"{row['mean']:.6g}"
        interval = "" if row["ci95"] is None else "  95 % CI [{:.6g}, {:.6g}]".format(*row["ci95"])
        click.echo(f"{name:<{width}}  {mean}{interval}")
    if unwritten is not None:
        raise unwritten
    return 0


def summarise(values: NDArray[np.float64]) -> dict[str, Any]:
    """Returns the mean and its 95 % confidence interval (Student's t; None for one episode).

    Episodes without the metric, NaN, do not count; if that is all, both are None.
    """
    from scipy import stats

    values = values[~np.isnan(values)]
    if not values.size:
        return {"mean": None, "ci95": None}
    mean, count = float(values.mean()), len(values)
    if count < 2:
        return {"mean": mean, "ci95": None}
    half = float(stats.t.ppf(0.975, count - 1) * values.std(ddof=1) / np.sqrt(count))
    return {"mean": mean, "ci95": [mean - half, mean + half]}


def write(out: Path, metrics: Metrics, report: Mapping[str, Any]) -> None:
    """Writes the report as JSON, or as Parquet a row for each episode, null for NaN."""
    if out.suffix == ".json":
        out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        return
    import pyarrow
    from pyarrow import parquet

    count = len(next(iter(metrics.values())))
    columns = {name: pyarrow.array(values, from_pandas=True) for name, values in metrics.items()}
    parquet.write_table(pyarrow.table({"episode": np.arange(count), **columns}), out)
