"""Checkpoints are there as a whole or not at all, and the newest whole one is found."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pyarrow.fs
import pytest
from ray.train._internal.checkpoint_manager import _CheckpointManager
from ray.train._internal.session import _TrainingResult
from ray.train._internal.storage import StorageContext
from ray.tune import Checkpoint, CheckpointConfig

from rllib_mec.experiment.checkpoints import manifest, whole
from rllib_mec.experiment.checkpoints.newest import GoOnFromNewest, newest


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


def test_what_others_keep_beside_it_stays(checkpoint, tmp_path):
    for name in (".policy.backup", ".policy.d", ".policy.3", ".policy.7.partial.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("theirs")
    (tmp_path / ".policy.7.partial").mkdir()
    whole.copy_whole(checkpoint, tmp_path / "policy")
    assert (tmp_path / ".policy.backup" / "file").read_text() == "theirs"
    assert {path.name for path in tmp_path.glob(".policy*")} == {
        *(".policy.backup", ".policy.d", ".policy.3", ".policy.7.partial.old")
    }


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


class Trial:
    """What Tune has of a trial, as far as it matters here."""

    PENDING, PAUSED, TERMINATED = "PENDING", "PAUSED", "TERMINATED"

    def __init__(self, storage, known, status="PENDING", **config):
        self.trial_id, self.storage, self.status = "abc_00000", storage, status
        manager = _CheckpointManager(CheckpointConfig(**config))
        manager._checkpoint_results = list(known)
        manager._latest_checkpoint_result = known[-1] if known else None
        self.run_metadata = SimpleNamespace(checkpoint_manager=manager)

    def resumed(self):
        """Returns the names of the newest checkpoint and of all, after a resumed run's start."""
        GoOnFromNewest().on_step_begin(0, [self])
        manager = self.run_metadata.checkpoint_manager
        latest = manager.latest_checkpoint_result
        every = [Path(result.checkpoint.path).name[-1] for result in manager._checkpoint_results]
        return latest and Path(latest.checkpoint.path).name[-1], "".join(every)


def known_results(storage, numbers, scores=None):
    return [
        _TrainingResult(
            Checkpoint(f"{storage.trial_fs_path}/checkpoint_00000{number}"),
            {"score": (scores or numbers)[n]},
        )
        for n, number in enumerate(numbers)
    ]


@pytest.fixture
def five(checkpoint, storage):
    """A trial's directory with checkpoints 0 to 4, scored 3, 4, 0, 1, 2."""
    for number in range(5):
        progress = {"training_iteration": number, "score": (number + 3) % 5}
        manifest.write(checkpoint, {}, None, progress)
        whole.persist(storage, Checkpoint(str(checkpoint)))
        storage._update_checkpoint_index({})
    return storage


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ([], ("4", "01234")),  # the driver was killed before it had saved anything
        ([0, 1, 2], ("4", "01234")),
        ([0, 1, 2, 3, 4], ("4", "01234")),
        ([3, 4, 7], ("4", "01234")),  # 7 is gone
    ],
)
def test_a_resumed_trial_has_what_is_there(five, known, expected):
    assert Trial(five, known_results(five, known)).resumed() == expected


def test_a_resumed_trial_keeps_the_best_by_score(five):
    known = known_results(five, [0, 1], [3, 4])
    trial = Trial(five, known, num_to_keep=2, checkpoint_score_attribute="score")
    assert trial.resumed() == ("4", "23401")


def test_damaged_ones_are_no_longer_known(five, capsys):
    for number in (2, 3, 4):
        (trial_folder(five) / f"checkpoint_00000{number}" / "state.msgpack").write_bytes(b"")
    assert Trial(five, known_results(five, [1, 4])).resumed()[0] == "1"
    assert "checkpoint_000004: damaged: state.msgpack has 0 bytes" in capsys.readouterr().out
    for number in (0, 1):
        (trial_folder(five) / f"checkpoint_00000{number}" / "manifest.json").unlink()
    assert Trial(five, known_results(five, [1, 4])).resumed()[0] is None
    assert "abc_00000: no checkpoint is whole, it starts from the beginning" in (
        capsys.readouterr().out
    )


def test_what_population_based_training_has_given_a_trial_stays(five, tmp_path):
    another = tmp_path / "results" / "exp" / "another" / "checkpoint_000003"
    (result,) = known_results(five, [3])
    result.checkpoint = Checkpoint(str(another))
    assert Trial(five, [result]).resumed() == ("4", "01234")  # the other one keeps few
    another.mkdir(parents=True)
    assert Trial(five, [result]).resumed() == ("3", "01234")


def test_trials_that_have_ended_are_left_alone(five):
    trial = Trial(five, known_results(five, [0]), status="TERMINATED")
    assert trial.resumed() == ("0", "0")
