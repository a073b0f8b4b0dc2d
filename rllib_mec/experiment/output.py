"""The directory that a command writes its files to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from rllib_mec.errors import InputError


def check_output(out: Path) -> None:
    """Refuses a path that is no directory, before anything is computed.

    Raises:
        InputError: there is a file.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: expected a directory, found a file")


def write_output(out: Path, files: Mapping[str, bytes]) -> None:
    """Writes files by name, making the directory if need be, and prints their paths.

    Raises:
        InputError: they cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (out / name).write_bytes(content)
    except OSError as error:
        raise InputError(f"--out {out}: cannot write: {error.strerror or error}") from None
    for name in files:
        click.echo(str(out / name))
