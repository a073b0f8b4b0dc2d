"""Profiles as files: what they hold, and what is refused, by name."""

import dataclasses

import pyarrow as pa
import pytest
from made_up_profiles import CODE, REFERENCE, row, rows_of, write
from pyarrow import parquet

from rllib_mec.errors import InputError
from rllib_mec.system.profile import KEY, Curve, read_profile, write_profile
from rllib_mec.system.profile_rows import Row

BOTH = {"reference": REFERENCE, "code": CODE}


def test_what_is_written_is_read_to_the_last_bit(tmp_path):
    rows = rows_of(BOTH)
    rows[0] = dataclasses.replace(rows[0], seconds_per_step=0.1 + 0.2, emulator_bytes=2**53 + 1)
    write_profile(tmp_path / "p.parquet", rows, {"model": "tiny", "adapter": {"layers": [2, 2]}})
    profile = read_profile(tmp_path / "p.parquet")
    assert profile.rows == tuple(rows)
    assert profile.about == {"format_version": 1, "model": "tiny", "adapter": {"layers": [2, 2]}}
    assert profile.place == str(tmp_path / "p.parquet")
    assert (profile.tasks, profile.compressions) == (("reference", "code"), ("layer_drop",))
    # What was read can be written again.
    write_profile(tmp_path / "q.parquet", profile.rows, profile.about)
    assert read_profile(tmp_path / "q.parquet").rows == profile.rows
    assert sorted(file.name for file in tmp_path.iterdir()) == ["p.parquet", "q.parquet"]


def test_columns_are_those_of_a_row_with_their_units(tmp_path):
    write(tmp_path / "p.parquet")
    schema = parquet.read_schema(tmp_path / "p.parquet")
    assert schema.names == [column.name for column in dataclasses.fields(Row)]
    assert not any(field.nullable for field in schema)
    assert schema.field("seconds_per_step").metadata[b"unit"] == b"s"
    assert schema.field("kept_layers").type == pa.int64()


def test_curves_are_means_over_the_seeds(tmp_path):
    rows = [
        row("a", "local", 0.5, 10.0, 0, tuned=30.0),
        row("a", "server", 1.0, 7.0, 0),
        row("a", "server", 1.0, 8.0, 1),
        row("a", "local", 0.5, 11.0, 1, tuned=34.0),
        row("a", "local", 0.25, 20.0, 0, tuned=50.0),
        row("a", "local", 0.25, 24.0, 1, tuned=60.0),
        # A whole emulator and all weights tuned: of no curve.
        row("a", "local", 1.0, 99.0, 0),
        row("a", "local", 1.0, 99.0, 1),
        row("a", "full", 1.0, 5.0, 0),
    ]
    write_profile(tmp_path / "p.parquet", rows, {})
    profile = read_profile(tmp_path / "p.parquet")
    plug_in = profile.curve("a", "layer_drop", "plug_in")
    assert plug_in == Curve("a", (0.25, 0.5, 1.0), (22.0, 10.5, 7.5))
    assert plug_in.server == 7.5
    emulator = profile.curve("a", "layer_drop", "emulator_tuned")
    assert emulator == Curve("a", (0.25, 0.5, 1.0), (55.0, 32.0, 7.5))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("cod", "layer_drop", "plug_in"), r"task 'cod' .*: expected one of code \(layer_drop\), "),
        (("code", "pruning", "plug_in"), r"compression 'pruning': expected one of code \(layer_"),
        (("code", "layer_drop", "loss"), "metric = 'loss': expected one of plug_in, emulator_tun"),
    ],
)
def test_curves_of_what_was_not_measured_are_refused(tmp_path, asked, message):
    with pytest.raises(InputError, match=message):
        read_profile(write(tmp_path / "p.parquet")).curve(*asked)


