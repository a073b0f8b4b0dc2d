"""Reads the results of a study, a directory with three files.

``runs.parquet`` has a row for each trained seed, baseline or bound and number of UEs that it was
evaluated on; ``curves.parquet`` the training curves; ``study.json`` how they came about.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pydantic
from numpy.typing import NDArray
from pyarrow import parquet

from rllib_mec.errors import InputError
from rllib_mec.experiment import forms
from rllib_mec.experiment.study.metrics import MEC, MetricNames
from rllib_mec.experiment.study.results import (
    ABOUT,
    CURVES,
    KINDS,
    RUNS,
    TRAINED,
    curves_schema,
    later,
    runs_schema,
)
from rllib_mec.experiment.study.spec import PublishedForm
from rllib_mec.source import Source

NO_UES = 0
"""Stands for the number of UEs of an environment without UEs."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One trained seed, or a baseline or bound, evaluated on one number of UEs.

    variant: label, unique in the study. kind: one of
        :data:`~rllib_mec.experiment.study.results.KINDS`.
    num_ues: NO_UES of an environment without UEs; trained_ues, then, too.
    trained_ues, seed, steps: of the training; None where nothing was trained.
    episodes: unseen episodes of the evaluation.
    train_seconds: of the training, None where it is not known.
    means, errors: mean over the episodes and its standard error for each metric of the study; None
        where the metric does not exist.
    """

    variant: str
    algorithm: str
    critic: str | None
    kind: str
    trained_ues: int | None
    num_ues: int
    seed: int | None
    steps: int | None
    episodes: int
    train_seconds: float | None
    means: dict[str, float | None]
    errors: dict[str, float | None]


@dataclasses.dataclass(frozen=True)
class Curve:
    """The training curve of one seed.

    steps: environment steps, (P,), rising.
    metrics: for each that every episode has, smoothed mean of the sampled training episodes, (P,).
    """

    variant: str
    num_ues: int
    seed: int
    steps: NDArray[np.int64]
    metrics: dict[str, NDArray[np.float64]]


class Origin(pydantic.BaseModel):
    """``study.json``: how the results came about.

    seconds: that the units took, summed up, None if unknown. steps: of each training. together: the
    studies of the same file, in its order; none known of older results. metrics, decisions: what is
    measured, see :class:`~rllib_mec.experiment.study.metrics.MetricNames`; of older results mec's.
    """

    model_config = pydantic.ConfigDict(strict=True, allow_inf_nan=False)

    name: str = pydantic.Field(min_length=1)
    command: str
    seconds: float | None
    steps: int
    versions: dict[str, str]
    spec: dict[str, Any]
    together: list[str] = []
    metrics: list[str] = pydantic.Field(list(MEC.metrics), min_length=1)
    decisions: list[str] = list(MEC.decisions)

    @property
    def names(self) -> MetricNames:
        """What is measured."""
        return MetricNames(tuple(self.metrics), tuple(self.decisions))


@dataclasses.dataclass(frozen=True)
class Study:
    """What a study has left in ``path``."""

    path: Path
    origin: Origin
    runs: list[Run]
    curves: list[Curve]

    @property
    def name(self) -> str:
        """The study's name."""
        return self.origin.name


def read_study(path: Path) -> Study:
    """Reads the results of one study.

    Raises:
        InputError: no such directory, or a file in it that is missing or not what it should be.
    """
    if not path.is_dir():
        raise InputError(f"{path}: expected a directory with the results of a study")
    for name in (ABOUT, RUNS, CURVES):
        if not (path / name).is_file():
            raise InputError(f"{path}: expected the results of a study: there is no {name} in it")
    origin = _read_origin(path / ABOUT)
    names = origin.names
    return Study(path, origin, _runs(path / RUNS, names), _curves(path / CURVES, names))


def _read_origin(file: Path) -> Origin:
    try:
        origin = Origin.model_validate_json(file.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror or error}") from None
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InputError(f"{file}: {place + ': ' if place else ''}{first['msg']}") from None
    try:
        _check_origin(origin)
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    return origin


