"""Conversion of 5Gdataset's CSV files, here made up in that format."""

import json

import numpy as np
import pytest

from rllib_mec.cli import main
from rllib_mec.envs import EnvConfig
from rllib_mec.errors import InputError
from rllib_mec.system import Simulator
from rllib_mec.traces import read_trace
from rllib_mec.traces.five_g import convert

HEADER = (
    "Timestamp,Longitude,Latitude,Speed,Operatorname,CellID,NetworkMode,RSRP,RSRQ,SNR,CQI,RSSI,"
    "DL_bitrate,UL_bitrate,State,PINGAVG,PINGMIN,PINGMAX,PINGSTDEV,PINGLOSS,CELLHEX,NODEHEX,"
    "LACHEX,RAWCELLID,NRxRSRP,NRxRSRQ"
)


def row(second, rsrp, mode="5G"):
    time = f"2020.01.02_23.{second // 60:02d}.{second % 60:02d}"
    return f"{time},0.5,50.5,3,X,7,{mode},{rsrp},-11,6.0,9,-,800,90,D,-,-,-,-,-,7,AB,CD,99,-,-"


def write(file, rows):
    file.write_text("\n".join([HEADER, *rows]) + "\n")
    return file


def converted(tmp_path, *files, period_s=10.0, reference_power_dbm=20.0, gaps="refuse"):
    convert(
        files,
        tmp_path / "trace",
        period_s=period_s,
        reference_power_dbm=reference_power_dbm,
        gaps=gaps,
    )
    return 10 * np.log10(read_trace(tmp_path / "trace").values("channel")["gain"][0])