def good():
    return rows_of({"reference": REFERENCE}, seeds=(0, 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tuned": float("nan")}, "tuned, row 0 (task reference) = nan: expected a perplexity, "),
        ({"plug_in": 0.0}, "plug_in, row 0 (task reference) = 0.0: expected a perplexity, finite"),
        ({"zero_shot": float("inf")}, "zero_shot, row 0 (task reference) = inf: expected a perpl"),
        ({"retention": 0.0}, "retention, row 0 (task reference) = 0.0: expected a number > 0 and"),
        ({"retention": 1.5}, "retention, row 0 (task reference) = 1.5: expected a number > 0 and"),
        ({"case": "edge"}, "case, row 0 (task reference) = 'edge': expected one of local, server"),
        ({"compression": "none"}, "compression, row 0 (task reference) = 'none': expected one of "),
        ({"compression": "zip"}, "compression, row 0 (task reference) = 'zip': expected one of "),
        ({"task": ""}, "task, row 0 (task ) = '': expected a name"),
        ({"seconds_per_step": -1.0}, "seconds_per_step, row 0 (task reference) = -1.0: expected "),
        ({"emulator_bytes": -1}, "emulator_bytes, row 0 (task reference) = -1: expected a finite"),
        ({"case": "server", "compression": "none"}, "retention, row 0 (task reference) = 0.2: exp"),
        ({"case": "server", "retention": 1.0}, "compression, row 0 (task reference) = 'layer_drop"),
        ({"seed": 1}, "row 1 repeats row 0 (layer_drop, retention 0.2, seed 1): expected each on"),
    ],
)
def test_rows_that_make_no_sense_are_refused(tmp_path, change, message):
    file = tmp_path / "p.parquet"
    write_profile(file, good(), {})
    table = parquet.read_table(file).to_pylist()
    table[0] |= change
    parquet.write_table(pa.Table.from_pylist(table, parquet.read_schema(file)), file)
    with pytest.raises(InputError) as caught:
        read_profile(file)
    assert str(caught.value).startswith(f"{file}: {message}")
    assert "\n" not in str(caught.value)
    spoilt = [dataclasses.replace(good()[0], **change), *good()[1:]]
    with pytest.raises(InputError) as caught:
        write_profile(tmp_path / "q.parquet", spoilt, {})
    assert message in str(caught.value)
    assert not (tmp_path / "q.parquet").exists()


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        (lambda r: r.case != "server", "task reference has no row of case server: expected one"),
        (lambda r: r.case == "server", "task reference has no row of case local: expected some"),
        (
            lambda r: r.retention in (0.4, 1.0),
            "task reference (layer_drop) has 1 retentions below 1: expected at least 2",
        ),
        (
            lambda r: (r.retention, r.seed) != (0.6, 1),
            "task reference: layer_drop, retention 0.6 was not measured with seed 1: expected",
        ),
        (
            lambda r: (r.case, r.seed) != ("server", 0),
            "task reference: server was not measured with seed 0: expected the same seeds at",
        ),
    ],
)
def test_unfinished_profiles_are_refused_unless_that_is_asked_for(tmp_path, kept, message):
    rows = tuple(each for each in good() if kept(each))
    write_profile(tmp_path / "p.parquet", rows, {})
    with pytest.raises(InputError) as caught:
        read_profile(tmp_path / "p.parquet")
    assert str(caught.value).startswith(f"{tmp_path / 'p.parquet'}: {message}")
    assert read_profile(tmp_path / "p.parquet", finished=False).rows == rows


def rewritten(change):
    """A spoiler: rewrites the file with a function of its table."""

    def spoil(file):
        parquet.write_table(change(parquet.read_table(file)), file)

    return spoil


def flipped(file):
    data = bytearray(file.read_bytes())
    data[60] ^= 1
    file.write_bytes(data)


def cast(table):
    at = table.schema.get_field_index("tuned")
    return table.set_column(at, "tuned", table["tuned"].cast(pa.float32()))


def holed(table):
    at = table.schema.get_field_index("tuned")
    values = [None, *table["tuned"].to_pylist()[1:]]
    return table.set_column(at, "tuned", pa.array(values, pa.float64()))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda file: file.unlink(), "there is no such file"),
        (lambda file: file.write_bytes(b""), "the file is empty: expected a Parquet file"),
        (lambda file: file.write_text("not Parquet, but text"), "expected a Parquet file: "),
        (lambda file: file.write_bytes(file.read_bytes()[:-50]), "expected a Parquet file: "),
        (flipped, "expected a Parquet file: "),
        (rewritten(lambda t: t.slice(0, 0)), "it has no rows: expected at least one"),
        (rewritten(lambda t: t.drop_columns(["plug_in"])), "column plug_in is missing: expected "),
        (rewritten(cast), "column tuned is of type float: expected double"),
        (rewritten(holed), "tuned, row 0 is empty: expected a value in each row"),
        (rewritten(lambda t: t.replace_schema_metadata({})), f"{KEY} (in the schema's metadata) "),
        (rewritten(lambda t: t.replace_schema_metadata({KEY: "{"})), f"{KEY} (in the schema's me"),
        (rewritten(lambda t: t.replace_schema_metadata({KEY: "[]"})), f"{KEY} (in the schema's m"),
        (
            rewritten(lambda t: t.replace_schema_metadata({KEY: '{"format_version": 2}'})),
            "format_version = 2: expected 1",
        ),
    ],
)
def test_files_that_are_no_profiles_are_refused(tmp_path, spoil, message):
    file = tmp_path / "p.parquet"
    write_profile(file, good(), {})
    spoil(file)
    with pytest.raises(InputError) as caught:
        read_profile(file)
    assert str(caught.value).startswith(f"{file}: {message}")
    assert "\n" not in str(caught.value)


def test_a_profile_that_cannot_be_written_leaves_nothing(tmp_path):
    file = tmp_path / "p.parquet"
    file.mkdir()
    with pytest.raises(InputError, match="cannot write it: "):
        write_profile(file, good(), {})
    assert [each.name for each in tmp_path.iterdir()] == ["p.parquet"]
    with pytest.raises(InputError, match="format_version = 3: expected 1"):
        write_profile(tmp_path / "q.parquet", good(), {"format_version": 3})
