"""Files of recordings: what is read is what was written, and what cannot be read is named."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from batches import assert_same, segments
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from toy_teams import SIZES, toy_team

from rllib_mec.errors import InputError
from rllib_mec.hmppo import read_recording
from rllib_mec.hmppo.recording.files import RecordingWriter
from rllib_mec.hmppo.recording.rows import described
from rllib_mec.hmppo.team_batch import TeamBatch

TEAM = toy_team()


def parts_of(path):
    return sorted(Path(path).rglob("*.parquet"))


def some_batch(lengths, seed=0, scale=1.0):
    """Any batch of the toy team, with segments of these lengths."""
    rng = np.random.default_rng(seed)
    rows, count = sum(lengths), len(lengths)

    def floats(*shape):
        return (scale * rng.normal(size=shape)).astype(np.float32)

    def each(rows, size):
        return {a: floats(rows, size(a)) for a in TEAM.agents}

    return TeamBatch(
        observations=each(rows, SIZES.get),
        actions=each(rows, lambda a: sum(leaf.size for leaf in TEAM.codecs[a].leaves)),
        log_probs={a: floats(rows, 1) for a in TEAM.agents},
        parameters=each(rows, lambda a: TEAM.codecs[a].num_parameters),
        rewards=floats(rows),
        lengths=np.array(lengths),
        final_observations=each(count, SIZES.get),
        terminated=rng.random(count) < 0.5,
    )


def write(path, *batches, runner=0, max_rows=None):
    writer = RecordingWriter(path, runner=runner, team=TEAM, max_rows=max_rows)
    for batch in batches:
        writer.add(batch)
    writer.flush()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 7), min_size=1, max_size=4), min_size=1, max_size=4),
    st.none() | st.integers(1, 12),
    st.integers(0, 9),
    st.sampled_from([1.0, 1e-42, 1e38, 0.0]),
)
def test_what_is_read_is_what_was_written(lengths, max_rows, seed, scale):
    batches = [some_batch(each, seed + i, scale) for i, each in enumerate(lengths)]
    with tempfile.TemporaryDirectory() as path:
        write(path, *batches, max_rows=max_rows)
        assert_same(read_recording(path), TeamBatch.concatenate(batches))
        rows = [parquet.read_metadata(part).num_rows for part in parts_of(path)]
        if max_rows is None:
            assert rows == [len(batch) for batch in batches]
        else:
            assert max(rows) <= max_rows
        assert len(list(Path(path).rglob("*.*"))) == len(rows)  # nothing else is left


def test_files_end_with_a_segment_where_they_can(tmp_path):
    write(tmp_path, some_batch([3, 3, 3, 10, 2]), max_rows=8)
    rows = [parquet.read_metadata(part).num_rows for part in parts_of(tmp_path)]
    assert rows == [6, 3, 8, 2, 2]


def test_later_runs_go_on_numbering_and_touch_nothing(tmp_path):
    batches = [some_batch([4, 2], seed) for seed in range(3)]
    write(tmp_path, *batches[:2])
    before = {part: part.read_bytes() for part in parts_of(tmp_path)}
    write(tmp_path, batches[2])
    assert {part: part.read_bytes() for part in before} == before
    names = [part.name for part in parts_of(tmp_path)]
    assert [name[:11] for name in names] == ["part-000000", "part-000001", "part-000002"]
    assert_same(read_recording(tmp_path), TeamBatch.concatenate(batches))


def test_runs_at_the_same_time_do_not_overwrite_each_other(tmp_path):
    writers = [RecordingWriter(tmp_path, runner=0, team=TEAM) for _ in range(2)]
    batches = [some_batch([3], seed) for seed in range(4)]
    writers[0].add(batches[0])
    writers[1]._part = 0  # as if it had looked before the first file was there
    for writer, batch in zip([writers[1], *writers], batches[1:], strict=True):
        writer.add(batch)
    assert len(parts_of(tmp_path)) == 4
    assert segments(read_recording(tmp_path)) == segments(TeamBatch.concatenate(batches))


def test_runner_by_runner_from_a_uri(tmp_path):
    batches = [some_batch([4, 2], seed) for seed in range(2)]
    write(tmp_path.as_uri(), batches[1], runner=2)
    write(tmp_path.as_uri(), batches[0], runner=1)
    assert_same(read_recording(tmp_path.as_uri()), TeamBatch.concatenate(batches))
    assert_same(read_recording(tmp_path / "runner-002"), batches[1])
    assert_same(read_recording(parts_of(tmp_path)[0]), batches[0])


def test_a_file_says_what_it_holds(tmp_path):
    write(tmp_path, some_batch([2]), runner=3)
    schema = parquet.read_schema(parts_of(tmp_path)[0])
    about = described(schema, "")
    assert set(about["columns"]) == set(schema.names)
    assert about["team"] == TEAM.to_dict()
    assert (about["runner"], about["part"]) == (3, 0)
    assert set(about["versions"]) == {"rllib_mec", "ray"}
    assert schema.field("observations/tail").type == pa.list_(pa.float32(), SIZES["tail"])


def test_what_cannot_be_written_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    writer = RecordingWriter(tmp_path, runner=0, team=TEAM)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parquet, "write_table", full)
    with pytest.raises(OSError, match="No space left"):
        writer.add(some_batch([2]))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def changed(path, change):
    """Writes a recording of a segment of four steps, with its only file's table changed."""
    write(path, some_batch([4]))
    [part] = parts_of(path)
    table = parquet.read_table(part)
    parquet.write_table(change(table), part)


