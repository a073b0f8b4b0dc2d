"""Checkpoints are there as a whole or not at all, and the newest whole one is found."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.fs
import pytest
from ray.train._internal.storage import StorageContext
from ray.tune import Checkpoint

from rllib_mec.experiment.checkpoints import manifest, whole
from rllib_mec.experiment.checkpoints.newest import newest


@pytest.fixture
def checkpoint(tmp_path):
    """A directory that passes for a checkpoint."""
    folder = tmp_path / "made"
    (folder / "below").mkdir(parents=True)
    (folder / "state.msgpack").write_bytes(b"\x80")
    (folder / "below" / "weights").write_bytes(b"w" * 1000)
    manifest.write(folder, {}, None, {"training_iteration": 3})
    return folder


@pytest.fixture
def storage(tmp_path):
    (tmp_path / "results").mkdir()
    context = StorageContext(
        str(tmp_path / "results"), experiment_dir_name="exp", trial_dir_name="trial"
    )
    context._create_validation_file()
    context._update_checkpoint_index({})
    return context


def trial_folder(storage):
    return Path(storage.trial_fs_path)


def no_space_left(call):
    """Stands in for a function, until the call of that number, at which the disk is full."""
    calls = []

    def instead(original):
        def wrapped(*args, **kwargs):
            calls.append(args)
            if len(calls) == call:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return original(*args, **kwargs)

        return wrapped

    return instead


def test_a_checkpoint_takes_its_place_whole(checkpoint, storage):
    placed = whole.persist(storage, Checkpoint(str(checkpoint)))
    assert placed.path == storage.checkpoint_fs_path
    assert Path(placed.path).name == "checkpoint_000000"
    assert manifest.check(Path(placed.path)).progress == {"training_iteration": 3}


def test_what_is_there_is_never_written_over(checkpoint, storage):
    whole.persist(storage, Checkpoint(str(checkpoint)))
    storage.current_checkpoint_index = 0  # as after a restart that had not heard of it
    placed = whole.persist(storage, Checkpoint(str(checkpoint)))
    assert Path(placed.path).name == "checkpoint_000001"
    assert len(list(trial_folder(storage).glob("checkpoint_*"))) == 2


@pytest.mark.parametrize(
    ("module", "name", "call"),
    [*((shutil, "copyfile", n) for n in (1, 2, 3)), *((os, "fsync", n) for n in (1, 2, 3, 4, 5))],
)
def test_a_full_disk_leaves_nothing_behind(checkpoint, storage, monkeypatch, module, name, call):
    whole.persist(storage, Checkpoint(str(checkpoint)))
    storage._update_checkpoint_index({})
    monkeypatch.setattr(module, name, no_space_left(call)(getattr(module, name)))
    with pytest.raises(OSError, match="checkpoint_000001 was not saved, those before it are: No"):
        whole.persist(storage, Checkpoint(str(checkpoint)))
    assert [path.name for path in trial_folder(storage).iterdir()] == ["checkpoint_000000"]


def test_killed_in_between_it_is_no_checkpoint_and_is_cleared_away(checkpoint, storage, tmp_path):
    """The process is killed when two of three files are there."""
    target = trial_folder(storage) / "checkpoint_000000"
    script = f"""
import os, shutil, signal
from pathlib import Path
from rllib_mec.experiment.checkpoints import whole
copyfile, calls = shutil.copyfile, []
def killing(*args, **kwargs):
    calls.append(args)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return copyfile(*args, **kwargs)
shutil.copyfile = killing
whole.copy_whole(Path({str(checkpoint)!r}), Path({str(target)!r}))
"""
    killed = subprocess.run([sys.executable, "-c", script], check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = target.parent.iterdir()
    assert left.name.startswith(".checkpoint_000000.")
    assert newest(pyarrow.fs.LocalFileSystem(), str(target.parent)) is None
    whole.persist(storage, Checkpoint(str(checkpoint)))
    assert [path.name for path in target.parent.iterdir()] == ["checkpoint_000000"]


def bucket(tmp_path):
    """An object store, as far as Tune can tell."""
    (tmp_path / "bucket").mkdir(exist_ok=True)
    return pyarrow.fs.SubTreeFileSystem(str(tmp_path / "bucket"), pyarrow.fs.LocalFileSystem())


def test_in_an_object_store_the_manifest_comes_last(checkpoint, tmp_path, monkeypatch):
    store = bucket(tmp_path)
    context = StorageContext(
        "here", experiment_dir_name="exp", trial_dir_name="trial", storage_filesystem=store
    )
    context._create_validation_file()
    context._update_checkpoint_index({})
    original, reads = Path.read_bytes, []

    def cut_off(path):
        reads.append(path.name)
        if len(reads) == 3:
            raise ConnectionResetError(errno.ECONNRESET, "connection lost")
        return original(path)

    monkeypatch.setattr(Path, "read_bytes", cut_off)
    with pytest.raises(OSError, match=r"checkpoint_000000 was not saved.*connection lost"):
        whole.persist(context, Checkpoint(str(checkpoint)))
    monkeypatch.setattr(Path, "read_bytes", original)
    assert reads[-1] == "manifest.json"
    assert newest(store, context.trial_fs_path) is None
    placed = whole.persist(context, Checkpoint(str(checkpoint)))
    found = newest(store, context.trial_fs_path)
    assert found.checkpoint.path == placed.path == "here/exp/trial/checkpoint_000001"
    assert found.metrics == {"training_iteration": 3}


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "manifest.json").unlink(),
        lambda folder: (folder / "below" / "weights").write_bytes(b"v" * 1000),
        lambda folder: shutil.rmtree(folder / "below"),
    ],
)
def test_the_newest_is_the_newest_whole_one(checkpoint, storage, damage, capsys):
    for _ in range(3):
        whole.persist(storage, Checkpoint(str(checkpoint)))
        storage._update_checkpoint_index({})
    damage(trial_folder(storage) / "checkpoint_000002")
    found = newest(storage.storage_filesystem, storage.trial_fs_path)
    assert Path(found.checkpoint.path).name == "checkpoint_000001"
    assert "checkpoint_000002: " in capsys.readouterr().out
