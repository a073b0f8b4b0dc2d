"""Channels from the measurements of github.com/uccmisl/5Gdataset (Raca et al., MMSys 2020).

Its CSV files have a row about every second, as G-NetTrack Pro logs it. Of their columns these are
read:

* ``Timestamp``: 2019.12.16_13.40.04;
* ``NetworkMode``: only in rows of ``5G`` and ``LTE`` is RSRP what it says; in those of older
  networks it is another power;
* ``RSRP``: reference signal received power, the mean power of one resource element, in dBm. "-" and
  -200, which is below all that a phone can report, are no measurement.

The gain is RSRP over the power that the cell sends per resource element, the inverse of the path
loss that a UE computes itself, referenceSignalPower - RSRP in dB (3GPP TS 38.213, 7.1.1, and TS
36.213, 5.1.1.1). Antennas are in it, as in h of the system model. What the cells sent is not in the
data set: the default, 15.2 dBm, is 46 dBm (40 W), 3GPP's macro cell (TR 36.814, annex A.2.1), over
the 1200 resource elements of 20 MHz of LTE; each dB of it moves all gains by one.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from rllib_mec.errors import InputError
from rllib_mec.system.radio import Floats
from rllib_mec.traces.trace import check_new, write_values

_COLUMNS = ("Timestamp", "NetworkMode", "RSRP")
_MODES = ("5G", "LTE")
_NOT_MEASURED = ("-", "")
_NO_SIGNAL_DBM = -200.0
_RSRP_DBM = (-156.0, -31.0)
"""What can be reported: 3GPP TS 38.133, 10.1.6.1; LTE's range lies within."""

_ROW_S = 1.0
"""A row stands for so many seconds; no period can be shorter."""


def convert(
    files: Sequence[Path],
    out: Path,
    *,
    period_s: float,
    reference_power_dbm: float,
    gaps: str,
) -> None:
    """Writes ``channels.parquet``: one episode, each file a UE.

    A step is a period; its gain is the mean of those measured in it. All UEs start with the first
    measurement of their file, whenever that was, and end with the shortest.

    Args:
        out: directory of the trace.
        period_s: from task to task, in s.
        reference_power_dbm: what a cell sends per resource element.
        gaps: what becomes of periods without a measurement: ``refuse``, or ``interpolate``
            linearly in dB.

    Raises:
        InputError: a file that is none of the data set's, too short, or with gaps; names the file
            and line.
    """
    check_new(out)
    if not math.isfinite(reference_power_dbm):
        raise InputError(f"--reference-power-dbm {reference_power_dbm}: expected a finite number")
    if not (math.isfinite(period_s) and period_s >= _ROW_S):
        raise InputError(f"--period-s {period_s:g}: expected a finite number >= {_ROW_S:g}")
    series = []
    for file in files:
        rsrp_dbm = _resampled(file, period_s, gaps)
        if len(rsrp_dbm) < 3:
            raise InputError(
                f"{file}: it lasts {len(rsrp_dbm)} whole periods of {period_s:g} s: expected at "
                "least 3 (--period-s: before, during and after a task)"
            )
        series.append(rsrp_dbm)
    steps = min(map(len, series))
    gain = 10 ** ((np.array([each[:steps] for each in series]).T - reference_power_dbm) / 10)
    origin = {
        "data_set": "github.com/uccmisl/5Gdataset",
        "files": [file.name for file in files],
        "period_s": period_s,
        "reference_power_dbm": reference_power_dbm,
        "gaps": gaps,
    }
    write_values(out, {"channel": {"gain": gain[None]}}, origin)


def _resampled(file: Path, period_s: float, gaps: str) -> Floats:
    """Returns RSRP of each whole period in dBm: the logarithm of the mean power."""
    rows = [(time.timestamp(), rsrp_dbm) for time, rsrp_dbm in _rows(file) if rsrp_dbm is not None]
    if not rows:
        raise InputError(f"{file}: no row has an RSRP of {' or '.join(_MODES)}: expected some")
    times, rsrp_dbm = np.array(rows).T
    times -= times.min()
    periods = int((times.max() + _ROW_S) // period_s)
    # The last period need not be whole to be interpolated to.
    measured, period = np.unique((times // period_s).astype(np.intp), return_inverse=True)
    gap = np.flatnonzero(np.diff(measured) > 1)
    if gaps == "refuse" and len(gap) and (empty := int(measured[gap[0]]) + 1) < periods:
        raise InputError(
            f"{file}: no RSRP of {' or '.join(_MODES)} from {empty * period_s:g} s to "
            f"{(empty + 1) * period_s:g} s after the first: expected one in each period of "
            f"{period_s:g} s, or --gaps interpolate"
        )
    mean_dbm = 10 * np.log10(np.bincount(period, 10 ** (rsrp_dbm / 10)) / np.bincount(period))
    return np.interp(np.arange(periods), measured, mean_dbm)


def _rows(file: Path) -> Iterator[tuple[datetime, float | None]]:
    """Yields time and RSRP of each row; None where that was not measured."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            for name in _COLUMNS:
                if name not in (reader.fieldnames or ()):
                    raise InputError(
                        f"{file}: column {name} is missing: expected a CSV file of 5Gdataset with "
                        f"{', '.join(_COLUMNS)}"
                    )
            for row in reader:
                yield (
                    _time(row, f"{file}:{reader.line_num}"),
                    _rsrp(row, f"{file}:{reader.line_num}"),
                )
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file}: expected a CSV file: {error}") from None


def _time(row: dict[str, str | None], place: str) -> datetime:
    text = row["Timestamp"] or ""
    try:
        # All clocks alike: only differences matter, and no time zone's hour comes twice.
        return datetime.strptime(f"{text} +0000", "%Y.%m.%d_%H.%M.%S %z")
    except ValueError:
        raise InputError(
            f"{place}: Timestamp = {text!r}: expected one like 2019.12.16_13.40.04"
        ) from None


def _rsrp(row: dict[str, str | None], place: str) -> float | None:
    text = row["RSRP"]
    if row["NetworkMode"] not in _MODES or text in _NOT_MEASURED:
        return None
    low, high = _RSRP_DBM
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if value == _NO_SIGNAL_DBM:
        return None
    if not low <= value <= high:
        raise InputError(f"{place}: RSRP = {text!r}: expected dBm in [{low:g}, {high:g}], or '-'")
    return value