def steady(levels, seconds=10):
    """Rows of so many seconds at each level."""
    return [row(i, levels[i // seconds]) for i in range(len(levels) * seconds)]


def test_gain_is_rsrp_over_the_power_that_is_sent_and_each_file_a_ue(tmp_path):
    one = write(tmp_path / "one.csv", steady([-80, -90, -100, -110]))
    other = write(tmp_path / "other.csv", steady([-70, -75, -85]))
    gain_db = converted(tmp_path, one, other)
    np.testing.assert_allclose(gain_db, [[-100, -90], [-110, -95], [-120, -105]], rtol=1e-12)
    origin = read_trace(tmp_path / "trace").recordings["channel"].origin
    assert origin["files"] == ["one.csv", "other.csv"]
    assert (origin["period_s"], origin["reference_power_dbm"]) == (10, 20)


def test_a_period_has_the_mean_of_its_powers(tmp_path):
    rows = steady([-80, -90, -100])
    rows[3] = row(3, -70)
    rows[4] = row(3, -70)  # The phone logs a second twice, at times.
    gain_db = converted(tmp_path, write(tmp_path / "a.csv", rows))
    assert gain_db[0, 0] == pytest.approx(10 * np.log10(0.8e-8 + 0.2e-7) - 20)
    np.testing.assert_allclose(gain_db[1:, 0], [-110, -120], rtol=1e-12)


@pytest.mark.parametrize(
    ("rsrp", "mode"), [("-", "5G"), ("-200", "LTE"), (-51, "HSPA+"), (-51, "EDGE"), ("", "5G")]
)
def test_what_is_no_rsrp_is_left_out(tmp_path, rsrp, mode):
    rows = steady([-80, -90, -100])
    rows[12:15] = [row(second, rsrp, mode) for second in range(12, 15)]
    gain_db = converted(tmp_path, write(tmp_path / "a.csv", rows))
    np.testing.assert_allclose(gain_db[:, 0], [-100, -110, -120], rtol=1e-12)


def test_gaps_are_refused_or_interpolated_in_db(tmp_path):
    rows = steady([-80, -90, -50, -105, -110])
    for second in range(20, 30):
        rows[second] = row(second, "-")
    file = write(tmp_path / "a.csv", rows)
    with pytest.raises(InputError) as caught:
        converted(tmp_path, file)
    assert str(caught.value) == (
        f"{file}: no RSRP of 5G or LTE from 20 s to 30 s after the first: expected one in each "
        "period of 10 s, or --gaps interpolate"
    )
    gain_db = converted(tmp_path, file, gaps="interpolate")
    np.testing.assert_allclose(gain_db[:, 0], [-100, -110, -117.5, -125, -130], rtol=1e-12)


def test_it_begins_with_the_first_and_ends_with_the_last_measurement(tmp_path):
    rows = [row(second, "-") for second in range(35)]
    rows += [row(35 + second, -80 - second // 10) for second in range(33)]
    rows += [row(100 + second, -60, "UMTS") for second in range(60)]
    gain_db = converted(tmp_path, write(tmp_path / "a.csv", rows))
    np.testing.assert_allclose(gain_db[:, 0], [-100, -101, -102], rtol=1e-12)


def _not_utf8(file):
    file.write_bytes(b"\xff\xfe\x00")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(0, -80), row(1, "strong")], ":3: RSRP = 'strong': expected dBm in [-156, -31], or"),
        ([row(0, -80), row(1, 12)], ":3: RSRP = '12': expected dBm in [-156, -31], or '-'"),
        ([row(0, -80), row(1, "nan")], ":3: RSRP = 'nan': expected dBm in [-156, -31], or '-'"),
        (["2020-01-02 10:00," + "1," * 25], ":2: Timestamp = '2020-01-02 10:00': expected one li"),
        (steady([-80, -90]), ": it lasts 2 whole periods of 10 s: expected at least 3 "),
        ([row(0, "-")], ": no row has an RSRP of 5G or LTE: expected some"),
        ([], ": no row has an RSRP of 5G or LTE: expected some"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_line(tmp_path, rows, message):
    file = write(tmp_path / "a.csv", rows)
    with pytest.raises(InputError) as caught:
        converted(tmp_path, file)
    assert str(caught.value).startswith(f"{file}{message}")
    assert not (tmp_path / "trace").exists()


def test_other_files_are_refused(tmp_path):
    file = tmp_path / "a.csv"
    with pytest.raises(InputError, match=r"cannot read .*a\.csv: No such file"):
        converted(tmp_path, file)
    _not_utf8(file)
    with pytest.raises(InputError, match="expected a CSV file"):
        converted(tmp_path, file)
    file.write_text("time,power\n1,2\n")
    with pytest.raises(InputError, match="column Timestamp is missing: expected a CSV file of 5G"):
        converted(tmp_path, file)


@pytest.mark.parametrize("setting", [{"period_s": 0.5}, {"period_s": float("nan")}])
def test_settings_that_make_no_sense(tmp_path, setting):
    file = write(tmp_path / "a.csv", steady([-80, -90, -100]))
    with pytest.raises(InputError, match=r"--period-s .*: expected a finite number >= 1"):
        converted(tmp_path, file, **setting)


def test_measured_channels_drive_the_environment(tmp_path, capsys):
    files = [write(tmp_path / f"{n}.csv", steady(range(-80 - n, -110, -1))) for n in range(2)]
    arguments = ["--from", "5gdataset", "--out", str(tmp_path / "trace"), "--period-s", "10"]
    with pytest.raises(SystemExit) as caught:
        main(["trace", "convert", *map(str, files), *arguments])
    assert caught.value.code == 0
    assert "channel, 1 episode, 2 UEs, steps -1 to 27, 58 rows of gain" in capsys.readouterr().out
    config = EnvConfig.of(
        json.loads('{"scenario": "field", "num_ues": 2, "num_tasks": 9, "replay": "windows"}')
        | {"trace": str(tmp_path / "trace")}
    )
    simulator = Simulator(config.scenario, 3, config.episode_source())
    simulator.reset(0)
    gain_db = 10 * np.log10(simulator.episode.tasks.gain)
    np.testing.assert_allclose(np.diff(gain_db, axis=0), -1, rtol=1e-9)
    np.testing.assert_allclose(gain_db[:, :, 1], gain_db[:, :, 0] - 1, rtol=1e-12)
