"""``rllib show``: one episode of a policy, drawn."""

from __future__ import annotations

from pathlib import Path

import click

from rllib_mec.cli_options import trust_option


@click.command()
@click.argument("target")
@click.option("--env", help="The environment, if not the one that the target was trained on.")
@click.option("--config", default="{}", help="The environment's env_config, as JSON.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default="episode", show_default=True)
@click.option("--explore", is_flag=True, help="Draw a trained policy's actions, as in training.")
@trust_option
def show(
    *,
    target: str,
    env: str | None,
    config: str,
    seed: int,
    out: Path,
    explore: bool,
    trust: bool,
) -> None:
    """Play one episode of TARGET, a checkpoint or a baseline, and draw it.

    It is the episode that `rllib evaluate TARGET --episodes 1` plays. Writes a page, a figure and
    a table to the directory OUT.
    """
    from rllib_mec.experiment.logs import quieten
    from rllib_mec.source import read_json

    env_config = read_json(config, "--config")
    quieten(0)
    from rllib_mec.experiment.show.command import show_command

    show_command(target, env, env_config, seed, out, trust, explore)
