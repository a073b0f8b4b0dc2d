"""The commands ``rllib trace``: record, validate, show, convert."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from rllib_mec.errors import InputError


@click.group()
def trace() -> None:
    """Record, check and convert traces of the environment mec."""


_paths = click.argument(
    "paths", nargs=-1, required=True, metavar="PATH…", type=click.Path(path_type=Path)
)
_out = click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="A directory for the trace."
)


@trace.command()
@click.option("--config", default="{}", help="The environment's env_config, as JSON.")
@click.option("--episodes", type=click.IntRange(min=1), default=500, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@_out
def record(*, config: str, episodes: int, seed: int, out: Path) -> None:
    """Record the episodes that `rllib evaluate` plays with the same config, episodes and seed."""
    from rllib_mec.source import read_json

    env_config = read_json(config, "--config")
    from rllib_mec.experiment.logs import quieten

    quieten(0)
    from rllib_mec.experiment.record import record as record_episodes

    record_episodes(env_config, episodes, seed, out)
    _show_lines(out)


@trace.command()
@_paths
@click.option("--config", help="An env_config, as JSON: can PATH be replayed in it?")
def validate(*, paths: tuple[Path, ...], config: str | None) -> int:
    """Check traces, or files of them; the exit code is 2 if there is a fault."""
    from rllib_mec.source import read_json
    from rllib_mec.traces.files import Recording, read_file
    from rllib_mec.traces.trace import files_of, joined

    env_config = None if config is None else read_json(config, "--config")
    faults = 0
    for path in paths:
        try:
            files = files_of(path)
        except InputError as error:
            faults += _fault(error)
            continue
        recordings: list[Recording] = []
        for file in files:
            try:
                recordings.append(read_file(file))
                click.echo(f"{file}: ok: {recordings[-1].summary}")
            except InputError as error:
                faults += _fault(error)
        if len(recordings) < len(files):
            continue
        try:
            joined(str(path), recordings)
            if env_config is not None:
                from rllib_mec.envs.config import EnvConfig

                EnvConfig.of({**env_config, "trace": str(path)})
        except InputError as error:
            faults += _fault(error)
    return 2 if faults else 0


def _fault(error: InputError) -> int:
    click.echo(f"error: {' '.join(str(error).split())}", err=True)
    return 1


@trace.command()
@_paths
def show(*, paths: tuple[Path, ...]) -> None:
    """Show what traces hold: episodes, UEs, steps, and each column's unit and range."""
    for path in paths:
        _show_lines(path, columns=True)


def _show_lines(path: Path, columns: bool = False) -> None:
    import json

    import numpy as np

    from rllib_mec.traces import read_trace

    for kind in read_trace(path).recordings.values():
        click.echo(f"{kind.place}: {kind.summary}")
        if not columns:
            continue
        if kind.origin is not None:
            click.echo(f"  origin {json.dumps(kind.origin, ensure_ascii=False)}")
        width = max(map(len, kind.values))
        for column in kind.kind.values:
            if column.name in kind.values:
                values = kind.values[column.name]
                numbers = (values.min(), np.mean(values), values.max())
                low, mean, high = (f"{float(number):.6g}" for number in numbers)
                click.echo(
                    f"  {column.name:<{width}}  {column.unit:<7}  min {low:<12}  mean {mean:<12}  "
                    f"max {high:<12}  {column.meaning}"
                )


@trace.command()
@click.option("--from", "source", type=click.Choice(["5gdataset"]), required=True)
@click.argument("files", nargs=-1, required=True, metavar="FILE…", type=click.Path(path_type=Path))
@_out
@click.option(
    "--period-s",
    type=float,
    default=30.0,
    show_default=True,
    help="Seconds from task to task.",
)
@click.option(
    "--reference-power-dbm",
    type=float,
    default=15.2,
    show_default=True,
    help="What a cell sends per resource element: 40 W over 1200 of them.",
)
@click.option(
    "--gaps",
    type=click.Choice(["refuse", "interpolate"]),
    default="refuse",
    show_default=True,
    help="Periods without a measurement.",
)
def convert(*, source: str, files: tuple[Path, ...], out: Path, **settings: Any) -> None:
    """Make channels.parquet from measurements, each FILE one UE.

    5gdataset: the CSV files of github.com/uccmisl/5Gdataset.
    """
    from rllib_mec.traces.five_g import convert as convert_files

    assert source == "5gdataset"
    convert_files(files, out, **settings)
    _show_lines(out)
