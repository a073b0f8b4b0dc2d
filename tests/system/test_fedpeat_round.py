"""One round of FedPEAT by hand: delays, exchanges, perplexity, energy, and shares on a simplex."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rllib_mec.system.fedpeat import Decision, FedPEATScenario, Situation, carry_out
from rllib_mec.system.fedpeat.round import bandwidth_shares, emulator_for

# Numbers that let rates be read off: noise 1 W/Hz and gain 3 give log2(1 + 3 p / W).
SCENARIO = FedPEATScenario(
    num_ues=3,
    model_size_gb=1e-9,  # 1 B
    adapter_mb=1e-6,  # 1 B
    bits_per_byte=8.0,
    uplink_power_w=(1.0, 4.0),
    downlink_power_w=4.0,
    uplink_bandwidth_hz=4.0,
    downlink_bandwidth_hz=4.0,
    noise_dbm_per_hz=30.0,
    ue_memory_gb=(1.0,),
    parameters=1e12,
    flops_per_parameter_and_token=1.0,
    server_tokens=2.0,
    server_tflops=1.0,
    joule_per_tflop=1000.0,
    perplexity_coefficients=(0.0, -10.0, 20.0),  # f(E) = 20 - 10 E
    data_exponent=1.0,
    log_delay_weight=-1.0,
    exchange_weight=-0.5,
    perplexity_weight=-0.25,
    energy_weight_per_kj=-0.1,
)


def row(*values):
    return np.array([values])


def situation(**changes):
    usual = {
        "gain": row(1.0, 1.0, 1.0),
        "busy": row(False, False, True),
        "tokens": row(1.0, 2.0, 3.0),
        "tflops": row(1.0, 2.0, 1.0),
        "most_retention": row(0.8, 0.8, 0.4),
        "cached": row(0.0, 0.6, 0.4),
    }
    return Situation(**usual | changes)


def decision(**changes):
    usual = {
        "selected": row(True, True, False),
        "retention": row(0.8, 0.58, 0.8),
        "bandwidth": row(0.0, 0.0, 1.0),
        "power_w": row(2.0, 2.0, 4.0),
    }
    return Decision(**usual | changes)


def test_delays_of_a_round():
    """UE 0 downloads 0.8 B alone: 4 Hz, 4 W, 4 bit/s. Both send with 2 Hz and 2 W: 2 bit/s."""
    outcome = carry_out(SCENARIO, situation(), decision())
    assert outcome.retention[0] == pytest.approx([0.8, 0.6, 0.4])
    assert outcome.exchanged.tolist() == [[True, False, False]]
    assert outcome.cached[0] == pytest.approx([0.8, 0.6, 0.4])
    assert outcome.share.tolist() == [[0.5, 0.5, 0.0]]
    download, upload = 0.8 * 8 / 4, 8 / 2
    expected = [download + 0.8 * 1 / 1 + upload, 0.6 * 2 / 2 + upload, 0.0]
    assert outcome.delay_s[0] == pytest.approx(expected)
    assert outcome.round_delay_s == pytest.approx([expected[0]])


def test_downloads_share_the_downlink_and_a_busy_device_is_slow():
    """Two download with 2 Hz and 2 W each, 2 bit/s; UE 2 has the uplink's 4 Hz with 4 W alone."""
    chosen = decision(selected=row(True, False, True), bandwidth=row(-1.0, 0.0, 1.0))
    outcome = carry_out(SCENARIO, situation(cached=row(0.0, 0.0, 0.2)), chosen)
    lean = 1 / (1 + np.exp(2 * SCENARIO.bandwidth_span))
    assert outcome.share[0] == pytest.approx([lean, 0.0, 1 - lean])
    width = 4 * (1 - lean)
    upload = 8 / (width * np.log2(1 + 4 / width))
    training = 0.4 * 3 / (1.0 * SCENARIO.busy_speed)
    assert outcome.exchanged.tolist() == [[True, False, True]]
    assert outcome.delay_s[0, 2] == pytest.approx(0.4 * 8 / 2 + training + upload)
    assert outcome.delay_s[0, 1] == 0