def with_column(name, values):
    def change(table):
        return table.set_column(table.column_names.index(name), name, values)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop_columns(["actions/tail"]), "column actions/tail is missing"),
        (lambda t: t.replace_schema_metadata(None), "this is another Parquet file"),
        (
            lambda t: t.replace_schema_metadata({"rllib_mec": '{"format": 3}'}),
            r"format = 3: expected one of \(1, 2\)",
        ),
        (
            with_column("rewards", pa.array([0.0] * 4)),
            "column rewards is of type double: expected float",
        ),
        (
            with_column("rewards", pa.array([1, np.nan, 2, 3], pa.float32())),
            "column rewards holds NaN",
        ),
        (
            with_column("rewards", pa.array([1, None, 2, 3], pa.float32())),
            "column rewards holds 1 empty values",
        ),
        (
            with_column(
                "observations/leader",
                pa.array([[0, 0, 0]] * 3 + [[0, np.nan, 0]], pa.list_(pa.float32(), 3)),
            ),
            "column observations/leader holds NaN",
        ),
        (lambda t: t.slice(1), "segment 0 is not whole"),
        (lambda t: t.slice(0, 3), "segment 0 is not whole"),
        (lambda t: t.slice(0, 0), "expected at least one row"),
    ],
)
def test_what_is_no_recording_is_named(tmp_path, change, message):
    changed(tmp_path, change)
    with pytest.raises(InputError, match=f"part-000000-.*: .*{message}"):
        read_recording(tmp_path)


def test_missing_copied_and_foreign_files_are_named(tmp_path):
    with pytest.raises(InputError, match="there is no Parquet file"):
        read_recording(tmp_path)
    with pytest.raises(InputError, match="there is no such file or directory"):
        read_recording(tmp_path / "nothing")
    with pytest.raises(InputError, match="'s4://x': expected a directory or a URI"):
        read_recording("s4://x")
    write(tmp_path, some_batch([9, 2]), max_rows=3)
    first, second = parts_of(tmp_path)[:2]
    shutil.copy(first, tmp_path / "copy.parquet")
    with pytest.raises(InputError, match="segment 0 is not whole or comes twice"):
        read_recording(tmp_path)
    (tmp_path / "copy.parquet").unlink()
    second.unlink()
    with pytest.raises(InputError, match="segment 0 is not whole"):
        read_recording(tmp_path)
    (tmp_path / "text.parquet").write_text("text")
    with pytest.raises(InputError, match=r"text\.parquet: expected a Parquet file"):
        read_recording(tmp_path / "text.parquet")


def test_whole_files_that_come_twice_are_named(tmp_path):
    write(tmp_path, some_batch([2, 1]))
    shutil.copy(parts_of(tmp_path)[0], tmp_path / "copy.parquet")
    with pytest.raises(InputError, match="segment 0 is not whole or comes twice"):
        read_recording(tmp_path)


def test_other_teams_are_not_mixed_in(tmp_path):
    write(tmp_path, some_batch([2]))
    other = RecordingWriter(tmp_path, runner=1, team=toy_team(slots={}))
    other.add(some_batch([2]))
    with pytest.raises(InputError, match=r"runner-001.*same team as .*runner-000"):
        read_recording(tmp_path)
