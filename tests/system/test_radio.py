"""Rates and delays, eq. (1) to (8): worked by hand, and the laws they obey."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rllib_mec.system import Scenario
from rllib_mec.system.radio import (
    download_delay,
    noise_w_per_hz,
    path_gain,
    shannon_rate,
    upload_delay,
)

PUBLISHED = Scenario()
UES = 4
GAINS = arrays(np.float64, (1, UES), elements=st.floats(1e-10, 1e-6))
RETENTIONS = arrays(np.float64, (1, UES), elements=st.floats(0.2, 0.8))
FLAGS = arrays(np.bool_, (1, UES))
laws = settings(deadline=None, max_examples=50)


def row(*values):
    return np.array([values])


def test_noise_density():
    # -174 dBm/Hz = -204 dBW/Hz
    assert noise_w_per_hz(PUBLISHED) == pytest.approx(3.98107e-21, rel=1e-5)


def test_path_gain_falls_with_the_distance_to_the_exponent():
    assert path_gain(PUBLISHED, np.array([1.0, 200.0])) == pytest.approx([1e-3, 2.5e-8])
    steeper = Scenario(path_loss_exponent=3, gain_at_1m_db=-20)
    assert path_gain(steeper, np.array([100.0])) == pytest.approx([1e-8])


def test_shannon_rate():
    # p h / (sigma^2 W) = 5e-8 / (3.98107e-21 * 1e5) = 1.255943e8, log2(1 + .) = 26.904196
    rate = shannon_rate(np.array(1e5), np.array(0.5), np.array(1e-7), 3.981071705534986e-21)
    assert rate == pytest.approx(2_690_419.6, rel=1e-7)
    assert rate == pytest.approx(1e5 * math.log2(1 + 5e-8 / 3.981071705534986e-16))


def test_upload_of_one_ue_has_the_whole_uplink():
    delay = upload_delay(
        PUBLISHED, row(True, False), row(400.0, 300.0), row(0.5, 1.0), row(1e-7, 4e-8)
    )
    # 400e6 bit / 2690419.6 bit/s; the UE that trains locally uploads nothing
    assert delay == pytest.approx(row(148.675694, 0.0), rel=1e-6)


def test_two_uploads_share_the_uplink_equally():
    delay = upload_delay(
        PUBLISHED, row(True, True), row(400.0, 300.0), row(0.5, 1.0), row(1e-7, 4e-8)
    )
    # 5e4 Hz each: 400e6 / 1395209.80 and 300e6 / 1379113.40; a UE's power is its own
    assert delay == pytest.approx(row(286.695234, 217.531061), rel=1e-6)


def test_download_of_one_ue_has_the_whole_downlink():
    delay = download_delay(
        PUBLISHED, row(False, False), row(True, False), row(0.8, 0.5), row(1e-7, 4e-8)
    )
    # 0.8 * 10.8e9 bit / 30489158.5 bit/s; the UE that holds its emulator downloads nothing
    assert delay == pytest.approx(row(283.379418, 0.0), rel=1e-6)


def test_two_downloads_share_bandwidth_and_power():
    delay = download_delay(
        PUBLISHED, row(False, False), row(True, True), row(0.8, 0.5), row(1e-7, 4e-8)
    )
    # 5e5 Hz and 30 W each: half the rate, for power and noise halve together
    assert delay == pytest.approx(row(566.758837, 370.278557), rel=1e-6)


def test_downloads_share_with_downloads_only():
    """A UE on the server whose E differs from its cache takes no part of the downlink."""
    delay = download_delay(
        PUBLISHED, row(False, True), row(True, True), row(0.8, 0.5), row(1e-7, 4e-8)
    )
    assert delay == pytest.approx(row(283.379418, 0.0), rel=1e-6)


def test_printed_sharing_counts_the_ues_on_the_server():
    printed = Scenario(downlink_sharing="printed")
    gain, retention = row(1e-7, 4e-8, 4e-8), row(0.8, 0.5, 0.5)
    switch = row(True, True, True)
    two = download_delay(printed, row(False, True, True), switch, retention, gain)
    assert two == pytest.approx(row(566.758837, 0.0, 0.0), rel=1e-6)
    # Nobody with z = 1 and I = 1: at least one share, so each of three has the whole downlink.
    none = download_delay(printed, row(False, False, False), switch, retention, gain)
    assert none == pytest.approx(row(283.379418, 185.139279, 185.139279), rel=1e-6)


def test_true_bytes_take_eight_times_as_long():
    true_bytes = Scenario.of("published-8bit")
    sent = row(400.0, 300.0), row(0.5, 1.0), row(1e-7, 4e-8)
    assert upload_delay(true_bytes, row(True, True), *sent) == pytest.approx(
        row(8 * 286.695234, 8 * 217.531061), rel=1e-6
    )
    got = row(True, True), row(0.8, 0.5), row(1e-7, 4e-8)
    assert download_delay(true_bytes, row(False, False), *got) == pytest.approx(
        row(8 * 566.758837, 8 * 370.278557), rel=1e-6
    )


@laws
@given(FLAGS, FLAGS, RETENTIONS, GAINS)
def test_a_ue_uploads_or_downloads_or_waits_for_neither(server, switch, retention, gain):
    data, power = np.full((1, UES), 400.0), np.full((1, UES), 0.5)
    up = upload_delay(PUBLISHED, server, data, power, gain)
    down = download_delay(PUBLISHED, server, switch, retention, gain)
    assert np.array_equal(up > 0, server)
    assert np.array_equal(down > 0, switch & ~server)
    assert np.all(up >= 0)
    assert np.all(down >= 0)


@laws
@given(FLAGS, st.integers(0, UES - 1), GAINS)
def test_another_upload_makes_no_upload_faster(server, joining, gain):
    data, power = np.full((1, UES), 400.0), np.full((1, UES), 0.5)
    more = server.copy()
    more[0, joining] = True
    alone = upload_delay(PUBLISHED, server, data, power, gain)
    shared = upload_delay(PUBLISHED, more, data, power, gain)
    assert np.all(shared[server] >= alone[server])


@laws
@given(FLAGS, st.integers(0, UES - 1), RETENTIONS, GAINS)
def test_another_download_makes_no_download_faster(switch, joining, retention, gain):
    nobody = np.zeros((1, UES), dtype=bool)
    more = switch.copy()
    more[0, joining] = True
    alone = download_delay(PUBLISHED, nobody, switch, retention, gain)
    shared = download_delay(PUBLISHED, nobody, more, retention, gain)
    assert np.all(shared[switch] >= alone[switch])


@laws
@given(GAINS, st.floats(1.01, 10))
def test_better_channels_and_more_power_are_faster_and_more_data_slower(gain, factor):
    server = np.ones((1, UES), dtype=bool)
    data, power = np.full((1, UES), 400.0), np.full((1, UES), 0.5)
    delay = upload_delay(PUBLISHED, server, data, power, gain)
    assert np.all(upload_delay(PUBLISHED, server, data, power, gain * factor) < delay)
    louder = upload_delay(PUBLISHED, server, data, power * factor, gain)
    assert louder == pytest.approx(upload_delay(PUBLISHED, server, data, power, gain * factor))
    assert upload_delay(PUBLISHED, server, data * factor, power, gain) == pytest.approx(
        delay * factor
    )
