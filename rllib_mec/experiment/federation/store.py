"""Where federations are kept round by round, so that they can go on after an interruption."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rllib_mec.emulator.adapters import from_bytes, to_bytes
from rllib_mec.errors import InputError
from rllib_mec.experiment.work_directory import open_directory, write_whole
from rllib_mec.federated.costs import Costs
from rllib_mec.federated.records import Row
from rllib_mec.federated.rounds import Global


class Store:
    """A directory; in it one for each case and seed, with a file for each round.

    The newest global weights are kept as safetensors; a round counts once its JSON file, which
    holds their digest, is there.

    Args:
        path: the directory.
        about: what decides about rounds, as JSON.

    Raises:
        InputError: the directory holds rounds played otherwise.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        self.path = path
        open_directory(path, about)

    def costs(self) -> dict[str, dict[float, Costs]]:
        """Returns the costs that were measured, by case and retention."""
        file = self.path / "costs.json"
        found = json.loads(file.read_text()) if file.is_file() else {}
        return {
            case: {each.pop("retention"): Costs(**each) for each in rows}
            for case, rows in found.items()
        }

    def keep_costs(self, costs: Mapping[str, Mapping[float, Costs]]) -> None:
        """Keeps the costs of all cases."""
        rows = {
            case: [{"retention": each, **dataclasses.asdict(cost)} for each, cost in found.items()]
            for case, found in costs.items()
        }
        write_whole(self.path / "costs.json", json.dumps(rows, indent=1).encode())

    def rows(self, case: str, seed: int) -> list[Row]:
        """Returns all rounds that were played, from 0."""
        folder = self._folder(case, seed)
        rows: list[Row] = []
        while (file := _round_file(folder, len(rows))).is_file():
            rows.append(Row.of(json.loads(file.read_text())["row"]))
        return rows

    def newest(self, case: str, seed: int) -> Global | None:
        """Returns where a federation is, or None if it has not begun.

        Raises:
            InputError: its weights are gone or damaged.
        """
        number = len(self.rows(case, seed)) - 1
        if number < 0:
            return None
        folder = self._folder(case, seed)
        about = json.loads(_round_file(folder, number).read_text())
        file = _weights_file(folder, number)
        data = file.read_bytes() if file.is_file() else b""
        if hashlib.sha256(data).hexdigest() != about["sha256"]:
            raise InputError(
                f"{file}: {'damaged' if data else 'missing'}: expected the weights after round "
                f"{number}; remove {folder} to play this federation anew"
            )
        held = {int(client): retention for client, retention in about["held"].items()}
        return Global(number, from_bytes(data), held)

    def keep(self, state: Global, row: Row) -> None:
        """Keeps a round; the weights of those before it are not needed any more."""
        folder, data = self._folder(row.case, row.seed), to_bytes(state.weights)
        folder.mkdir(exist_ok=True)
        write_whole(_weights_file(folder, row.round), data)
        about = {
            "row": dataclasses.asdict(row),
            "held": dict(state.held),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        write_whole(_round_file(folder, row.round), json.dumps(about).encode())
        for old in folder.glob("weights-*.safetensors"):
            if old != _weights_file(folder, row.round):
                old.unlink()

    def _folder(self, case: str, seed: int) -> Path:
        return self.path / f"{case}-seed{seed}"


def _round_file(folder: Path, number: int) -> Path:
    return folder / f"round-{number:05}.json"


def _weights_file(folder: Path, number: int) -> Path:
    return folder / f"weights-{number:05}.safetensors"
