"""``rllib fedtune``: federated tuning with emulators, beside what it does without."""

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

_CASES = ("fedpeat", "fl-peft", "fl")


@click.command()
@click.option(
    "--case",
    "cases",
    multiple=True,
    help="fedpeat: emulators and adapters; fl-peft: the whole model and adapters; fl: all weights "
    "are tuned and exchanged. May be given several times (default: all).",
)
@model_option
@click.option(
    "--task",
    "tasks",
    multiple=True,
    default=("reference",),
    show_default=True,
    help="A text to tune on: reference, docstrings, code, a text file, a directory, NAME=PATH.",
)
@click.option("--clients", type=int, default=6, show_default=True)
@click.option("--rounds", type=int, default=8, show_default=True)
@click.option("--local-steps", type=int, default=10, show_default=True, help="Of a client.")
@click.option(
    "--server-steps", type=int, default=10, show_default=True, help="0: it only averages."
)
@click.option(
    "--server-share",
    type=float,
    default=0.1,
    show_default=True,
    help="Of all sequences, if the server tunes.",
)
@click.option(
    "--split", default="iid", show_default=True, help="iid, blocks or dirichlet:ALPHA (over tasks)."
)
@click.option(
    "--retentions",
    default="0.8",
    show_default=True,
    help="Of the clients' emulators in turn, such as 0.2,0.5,0.8.",
)
@click.option(
    "--rotate",
    type=int,
    default=0,
    help="Rounds after which each client takes the next retention (default: never).",
)
@click.option("--compression", default="layer_drop", show_default=True, help="Or pruning.")
@click.option("--clients-per-round", type=int, help="Drawn anew for each round (default: all).")
@click.option("--dropout", type=float, default=0.0, help="Probability that a client drops out.")
@click.option("--deadline-s", type=float, help="Clients that take longer are not waited for.")
@click.option("--downlink-mbps", default="20,100", show_default=True, help="Drawn per client.")
@click.option("--uplink-mbps", default="5,20", show_default=True, help="Drawn per client.")
@click.option("--slowness", default="1,4", show_default=True, help="Against here, per client.")
@click.option(
    "--step-seconds",
    type=float,
    help="What the clock counts for a step that tunes all weights; those of adapters follow from "
    "their operations (default: each is measured).",
)
@click.option("--max-norm", type=float, help="Updates of a larger norm are refused.")
@click.option("--clip-norm", type=float, help="Updates of a larger norm are scaled down.")
@click.option("--noise", type=float, default=0.0, help="On the average, in units of --clip-norm.")
@adapter_options
@tuning_options
@click.option("--validation", type=int, default=256, show_default=True, help="Sequences.")
@click.option("--seeds", type=int, default=1, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("fed.parquet"))
@click.option(
    "--work", type=click.Path(path_type=Path), help="Rounds played already (default: OUT.work)."
)
@worker_options
def fedtune(
    *,
    model: str,
    out: Path,
    work: Path | None,
    workers: int,
    address: str | None,
    num_gpus: int | None,
    verbose: int,
    **flags: Any,
) -> None:
    """Tune a language model with federated clients, and compare FedPEAT with FL.

    In each round clients tune on their own data, the server, which takes part, averages what they
    send, and the whole model is measured with it. Writes OUT and, beside it, a figure. An
    interrupted run goes on where it was.
    """
    from rllib_mec.emulator import require_libraries

    require_libraries("fedtune")
    if out.suffix != ".parquet":
        raise InputError(f"--out {out}: expected a .parquet file")
    from rllib_mec.experiment import workers as processes
    from rllib_mec.experiment.federation.figure import draw
    from rllib_mec.experiment.federation.run import fedtune as play
    from rllib_mec.experiment.federation.summary import lines

    settings = _settings(**flags)
    work = work or out.with_name(f"{out.name}.work")
    # A client whose process dies has failed; its work is not done again.
    with processes.workers(workers, address, num_gpus, verbose, retries=0) as those:
        rows = play(model, settings, out, work, those)
    for line in lines(rows):
        click.echo(line)
    click.echo(f"results {out}")
    file = out.with_suffix(".svg")
    file.write_bytes(draw(rows))
    click.echo(f"figure {file}")


def _settings(**flags: Any) -> Any:
    from rllib_mec.emulator.adapters import Adapter
    from rllib_mec.emulator.training import Training
    from rllib_mec.experiment.federation.settings import Settings
    from rllib_mec.federated.clock import Devices
    from rllib_mec.federated.draws import Participation
    from rllib_mec.federated.rounds import Rules
    from rllib_mec.federated.splits import Split
    from rllib_mec.federated.updates import Guard

    kind, steps = flags["adapter"], flags["local_steps"]
    if steps < 1:
        raise InputError(f"--local-steps {steps}: expected at least 1")
    lr = ADAPTER_LR[kind] if flags["lr"] is None else flags["lr"]
    rules = Rules(
        Participation(flags["clients"], flags["clients_per_round"], flags["dropout"]),
        Training(steps, flags["batch"], lr),
        listed(flags["retentions"], "--retentions", float),
        flags["rotate"],
        flags["server_steps"],
        Guard(flags["max_norm"], flags["clip_norm"], flags["noise"]),
        Devices(**{name: _range(flags[name], name) for name in _RANGES}),
        flags["deadline_s"],
    )
    return Settings(
        cases=flags["cases"] or _CASES,
        tasks=flags["tasks"],
        seeds=flags["seeds"],
        rounds=flags["rounds"],
        rules=rules,
        split=Split.of(flags["split"], flags["server_share"] if flags["server_steps"] else 0.0),
        adapter=Adapter(kind, flags["adapter_layers"], flags["rank"]),
        compression=flags["compression"],
        full_lr=flags["full_lr"],
        fl_step_seconds=flags["step_seconds"],
        length=flags["length"],
        validation=flags["validation"],
    )


_RANGES = ("downlink_mbps", "uplink_mbps", "slowness")


def _range(text: str, name: str) -> tuple[float, float]:
    flag = f"--{name.replace('_', '-')}"
    values = listed(text, flag, float)
    if len(values) != 2:
        raise InputError(f"{flag} {text}: expected two numbers, the lowest and the highest")
    return values[0], values[1]
