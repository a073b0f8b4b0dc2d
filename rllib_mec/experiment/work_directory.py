"""Directories of what is done already, so that a command can go on after an interruption."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rllib_mec.errors import InputError

_SETTINGS = "settings.json"


def open_directory(path: Path, about: Mapping[str, Any], grows: bool = False) -> None:
    """Makes the directory, and keeps in it what decides about its contents.

    Args:
        about: that, as JSON.
        grows: whether names may be added to ``about``, and to ``texts`` in it.

    Raises:
        InputError: what is there was made with other settings; names the first.
    """
    settings, now = path / _SETTINGS, json.loads(json.dumps(about))
    before = json.loads(settings.read_text()) if settings.is_file() else now
    kept = dict(now)
    for name, value in now.items():
        found = before.get(name, value if grows else None)
        if grows and name == "texts":
            kept[name] = {**found, **value}
            same = all(found.get(text, mark) == mark for text, mark in value.items())
        else:
            same = found == value
        if not same:
            raise InputError(
                f"{path}: {name} was {json.dumps(found)} and is {json.dumps(value)} now: expected "
                "the same, another --out, or the directory removed"
            )
    path.mkdir(parents=True, exist_ok=True)
    write_whole(settings, json.dumps({**before, **kept} if grows else kept, indent=1).encode())


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file, whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    os.replace(part, path)
