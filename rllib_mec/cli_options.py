"""Options that several commands have, and how lists in options are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from rllib_mec.errors import InputError

Command = Callable[..., Any]
T = TypeVar("T")


def several(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Joins options to one decorator, in the order in which help lists them."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


trust_option = click.option(
    "--trust", is_flag=True, help="Run code that a checkpoint or a run of others' holds or names."
)

verbose_option = click.option("-v", "--verbose", count=True, help="Logs of Ray; -vv: all.")

ray_options = several(
    click.option("--address", help="A running Ray, for example auto or ray-head:6379."),
    click.option("--num-cpus", type=int, help="CPUs of the Ray that is started."),
    click.option("--num-gpus", type=int, help="GPUs of the Ray that is started."),
)
"""Where a command runs."""

model_option = click.option(
    "--model",
    default="offline",
    show_default=True,
    help="A local checkpoint, a name on the Hugging Face hub, or offline: a small GPT-2 that is "
    "trained first, on text of the Python installation.",
)

adapter_options = several(
    click.option("--adapter", type=click.Choice(["layers", "lora"]), default="layers"),
    click.option("--adapter-layers", type=int, default=1, show_default=True, help="At either end."),
    click.option("--rank", type=int, default=8, show_default=True, help="Of LoRA."),
)
"""What is tuned of a language model."""

tuning_options = several(
    click.option("--batch", type=int, default=16, show_default=True, help="Sequences per step."),
    click.option("--length", type=int, help="Tokens per sequence (default: what the model takes)."),
    click.option("--lr", type=float, help="Of adapters (default: 5e-4, LoRA 3e-3)."),
    click.option("--full-lr", type=float, default=3e-4, show_default=True, help="Of all weights."),
)
"""How it is tuned."""

ADAPTER_LR = {"layers": 5e-4, "lora": 3e-3}
"""Highest learning rates of adapters, unless given."""

worker_options = several(
    click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True),
    click.option("--address", help="A running Ray for the workers, for example auto."),
    click.option("--num-gpus", type=int, help="GPUs of the Ray that is started for workers."),
    verbose_option,
)
"""Processes that share the work."""


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
