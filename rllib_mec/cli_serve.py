"""``rllib serve``: an exported orchestrator over HTTP."""

from __future__ import annotations

import math
from pathlib import Path

import click

from rllib_mec.cli_options import verbose_option
from rllib_mec.errors import InputError


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: any."
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help="A file with the token that clients have to send (or RLLIB_SERVE_TOKEN).",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    default=500.0,
    show_default=True,
    help="Most requests per second, of all clients together.",
)
@click.option(
    "--max-body",
    type=click.IntRange(min=1),
    default=1_048_576,
    show_default=True,
    help="Most bytes of a state; a UE takes up to 300.",
)
@click.option("--address", help="A running Ray, for example auto or ray-head:6379.")
@verbose_option
def serve(
    *,
    directory: Path,
    host: str,
    port: int,
    token_file: Path | None,
    rate: float,
    max_body: int,
    address: str | None,
    verbose: int,
) -> int:
    """Serve the decisions of DIRECTORY, of `rllib export`, over HTTP until Ctrl-C."""
    from rllib_mec.experiment.logs import quieten
    from rllib_mec.orchestrator.libraries import require

    if not math.isfinite(rate):
        raise InputError(f"--rate {rate}: expected a number > 0")
    require("rllib serve", "fastapi", "starlette", "uvicorn", extra="serve")
    quieten(verbose)
    from rllib_mec.experiment.run import Options
    from rllib_mec.experiment.serving.command import read_token, serve_command
    from rllib_mec.orchestrator.front import Limits

    limits = Limits(max_body=max_body, rate=rate)
    options = Options(address=address, verbose=verbose)
    return serve_command(directory, host, port, limits, read_token(token_file), options)
