"""Traces as files: what they hold, and what is refused, by name."""

import numpy as np
import pyarrow as pa
import pytest
from made_up_traces import (
    SMALL,
    arrays,
    change,
    record,
    with_field,
    with_metadata,
    with_value,
    without_rows,
)
from pyarrow import parquet

from rllib_mec.errors import InputError
from rllib_mec.system import Scenario
from rllib_mec.traces import read_file, read_trace
from rllib_mec.traces.schema import KINDS


def test_every_column_carries_its_unit_and_the_schema_says_what_it_is(tmp_path):
    record(tmp_path)
    units = {}
    for kind in KINDS.values():
        schema = parquet.read_schema(tmp_path / kind.file)
        assert schema.metadata[b"format"] == b"rllib_mec.trace"
        assert schema.metadata[b"version"] == b"1"
        assert schema.metadata[b"kind"] == kind.name.encode()
        units |= {field.name: field.metadata[b"unit"].decode() for field in schema}
    assert units == {
        **dict.fromkeys(("episode", "ue", "step", "gain", "complexity", "tokens", "domain"), "-"),
        **{"data_mb": "MB", "power_w": "W", "active": "-"},
        **{"tflops": "TFLOP/s", "most_retention": "-", "battery_kj": "kJ"},
    }


def test_what_is_written_is_read_to_the_last_bit(tmp_path):
    written = arrays(record(tmp_path, episodes=5))
    trace = read_trace(tmp_path)
    assert (trace.num_episodes, trace.num_ues, trace.num_tasks) == (5, 3, 4)
    gain = trace.values("channel")["gain"]
    np.testing.assert_array_equal(gain[:, 0], written.pop("first_gain"))
    np.testing.assert_array_equal(gain[:, 1:].swapaxes(0, 1), written.pop("gain"))
    read = {**trace.values("task"), **trace.values("device")}
    assert set(read) == set(written)
    for name, values in read.items():
        np.testing.assert_array_equal(
            values.swapaxes(0, 1) if values.ndim == 3 else values, written[name], err_msg=name
        )


def test_a_scenario_without_parts_has_no_devices(tmp_path):
    record(tmp_path, Scenario(num_ues=2, num_tasks=3))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["channels.parquet", "tasks.parquet"]


def test_the_order_of_rows_does_not_matter(tmp_path):
    record(tmp_path)
    before = read_file(tmp_path / "tasks.parquet").values
    shuffled = np.random.default_rng(0).permutation(30)
    change(tmp_path / "tasks.parquet", lambda table: table.take(shuffled))
    after = read_file(tmp_path / "tasks.parquet").values
    for name, values in before.items():
        np.testing.assert_array_equal(values, after[name])


def test_devices_without_episodes_are_the_same_in_all(tmp_path):
    record(tmp_path)
    change(tmp_path / "devices.parquet", lambda table: table.slice(0, 3).drop_columns(["episode"]))
    battery = read_trace(tmp_path).values("device")["battery_kj"]
    assert battery.shape == (2, 3)
    np.testing.assert_array_equal(battery[0], battery[1])


def test_a_trace_of_one_episode_needs_no_column_for_it(tmp_path):
    record(tmp_path, episodes=1)
    for file in tmp_path.iterdir():
        change(file, lambda table: table.drop_columns(["episode"]))
    assert read_trace(tmp_path).num_episodes == 1


