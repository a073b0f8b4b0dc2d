"""``rllib export``: a trained policy as files that need neither Ray nor torch."""

from __future__ import annotations

from pathlib import Path

import click

from rllib_mec.cli_options import trust_option


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A new directory.")
@click.option("--config", default="{}", help="Changes of the environment's env_config, as JSON.")
@trust_option
def export(*, checkpoint: Path, out: Path, config: str, trust: bool) -> None:
    """Export what CHECKPOINT has learned: ONNX, safetensors and a JSON specification.

    The files decide as `rllib evaluate` does, with the most probable actions. They are compared
    with the checkpoint before they are kept.
    """
    from rllib_mec.experiment.logs import quieten
    from rllib_mec.orchestrator.libraries import require
    from rllib_mec.source import read_json

    require("rllib export", "onnx", "onnxruntime", "safetensors")
    env_config = read_json(config, "--config")
    quieten(0)
    from rllib_mec.experiment.export.command import export_command

    for line in export_command(checkpoint, out, env_config, trust):
        click.echo(line)