def test_perplexity_energy_and_reward_of_a_round():
    """5 of 8 tokens take part: the server's 2 with f(1) = 10, 1 with f(0.8) = 12, 2 with 14."""
    outcome = carry_out(SCENARIO, situation(), decision())
    assert outcome.perplexity == pytest.approx([(2 * 10 + 1 * 12 + 2 * 14) / 5 * 8 / 5])
    energy = [0.8 * 1 + 2 * 4 / 1e3, 0.6 * 2 + 2 * 4 / 1e3, 0.0]
    assert outcome.energy_kj[0] == pytest.approx(energy)
    expected = -np.log(6.4) - 0.5 * 1 - 0.25 * outcome.perplexity - 0.1 * sum(energy) / 3
    assert outcome.reward == pytest.approx(expected)


def test_without_ues_the_server_tunes_alone():
    outcome = carry_out(SCENARIO, situation(), decision(selected=row(False, False, False)))
    assert outcome.round_delay_s == pytest.approx([2.0])
    assert outcome.perplexity == pytest.approx([10 * 8 / 2])
    assert not outcome.share.any()
    assert not outcome.exchanged.any()
    assert outcome.reward == pytest.approx([-np.log(2.0) - 0.25 * 40])


def test_who_is_not_selected_keeps_its_emulator():
    chosen = decision(selected=row(False, True, True), retention=row(0.2, 0.2, 0.2))
    outcome = carry_out(SCENARIO, situation(cached=row(0.8, 0.8, 0.2)), chosen)
    assert outcome.cached[0] == pytest.approx([0.8, 0.2, 0.2])
    assert outcome.exchanged.tolist() == [[False, True, False]]


def test_the_nearest_emulator_that_fits():
    retention = np.array([0.2, 0.29, 0.31, 0.5, 0.71, 0.8])
    most = np.full(6, 0.6)
    found = emulator_for(SCENARIO, retention, most)
    assert found == pytest.approx([0.2, 0.2, 0.4, 0.4, 0.6, 0.6])  # 0.5 to an even number
    anything = dataclasses.replace(SCENARIO, num_emulators=0)
    assert emulator_for(anything, retention, most) == pytest.approx(np.minimum(retention, 0.6))


@settings(max_examples=200, deadline=None)
@given(
    selected=arrays.arrays(bool, (4, 5)),
    bandwidth=arrays.arrays(float, (4, 5), elements=st.floats(-1, 1)),
    span=st.floats(0, 20),
)
def test_shares_are_on_the_simplex_whatever_was_decided(selected, bandwidth, span):
    scenario = FedPEATScenario(num_ues=5, bandwidth_span=span)
    shares = bandwidth_shares(scenario, selected, bandwidth)
    assert (shares >= 0).all()
    assert ((shares > 0) == selected).all()
    np.testing.assert_allclose(shares.sum(axis=1), selected.any(axis=1), rtol=1e-12)
    for env in range(4):
        own, wanted = shares[env, selected[env]], bandwidth[env, selected[env]]
        order = np.argsort(wanted)
        assert (np.diff(own[order]) >= -1e-15).all()  # who asks for more has no less


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_more_bandwidth_or_power_never_sends_later(data):
    scenario = FedPEATScenario()
    numbers = st.floats(-1, 1)
    low, high = sorted(data.draw(st.tuples(numbers, numbers)))
    weak, strong = sorted(data.draw(st.tuples(st.floats(0.2, 1), st.floats(0.2, 1))))
    state = Situation(
        *(np.full((1, 2), v) for v in (1e-10, False, 2e5, 12.0, 0.8, 0.8)),
    )

    def delay(bandwidth, power):
        chosen = Decision(
            np.ones((1, 2), bool), np.full((1, 2), 0.8), row(bandwidth, 0.0), row(power, 1.0)
        )
        return carry_out(scenario, state, chosen).delay_s[0, 0]

    assert delay(high, strong) <= delay(low, weak)
