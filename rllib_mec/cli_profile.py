"""``rllib profile``: what tuning on emulators of a real language model gives and costs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from rllib_mec.errors import InputError

T = TypeVar("T")

ADAPTER_LR = {"layers": 5e-4, "lora": 3e-3}
"""Highest learning rates of adapters, unless given."""


@click.command()
@click.option(
    "--model",
    default="offline",
    show_default=True,
    help="A local checkpoint, a name on the Hugging Face hub, or offline: a small GPT-2 that is "
    "trained first, on text of the Python installation.",
)
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
@click.option("--adapter", type=click.Choice(["layers", "lora"]), default="layers")
@click.option("--adapter-layers", type=int, default=1, show_default=True, help="At either end.")
@click.option("--rank", type=int, default=8, show_default=True, help="Of LoRA.")
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--steps", type=int, default=100, show_default=True, help="Of each tuning.")
@click.option("--batch", type=int, default=16, show_default=True, help="Sequences per step.")
@click.option("--length", type=int, help="Tokens per sequence (default: what the model takes).")
@click.option("--lr", type=float, help="Of adapters (default: 5e-4, LoRA 3e-3).")
@click.option("--full-lr", type=float, default=3e-4, show_default=True, help="Of all weights.")
@click.option("--distil-steps", type=int, default=200, show_default=True)
@click.option("--distil-lr", type=float, default=1e-3, show_default=True)
@click.option("--distil-on", help="A text, as of a task (default: what offline is trained on).")
@click.option("--out", type=click.Path(path_type=Path), default=Path("profile.parquet"))
@click.option(
    "--work", type=click.Path(path_type=Path), help="What is measured already (default: OUT.work)."
)
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--address", help="A running Ray for the workers, for example auto.")
@click.option("--num-gpus", type=int, help="GPUs of the Ray that is started for workers.")
@click.option("-v", "--verbose", count=True, help="Logs of Ray; -vv: all.")
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


def listed(text: str, flag: str, kind: Callable[[str], T]) -> tuple[T, ...]:
    """Returns what an option lists with commas.

    Raises:
        InputError: nothing, or not of this kind.
    """
    try:
        values = tuple(kind(part.strip()) for part in text.split(",") if part.strip())
    except ValueError:
        raise InputError(f"{flag} {text}: expected numbers with commas between them") from None
    if not values:
        raise InputError(f"{flag} {text!r}: expected at least one")
    return values
