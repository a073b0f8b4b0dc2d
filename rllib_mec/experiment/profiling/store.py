"""Where a sweep keeps what it has measured, so that it can go on after an interruption."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from rllib_mec.emulator.measure import Unit
from rllib_mec.errors import InputError
from rllib_mec.system.profile_rows import Row


class Store:
    """A directory with a file for each measurement.

    Args:
        path: the directory.
        about: what decides about measurements, as JSON.

    Raises:
        InputError: the directory holds measurements made otherwise.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        self.path = path
        settings = path / "settings.json"
        if settings.is_file():
            self._check(json.loads(settings.read_text()), json.loads(json.dumps(about)))
        for folder in ("rows", "distilled"):
            (path / folder).mkdir(parents=True, exist_ok=True)
        _write(settings, json.dumps(merged(settings, about), indent=1).encode())

    def _check(self, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        for name in now:
            # Texts may be added, and so may distillation.
            if name == "texts":
                ok = all(before[name].get(text, mark) == mark for text, mark in now[name].items())
            else:
                ok = before.get(name, now[name]) == now[name]
            if not ok:
                raise InputError(
                    f"{self.path}: {name} was {json.dumps(before[name])} and is "
                    f"{json.dumps(now[name])} now: expected the same, another --out, or the "
                    "directory removed"
                )

    def row(self, unit: Unit) -> Row | None:
        """Returns what was measured of a unit, or None."""
        file = self.path / "rows" / f"{unit.name}.json"
        return Row(**json.loads(file.read_text())) if file.is_file() else None

    def keep_row(self, unit: Unit, row: Row) -> None:
        """Keeps a measurement."""
        text = json.dumps(dataclasses.asdict(row))
        _write(self.path / "rows" / f"{unit.name}.json", text.encode())

    def distilled(self, retention: float) -> dict[str, torch.Tensor] | None:
        """Returns the layers of a distilled emulator, or None."""
        file = self._distilled_file(retention)
        return safetensors.torch.load_file(file) if file.is_file() else None

    def keep_distilled(self, retention: float, state: dict[str, torch.Tensor]) -> None:
        """Keeps a distilled emulator's layers."""
        contiguous = {name: each.contiguous() for name, each in state.items()}
        _write(self._distilled_file(retention), safetensors.torch.save(contiguous))

    def _distilled_file(self, retention: float) -> Path:
        return self.path / "distilled" / f"{retention:.6g}.safetensors"


def merged(settings: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of all that the directory holds, with those of this run."""
    before = json.loads(settings.read_text()) if settings.is_file() else {}
    return {**before, **about, "texts": {**before.get("texts", {}), **about.get("texts", {})}}


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    os.replace(part, path)
