"""The results of a study as Parquet: a row per seed and number of UEs, and the training curves."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
from pyarrow import parquet

from rllib_mec.experiment.study.metrics import MEC, MetricNames

RUNS, CURVES, ABOUT = "runs.parquet", "curves.parquet", "study.json"
"""Files of a study's directory."""

KINDS = TRAINED, BASELINE, BOUND = "trained", "baseline", "bound"
"""Of rows: what learns, what does not, and what no policy can exceed."""


EXPLORED = ", explored"
"""What the label of a variant ends with where its actions were drawn."""


def _column(name: str, kind: pyarrow.DataType, always: bool = False) -> pyarrow.Field:
    """Returns a column, and whether it always holds a value."""
    return pyarrow.field(name, kind, nullable=not always)


_TRAIN_SECONDS = _column("train_seconds", pyarrow.float64())

_WHAT = (
    _column("study", pyarrow.string(), always=True),
    _column("variant", pyarrow.string(), always=True),
    _column("algorithm", pyarrow.string(), always=True),
    _column("critic", pyarrow.string()),
)


def runs_schema(names: MetricNames) -> pyarrow.Schema:
    """Returns the columns of ``runs.parquet``: a policy evaluated on a number of UEs.

    kind: one of :data:`KINDS`; ``num_ues`` and ``trained_ues`` are null of an environment without
    UEs; ``trained_ues``, ``seed``, ``steps`` and ``train_seconds`` are of
    what is trained. Metrics are means over ``episodes`` episodes that no training sees, and with
    ``_se`` the standard errors of these means; null where there is none: a bound has only a reward,
    who sends all to the server no retention. Episodes that lack a metric do not count in its mean.

    train_seconds: by the clock, of the training's iterations alone, so that it depends on the
    machine and what else it does. Seeds trained as one stack share their time: each has an equal
    part, less than it would take alone (``stacked: false`` trains it so).
    """
    return pyarrow.schema(
        [
            *_WHAT,
            _column("kind", pyarrow.string(), always=True),
            _column("trained_ues", pyarrow.int32()),
            _column("num_ues", pyarrow.int32()),
            _column("seed", pyarrow.int64()),
            _column("steps", pyarrow.int64()),
            _column("episodes", pyarrow.int32(), always=True),
            *(_column(name, pyarrow.float64(), always=name == "reward") for name in names.metrics),
            *(_column(f"{name}_se", pyarrow.float64()) for name in names.metrics),
            *_later(names),
        ]
    )


def _later(names: MetricNames) -> list[pyarrow.Field]:
    of_decisions = (name for each in names.decisions for name in (each, f"{each}_se"))
    return [*(_column(name, pyarrow.float64()) for name in of_decisions), _TRAIN_SECONDS]


def later(names: MetricNames) -> frozenset[str]:
    """Returns the columns of ``runs.parquet`` that older results lack, as if they held null."""
    return frozenset(field.name for field in _later(names))


def curves_schema(names: MetricNames) -> pyarrow.Schema:
    """Returns the columns of ``curves.parquet``: a training run after ``steps`` steps.

    Metrics are those of the training's own episodes, explored by the policies as they were then:
    RLlib's mean over the last 100 episodes.
    """
    return pyarrow.schema(
        [
            *_WHAT,
            _column("num_ues", pyarrow.int32()),
            _column("seed", pyarrow.int64(), always=True),
            _column("steps", pyarrow.int64(), always=True),
            *(_column(name, pyarrow.float32(), always=True) for name in names.metrics),
        ]
    )


RUNS_SCHEMA, CURVES_SCHEMA = runs_schema(MEC), curves_schema(MEC)
"""Those of ``mec``."""

Row = dict[str, Any]


def summary(values: Mapping[str, Any], names: MetricNames) -> Row:
    """Returns the columns of metrics: means over episodes and their standard errors.

    Args:
        values: by name, (episodes,) each, NaN for an episode that lacks the metric.
    """
    row: Row = {}
    for name in names.all:
        given = np.asarray(values.get(name, ()), dtype=float)
        own = given[~np.isnan(given)]
        several = len(own) > 1
        row[name] = float(own.mean()) if len(own) else None
        row[f"{name}_se"] = float(own.std(ddof=1) / math.sqrt(len(own))) if several else None
    return row


def relabelled(row: Row, before: str, variant: str) -> str:
    """Returns the label of a row in a study that calls the row's unit ``variant``.

    Args:
        before: what the study that has carried the unit out calls it.
    """
    return variant + row["variant"].removeprefix(before)


def write(path: Path, rows: Sequence[Row], schema: pyarrow.Schema) -> None:
    """Writes a table, whole or not at all."""
    aside = path.with_name(f".{path.name}.new")
    parquet.write_table(pyarrow.Table.from_pylist(list(rows), schema), aside, compression="zstd")
    os.replace(aside, path)


def read(path: Path, schema: pyarrow.Schema) -> list[Row]:
    """Returns the rows of a table, with null in columns that it lacks."""
    return parquet.read_table(path, schema=schema).to_pylist()