FAULTS = [
    # file, what is done to it, what is said after the file's name
    ("channels", lambda t: t.drop_columns(["gain"]), "column gain is missing: expected double, u"),
    ("tasks", lambda t: t.drop_columns(["ue"]), "column ue is missing: expected int64, unit '-'"),
    (
        "channels",
        with_field("gain", name="gian"),
        "unknown column 'gian' in a channel trace: did you mean 'gain'?",
    ),
    (
        "devices",
        lambda t: t.drop_columns(["tflops", "most_retention", "battery_kj"]),
        "it has no values: expected one of the columns tflops, most_retention, battery_kj",
    ),
    (
        "tasks",
        lambda t: t.append_column(t.schema.field("ue"), t["ue"]),
        "column ue comes twice: expected it once",
    ),
    ("channels", with_metadata(kind="chanel"), "unknown kind 'chanel': did you mean 'channel'?"),
    ("channels", with_metadata(version="2"), "version = '2': expected '1'"),
    (
        "channels",
        with_metadata(format=None),
        "format (in the schema's metadata) is missing: expected 'rllib_mec.trace'",
    ),
    ("channels", with_metadata(origin="{"), "origin (in the schema's metadata): not JSON: "),
    ("tasks", with_field("data_mb", unit="GB"), "column data_mb has unit 'GB' in its metadata: e"),
    ("channels", with_field("gain", unit="dB"), "column gain has unit 'dB' in its metadata: expe"),
    ("devices", with_field("battery_kj", unit=None), "column battery_kj has no unit in its metada"),
    (
        "channels",
        with_field("gain", type=pa.float32()),
        "column gain is of type float: expected double",
    ),
    (
        "channels",
        with_value("gain", 10, float("nan")),
        "gain, row 10 (UE 1, step 2, episode 0) = nan: expected a finite number above 0",
    ),
    (
        "channels",
        with_value("gain", 35, float("inf")),
        "gain, row 35 (UE 2, step 4, episode 1) = i",
    ),
    ("channels", with_value("gain", 0, 0.0), "gain, row 0 (UE 0, step -1, episode 0) = 0.0: expec"),
    ("channels", with_value("gain", 1, -1e-9), "gain, row 1 (UE 1, step -1, episode 0) = -1e-09:"),
    ("channels", with_value("gain", 4, None), "gain, row 4 is empty: expected a value in each row"),
    ("channels", with_value("step", 0, -2), "step, row 0 (UE 0, episode 0) = -2: expected a whole"),
    ("tasks", with_value("data_mb", 2, 0.0), "data_mb, row 2 (UE 2, step 0, episode 0) = 0.0: exp"),
    ("tasks", with_value("tokens", 2, -5.0), "tokens, row 2 (UE 2, step 0, episode 0) = -5.0: exp"),
    ("tasks", with_value("domain", 3, -1), "domain, row 3 (UE 0, step 1, episode 0) = -1: expecte"),
    (
        "devices",
        with_value("most_retention", 4, 1.2),
        "most_retention, row 4 (UE 1, episode 1) = 1.2: expected a finite number above 0 and <= 1",
    ),
    (
        "devices",
        with_value("battery_kj", 0, -1.0),
        "battery_kj, row 0 (UE 0, episode 0) = -1.0: expected a finite number >= 0",
    ),
    (
        "tasks",
        without_rows(step=2, episode=1),
        "there is no row of step 2 (episode 1): expected UEs 0 to 2, steps 0 to 4, without gaps",
    ),
    (
        "tasks",
        without_rows(step=3),
        "there is no row of step 3 (episode 0): expected UEs 0 to 2, s",
    ),
    (
        "channels",
        without_rows(step=-1),
        "there is no row of step -1 (episode 0): expected UEs 0 to",
    ),
    (
        "tasks",
        without_rows(step=4, episode=1),
        "there is no row of step 4 (episode 1): expected UE",
    ),
    (
        "tasks",
        without_rows(step=2, ue=1),
        "there is no row of UE 1 in step 2 (episode 0): expected",
    ),
    (
        "tasks",
        without_rows(ue=1),
        "there is no row of UE 1 in step 0 (episode 0): expected UEs 0 t",
    ),
    ("devices", without_rows(ue=2, episode=1), "there is no row of UE 2 (episode 1): expected UEs"),
    (
        "devices",
        without_rows(episode=0),
        "there is no row of UE 0 (episode 0): expected UEs 0 to 2",
    ),
    (
        "tasks",
        with_value("step", 29, 2**62),
        "there is no row of step 5 (episode 0): expected UEs 0 to 2, steps 0 to 461168601842738790",
    ),
    (
        "tasks",
        with_value("ue", 3, 2),
        "row 5 (UE 2, step 1, episode 0) repeats row 3: expected each once",
    ),
    ("tasks", lambda t: t.slice(0, 0), "it has no rows: expected at least one"),
    (
        "tasks",
        lambda t: t.slice(0, 3),
        "its last step is 0: expected at least 1, which is observed",
    ),
]


