"""``rllib profile``: what tuning on emulators of a real language model gives and costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from rllib_mec.cli_options import (
    ADAPTER_LR,
    adapter_options,
    listed,
    model_option,
    tuning_options,
    worker_options,
)
from rllib_mec.errors import InputError


@click.command()
@model_option
@click.option(
    "--tasks",
    default="reference,code",
    show_default=True,
    help="Texts to tune on: reference, docstrings, code, text files, directories of them, or "
    "NAME=PATH.",
)
@click.option("--retentions", help="Shares of the middle layers (default: 7, evenly spread).")
@click.option(
    "--compressions",
    default="layer_drop",
    show_default=True,
    help="Of layer_drop, distillation, pruning.",
)
@adapter_options
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--steps", type=int, default=100, show_default=True, help="Of each tuning.")
@tuning_options
@click.option("--distil-steps", type=int, default=200, show_default=True)
@click.option("--distil-lr", type=float, default=1e-3, show_default=True)
@click.option("--distil-on", help="A text, as of a task (default: what offline is trained on).")
@click.option("--out", type=click.Path(path_type=Path), default=Path("profile.parquet"))
@click.option(
    "--work", type=click.Path(path_type=Path), help="What is measured already (default: OUT.work)."
)
@worker_options
def profile(
    *,
    model: str,
    tasks: str,
    retentions: str | None,
    compressions: str,
    out: Path,
    work: Path | None,
    workers: int,
    address: str | None,
    num_gpus: int | None,
    verbose: int,
    distil_on: str | None,
    **flags: Any,
) -> None:
    """Measure perplexity by retention, for scenarios with `quality: {profile: OUT}`.

    An adapter is tuned on emulators of every retention, on every task and with every seed, and on
    the whole model; then it is plugged into the whole model. Writes OUT and, beside it, a figure.
    An interrupted sweep goes on where it was.
    """
    from rllib_mec.emulator import require_libraries

    require_libraries("profile")
    if out.suffix != ".parquet":
        raise InputError(f"--out {out}: expected a .parquet file")
    from rllib_mec.experiment.profiling.figure import draw
    from rllib_mec.experiment.profiling.run import profile as measure
    from rllib_mec.experiment.profiling.summary import lines
    from rllib_mec.experiment.workers import workers as start

    settings = _settings(tasks, retentions, compressions, **flags)
    work = work or out.with_name(f"{out.name}.work")
    with start(workers, address, num_gpus, verbose) as those:
        made = measure(model, settings, out, work, those, distil_on)
    for line in lines(made):
        click.echo(line)
    click.echo(f"profile {out}")
    for compression in made.compressions:
        more = "" if compression == made.compressions[0] else f"-{compression}"
        file = out.with_name(f"{out.stem}{more}.svg")
        file.write_bytes(draw(made, compression))
        click.echo(f"figure {file}")


def _settings(tasks: str, retentions: str | None, compressions: str, **flags: Any) -> Any:
    from rllib_mec.emulator.adapters import Adapter
    from rllib_mec.emulator.measure import Tuning
    from rllib_mec.emulator.training import Training
    from rllib_mec.experiment.profiling.settings import Settings

    kind = flags["adapter"]
    lr = ADAPTER_LR[kind] if flags["lr"] is None else flags["lr"]
    return Settings(
        tasks=listed(tasks, "--tasks", str),
        retentions=None if retentions is None else listed(retentions, "--retentions", float),
        compressions=listed(compressions, "--compressions", str),
        seeds=flags["seeds"],
        tuning=Tuning(
            Adapter(kind, flags["adapter_layers"], flags["rank"]),
            Training(flags["steps"], flags["batch"], lr),
            flags["full_lr"],
        ),
        distillation=Training(flags["distil_steps"], flags["batch"], flags["distil_lr"]),
        length=flags["length"],
    )
