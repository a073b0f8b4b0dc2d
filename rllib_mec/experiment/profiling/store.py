"""Where a sweep keeps what it has measured, so that it can go on after an interruption."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from rllib_mec.emulator.measure import Unit
from rllib_mec.experiment.work_directory import open_directory, write_whole
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
        # Texts may be added, and so may distillation.
        open_directory(path, about, grows=True)
        for folder in ("rows", "distilled"):
            (path / folder).mkdir(exist_ok=True)

    def row(self, unit: Unit) -> Row | None:
        """Returns what was measured of a unit, or None."""
        file = self.path / "rows" / f"{unit.name}.json"
        return Row(**json.loads(file.read_text())) if file.is_file() else None

    def keep_row(self, unit: Unit, row: Row) -> None:
        """Keeps a measurement."""
        text = json.dumps(dataclasses.asdict(row))
        write_whole(self.path / "rows" / f"{unit.name}.json", text.encode())

    def distilled(self, retention: float) -> dict[str, torch.Tensor] | None:
        """Returns the layers of a distilled emulator, or None."""
        file = self._distilled_file(retention)
        return safetensors.torch.load_file(file) if file.is_file() else None

    def keep_distilled(self, retention: float, state: dict[str, torch.Tensor]) -> None:
        """Keeps a distilled emulator's layers."""
        contiguous = {name: each.contiguous() for name, each in state.items()}
        write_whole(self._distilled_file(retention), safetensors.torch.save(contiguous))

    def _distilled_file(self, retention: float) -> Path:
        return self.path / "distilled" / f"{retention:.6g}.safetensors"