@pytest.mark.parametrize(("name", "spoil", "message"), FAULTS, ids=[f[2][:40] for f in FAULTS])
def test_a_malformed_file_is_one_line_that_names_it(tmp_path, name, spoil, message):
    record(tmp_path)
    file = tmp_path / f"{name}.parquet"
    read_file(file)
    change(file, spoil)
    with pytest.raises(InputError) as caught:
        read_trace(tmp_path)
    assert str(caught.value).startswith(f"{file}: {message}")
    assert "\n" not in str(caught.value)


def _zeroed(text: bytes) -> bytes:
    return text[:20] + bytes(60) + text[80:]


def test_a_flipped_bit_is_not_another_gain(tmp_path):
    gain = record(tmp_path).tasks.gain[1, 0, 0]
    file = tmp_path / "channels.parquet"
    before = file.read_bytes()
    at = before.find(gain.tobytes())
    assert at > 0
    file.write_bytes(before[:at] + bytes([before[at] ^ 1]) + before[at + 1 :])
    with pytest.raises(InputError, match=r"expected a Parquet file: .*CRC checksum"):
        read_trace(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: b"", "the file is empty: expected a Parquet file"),
        (lambda text: b"ue,step,gain\n0,0,1e-9\n", "expected a Parquet file: "),
        (lambda text: text[: len(text) // 2], "expected a Parquet file: "),
        (_zeroed, "expected a Parquet file: "),
    ],
    ids=["empty", "csv", "half", "damaged"],
)
def test_what_is_no_parquet_is_refused(tmp_path, spoil, message):
    record(tmp_path)
    file = tmp_path / "channels.parquet"
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(InputError) as caught:
        read_trace(tmp_path)
    assert str(caught.value).startswith(f"{file}: {message}")


@pytest.mark.parametrize(
    ("scenario", "episodes", "message"),
    [
        (SMALL, 3, "the number of episodes is 3: expected 2, as in "),
        (Scenario.of(SMALL, num_ues=4), 2, "the number of UEs is 4: expected 3, as in "),
        (Scenario.of(SMALL, num_tasks=9), 2, "the last step is 9: expected 4, as in "),
    ],
)
def test_files_that_do_not_belong_together_are_refused(tmp_path, scenario, episodes, message):
    record(tmp_path / "one")
    record(tmp_path / "other", scenario, episodes)
    file = tmp_path / "one" / "tasks.parquet"
    (tmp_path / "other" / "tasks.parquet").replace(file)
    with pytest.raises(InputError) as caught:
        read_trace(tmp_path / "one")
    assert str(caught.value).startswith(f"{file}: {message}")


def test_names_of_files_say_what_they_hold(tmp_path):
    record(tmp_path)
    file = tmp_path / "channels.parquet"
    aside = file.rename(tmp_path / "channel.parquet")
    with pytest.raises(
        InputError, match=r"no file of a trace .* did you mean 'channels\.parquet'\?"
    ):
        read_trace(tmp_path)
    aside.unlink()
    (tmp_path / "devices.parquet").rename(file)
    with pytest.raises(InputError, match="kind = 'device': expected 'channel'"):
        read_trace(tmp_path)


def test_a_trace_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="expected a trace, there is no such file or directory"):
        read_trace(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"expected a trace, there is none of channels\.parquet"):
        read_trace(tmp_path)


def test_a_changed_file_is_read_again(tmp_path):
    record(tmp_path)
    assert read_trace(tmp_path) is read_trace(tmp_path)
    change(tmp_path / "channels.parquet", with_value("gain", 0, 0.125))
    assert read_trace(tmp_path).values("channel")["gain"][0, 0, 0] == 0.125


def test_a_trace_is_not_written_over(tmp_path):
    record(tmp_path)
    with pytest.raises(InputError, match=r"directory without a trace, it holds channels\.parquet"):
        record(tmp_path)
    with pytest.raises(InputError, match="expected a directory, this is a file"):
        record(tmp_path / "channels.parquet")