def _check_origin(origin: Origin) -> None:
    """Refuses what a report cannot be made of; the rest of ``spec`` is shown as it is.

    Raises:
        InputError: without the file's name.
    """
    if "reward" not in origin.metrics:
        raise InputError(f"metrics = {origin.metrics!r}: expected reward among them")
    every = origin.names.all
    for name in every:
        if every.count(name) > 1:
            raise InputError(f"metrics and decisions: {name!r} comes twice")
    config = _mapping(origin.spec, "config", "spec.config")
    _mapping(config, "env_config", "spec.config.env_config")
    if origin.spec.get("published") is None:
        return
    given = _mapping(origin.spec, "published", "spec.published")
    published = forms.checked(PublishedForm, given, Source(root=("spec", "published")))
    if published.metric not in origin.metrics:
        raise InputError(
            f"spec.published.metric = {published.metric!r}: expected one of "
            f"{', '.join(origin.metrics)}"
        )


def _mapping(value: dict[str, Any], key: str, place: str) -> dict[str, Any]:
    """Returns the mapping under a key, an empty one if there is none."""
    found = value.get(key, {})
    if not isinstance(found, dict):
        raise InputError(f"{place} = {found!r}: expected a mapping")
    return found


def _rows(file: Path, schema: pa.Schema, absent: Collection[str] = ()) -> list[dict[str, Any]]:
    """Reads the columns of ``schema``; all numbers in them are finite.

    Null stands for what older results lack, the columns ``absent``.
    """
    try:
        table = parquet.ParquetFile(file).read()
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{file}: expected a Parquet file: {reason}") from None
    for field in schema:
        if field.name not in table.column_names:
            if field.name in absent:
                table = table.append_column(field, pa.nulls(len(table), field.type))
                continue
            raise InputError(f"{file}: expected a column {field.name} ({field.type})")
        column = table[field.name]
        if column.null_count and not field.nullable:
            raise InputError(f"{file}: {field.name}: expected a value in every row, found null")
        try:
            values = column.cast(field.type)
        except pa.ArrowException:
            message = f"{file}: {field.name}: expected {field.type}, found {column.type}"
            raise InputError(message) from None
        if pa.types.is_floating(field.type) and not all(
            math.isfinite(value) for value in values.drop_null().to_pylist()
        ):
            raise InputError(f"{file}: {field.name}: expected finite numbers or null")
    return table.select(schema.names).cast(schema).to_pylist()


def _runs(file: Path, measured: MetricNames) -> list[Run]:
    names = [field.name for field in dataclasses.fields(Run)][:-2]
    runs = []
    for row in _rows(file, runs_schema(measured), later(measured)):
        if row["kind"] not in KINDS:
            raise InputError(f"{file}: kind {row['kind']!r}: expected one of {', '.join(KINDS)}")
        if row["num_ues"] is None:
            row |= {"num_ues": NO_UES, "trained_ues": NO_UES if row["kind"] == TRAINED else None}
        if row["kind"] == TRAINED and None in (row["seed"], row["trained_ues"]):
            raise InputError(f"{file}: {row['variant']}: expected seed and trained_ues of trained")
        means = {metric: row[metric] for metric in measured.all}
        errors = {metric: row[f"{metric}_se"] for metric in measured.all}
        runs.append(Run(**{name: row[name] for name in names}, means=means, errors=errors))
    if not runs:
        raise InputError(f"{file}: expected at least one row")
    seen = set()
    for run in runs:
        key = (run.variant, run.trained_ues, run.num_ues, run.seed)
        if key in seen:
            seed = "" if run.seed is None else f", seed {run.seed}"
            ues = f" with {run.num_ues} UEs" if run.num_ues != NO_UES else ""
            raise InputError(f"{file}: {run.variant}{ues}{seed} is given twice")
        seen.add(key)
    return runs


def _curves(file: Path, measured: MetricNames) -> list[Curve]:
    def curve_of(row: dict[str, Any]) -> tuple[str, int, int]:
        return row["variant"], row["num_ues"] or NO_UES, row["seed"]

    schema = curves_schema(measured)
    rows = sorted(_rows(file, schema), key=lambda row: (*curve_of(row), row["steps"]))
    curves = []
    for key, group in itertools.groupby(rows, curve_of):
        points = list(group)
        steps = np.array([point["steps"] for point in points])
        if np.any(np.diff(steps) == 0):
            raise InputError(f"{file}: {key[0]}, seed {key[2]}: expected each of steps once")
        metrics = {name: np.array([point[name] for point in points]) for name in measured.metrics}
        curves.append(Curve(*key, steps, metrics))
    return curves
