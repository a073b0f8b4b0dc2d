"""Checkpoints on their way to storage: there is all of one, or none of it.

On file systems with directories a checkpoint is copied aside, written out to the disk and renamed.
Object stores know no renaming; there the manifest comes last, without which a checkpoint is none.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow.fs

from rllib_mec.experiment.checkpoints.manifest import MANIFEST


def persist(storage: Any, checkpoint: Any) -> Any:
    """Copies a checkpoint into a trial's directory, as Tune's ``persist_current_checkpoint`` does.

    A checkpoint that is there already is left alone: the new one gets the next number.

    Args:
        storage: Tune's ``StorageContext``, whose ``current_checkpoint_index`` says which number.
        checkpoint: Tune's ``Checkpoint``, on this machine.

    Returns:
        the ``Checkpoint`` in its place.

    Raises:
        OSError: it could not be written; what is there of it is not taken for a checkpoint.
    """
    storage._check_validation_file()
    filesystem = storage.storage_filesystem
    while filesystem.get_file_info(storage.checkpoint_fs_path).type != pyarrow.fs.FileType.NotFound:
        storage._update_checkpoint_index({})
    path = storage.checkpoint_fs_path
    try:
        if isinstance(filesystem, pyarrow.fs.LocalFileSystem):
            copy_whole(Path(checkpoint.path), Path(path))
        else:
            _upload(Path(checkpoint.path), filesystem, path)
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise OSError(
            error.errno, f"{PurePosixPath(path).name} was not saved, those before it are: {reason}"
        ) from error
    return type(checkpoint)(filesystem=filesystem, path=path)


def copy_whole(source: Path, target: Path) -> None:
    """Copies a directory to one that is not there yet, whole or not at all.

    Raises:
        OSError: it could not be written; nothing of it stays behind.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    left_behind = re.compile(rf"\.{re.escape(target.name)}\.\d+\.partial")
    for path in target.parent.iterdir():  # what one that was killed in here has left
        if left_behind.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)
    aside = target.with_name(f".{target.name}.{os.getpid()}.partial")
    aside.mkdir()
    try:
        for path in sorted(source.rglob("*")):
            copy = aside / path.relative_to(source)
            if path.is_dir():
                copy.mkdir(parents=True)
            else:
                shutil.copyfile(path, copy)
        for path in [*aside.rglob("*"), aside]:
            sync(path)
        aside.rename(target)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    sync(target.parent)


def sync(path: Path) -> None:
    """Writes a file or a directory's entries out to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _upload(source: Path, filesystem: pyarrow.fs.FileSystem, path: str) -> None:
    files = sorted(
        (file for file in source.rglob("*") if file.is_file()),
        key=lambda file: file == source / MANIFEST,
    )
    filesystem.create_dir(path)
    for file in files:
        target = PurePosixPath(path, file.relative_to(source).as_posix())
        filesystem.create_dir(str(target.parent))
        with filesystem.open_output_stream(str(target)) as stream:
            stream.write(file.read_bytes())
