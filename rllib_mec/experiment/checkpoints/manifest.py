"""The manifest of a checkpoint: what it is, and a checksum of each of its files.

A checkpoint is whole if its manifest is there and every file in it is as the manifest says. The
manifest finds damage, not malice: whoever can write a checkpoint can write its manifest, too.
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

from rllib_mec.errors import InputError

MANIFEST = "manifest.json"

_FORMAT = 1
_SEAL = "sha256"
_PACKAGES = ("rllib_mec", "ray", "torch", "numpy")


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a checkpoint says of itself.

    directory: where it was read.
    experiment: what was trained, as a YAML file would say it: ``run``, ``env`` and ``config``.
    scenario: every constant of the system that was simulated, None for others' environments.
    progress: ``training_iteration``, ``num_env_steps_sampled_lifetime`` and ``time_total_s``; and
        the numbers of the last result's ``env_runners`` and ``evaluation``.
    files: size in bytes and SHA-256 of each file, by its path below the directory.
    """

    directory: Path
    experiment: dict[str, Any]
    scenario: dict[str, Any] | None
    progress: dict[str, Any]
    files: dict[str, dict[str, Any]]

    def read(self, name: str) -> bytes:
        """Returns the bytes of a file, which are those that were written.

        Raises:
            InputError: it is missing or damaged.
        """
        expected = self.files[name]
        try:
            data = (self.directory / name).read_bytes()
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"{self.directory}: damaged: {name}: {reason}") from None
        if len(data) != expected["bytes"]:
            raise InputError(
                f"{self.directory}: damaged: {name} has {len(data):,} bytes, expected "
                f"{expected['bytes']:,}"
            )
        if hashlib.sha256(data).hexdigest() != expected["sha256"]:
            raise InputError(f"{self.directory}: damaged: {name} has another SHA-256 than written")
        return data


def write(
    directory: Path,
    experiment: Mapping[str, Any],
    scenario: Mapping[str, Any] | None,
    progress: Mapping[str, Any],
) -> None:
    """Writes the manifest of all files that are in a directory.

    Raises:
        TypeError: ``experiment`` holds what JSON does not know.
    """
    about = {
        "format": _FORMAT,
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in _PACKAGES},
        },
        "experiment": experiment,
        "scenario": scenario,
        "progress": progress,
        "files": {name: _described(directory / name) for name in sorted(_files(directory))},
    }
    about = json.loads(json.dumps(about, default=_plain))
    text = json.dumps(about | {_SEAL: _seal(about)}, indent=1)
    (directory / MANIFEST).write_text(text + "\n", encoding="utf-8")


def read(directory: Path) -> Manifest:
    """Reads a manifest, without looking at the other files.

    Raises:
        InputError: it is missing or damaged, or of a later version.
    """
    try:
        content = json.loads((directory / MANIFEST).read_bytes())
        seal = content.pop(_SEAL)
        if content["format"] > _FORMAT:
            made = content["versions"]["rllib_mec"]
            raise InputError(
                f"{directory}: written by rllib_mec {made}, whose format {content['format']} is "
                f"newer than this one's, {_FORMAT}"
            )
        if seal != _seal(content):
            raise InputError(f"{directory}: damaged: {MANIFEST} has another SHA-256 than written")
        files = content["files"]
        for name in files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts:
                raise InputError(f"{directory}: {MANIFEST} names {name!r}: expected paths below it")
        return Manifest(
            directory, content["experiment"], content["scenario"], content["progress"], files
        )
    except FileNotFoundError:
        raise InputError(f"{directory}: not whole: {MANIFEST} is missing") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{directory}: damaged: {MANIFEST} cannot be read: {error!r}") from None


def check(directory: Path) -> Manifest:
    """Reads a manifest and every file that it names.

    Raises:
        InputError: the checkpoint is not whole.
    """
    manifest = read(directory)
    for name in manifest.files:
        manifest.read(name)
    return manifest


def _files(directory: Path) -> Iterator[str]:
    for path in directory.rglob("*"):
        if path.is_file() and path != directory / MANIFEST:
            yield path.relative_to(directory).as_posix()


def _described(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _seal(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    """NumPy's scalars, which searches draw, as Python's."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{value!r}: expected what JSON knows")
