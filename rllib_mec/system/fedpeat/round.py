"""One round of federated tuning: delays, exchanges, perplexity, energy and the reward.

A selected UE downloads its emulator if it is another one than it has, trains its adapter on it, and
sends the adapter; the server tunes the whole model on data of its own meanwhile. All of this is our
reading (the paper's equations were not available); rates and f(E) are those of arXiv 2310.17492:

* downlink: the UEs that download share bandwidth and power equally, eq. (6) and (7); the aggregated
  adapter goes down as one broadcast, whose time is neglected;
* uplink: UE i has the share x_i of the bandwidth, x_i = s_i exp(lambda b_i) / sum_j s_j
  exp(lambda b_j), with s_i whether it is selected and b_i in [-1, 1] what was decided. Whatever
  the b_i, shares are >= 0, add up to 1 over the selected UEs, and are 0 for the others;
* delay of a round: the longest of the selected UEs' and of the server's own training;
* perplexity: the mean of f(E_i) over the selected UEs and f(1) of the server, weighted by their
  tokens as FedAvg weights adapters, times m^-beta, where m is the share of all tokens that took
  part: with less data, adapters are worse, by a power law as in the scaling laws of language models
  (Kaplan et al., arXiv 2001.08361; beta is not theirs, which is of pretraining).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from rllib_mec.system.fedpeat.scenario import FedPEATScenario
from rllib_mec.system.radio import Bools, Floats, downlink_rate, noise_w_per_hz, shannon_rate
from rllib_mec.system.rows import Rows


@dataclasses.dataclass(frozen=True, slots=True)
class Situation(Rows):
    """All that a decision meets; (B, N) each.

    gain: h in this round. busy: whether the device is. tokens: of the UE's data. tflops: of the
    device when it is not busy. most_retention: the largest that fits. cached: retention of the
    emulator that the UE has, 0 for none.
    """

    gain: Floats
    busy: Bools
    tokens: Floats
    tflops: Floats
    most_retention: Floats
    cached: Floats


@dataclasses.dataclass(frozen=True, slots=True)
class Decision(Rows):
    """What the orchestrator decides for each UE; (B, N) each.

    selected: whether the UE takes part. retention: E, within ``scenario.retention``.
    bandwidth: b, in [-1, 1], see the module's text. power_w: p in W, within ``uplink_power_w``.
    """

    selected: Bools
    retention: Floats
    bandwidth: Floats
    power_w: Floats


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What one round did.

    retention: E that each UE trained with, (B, N). share: x of the uplink, (B, N).
    exchanged: whether the UE downloaded an emulator, (B, N). cached: what it has now, (B, N).
    delay_s: of each UE in s, 0 if it is not selected, (B, N). energy_kj: of each UE, (B, N).
    round_delay_s, perplexity, reward: of the round, (B,).
    """

    retention: Floats
    share: Floats
    exchanged: Bools
    cached: Floats
    delay_s: Floats
    energy_kj: Floats
    round_delay_s: Floats
    perplexity: Floats
    reward: Floats


def carry_out(scenario: FedPEATScenario, situation: Situation, decision: Decision) -> Outcome:
    """Carries out one round."""
    selected = decision.selected
    retention = emulator_for(scenario, decision.retention, situation.most_retention)
    exchanged = selected & (retention != situation.cached)
    share = bandwidth_shares(scenario, selected, decision.bandwidth)
    work = retention * training_work(scenario, situation.tokens)
    training = selected * work / speed(scenario, situation)
    sending = upload_delay(scenario, share, decision.power_w, situation.gain)
    delay = download_delay(scenario, exchanged, retention, situation.gain) + training + sending
    energy = selected * (work * scenario.joule_per_tflop + decision.power_w * sending) / 1e3
    round_delay = np.maximum(delay.max(axis=-1), server_delay(scenario))
    perplexity = round_perplexity(scenario, selected, retention, situation.tokens)
    return Outcome(
        retention=retention,
        share=share,
        exchanged=exchanged,
        cached=np.where(exchanged, retention, situation.cached),
        delay_s=delay,
        energy_kj=energy,
        round_delay_s=round_delay,
        perplexity=perplexity,
        reward=round_reward(scenario, round_delay, exchanged, perplexity, energy),
    )


def emulator_for(scenario: FedPEATScenario, retention: Floats, most: Floats) -> Floats:
    """Returns the retention of the emulator that a UE gets: the nearest, of those that fit it.

    Args:
        retention: what was decided, (B, N). most: see :class:`Situation`, (B, N).
    """
    if scenario.num_emulators > 1:
        low, high = scenario.retention
        steps = scenario.num_emulators - 1
        index = np.rint((retention - low) / ((high - low) or 1.0) * steps).astype(np.intp)
        retention = scenario.emulators[np.clip(index, 0, steps)]
    return np.minimum(retention, most)


def bandwidth_shares(scenario: FedPEATScenario, selected: Bools, bandwidth: Floats) -> Floats:
    """Shares x of the uplink, (B, N): a point of the simplex over the selected UEs."""
    weight = selected * np.exp(scenario.bandwidth_span * bandwidth)
    return weight / np.where(selected.any(axis=-1), weight.sum(axis=-1), 1.0)[..., None]


def training_work(scenario: FedPEATScenario, tokens: Floats) -> Floats:
    """Work of a round on the whole model in TFLOP; on an emulator it is E times that."""
    return scenario.flops_per_parameter_and_token * scenario.parameters * tokens / 1e12


def speed(scenario: FedPEATScenario, situation: Situation) -> Floats:
    """Speed of each device in this round in TFLOP/s, (B, N)."""
    return np.where(situation.busy, scenario.busy_speed, 1.0) * situation.tflops


def server_delay(scenario: FedPEATScenario) -> float:
    """Seconds that the server trains: no round is shorter.

    >>> server_delay(FedPEATScenario())
    27.0
    """
    work = training_work(scenario, np.array(scenario.server_tokens))
    return float(work / scenario.server_tflops)


def upload_delay(scenario: FedPEATScenario, share: Floats, power_w: Floats, gain: Floats) -> Floats:
    """Seconds each UE takes to send its adapter, 0 without a share, (B, N)."""
    sends = share > 0
    bandwidth = np.where(sends, share, 1.0) * scenario.uplink_bandwidth_hz
    rate = shannon_rate(bandwidth, power_w, gain, noise_w_per_hz(scenario))
    return sends * (scenario.adapter_mb * 1e6 * scenario.bits_per_byte) / rate


def download_delay(
    scenario: FedPEATScenario, exchanged: Bools, retention: Floats, gain: Floats
) -> Floats:
    """Seconds each UE takes to download its emulator, 0 if it does not, (B, N)."""
    count = np.maximum(exchanged.sum(axis=-1, keepdims=True), 1)
    size_bits = scenario.model_size_gb * 1e9 * scenario.bits_per_byte
    return exchanged * retention * size_bits / downlink_rate(scenario, count, gain)


def round_perplexity(
    scenario: FedPEATScenario, selected: Bools, retention: Floats, tokens: Floats
) -> Floats:
    """Perplexity after a round, (B,); lower is better. Arguments are (B, N)."""
    curves, own = scenario.curves, selected * tokens
    taking_part = own.sum(axis=-1) + scenario.server_tokens
    weighted = (own * curves.local(retention, None)).sum(axis=-1)
    weighted = weighted + scenario.server_tokens * curves.server(None)
    share = taking_part / (tokens.sum(axis=-1) + scenario.server_tokens)
    return weighted / taking_part * share**-scenario.data_exponent


def round_reward(
    scenario: FedPEATScenario,
    round_delay_s: Floats,
    exchanged: Bools,
    perplexity: Floats,
    energy_kj: Floats,
) -> Floats:
    """omega_d ln(delay / 1 s) + omega_x exchanges + omega_p perplexity + omega_e energy, (B,)."""
    return (
        scenario.log_delay_weight * np.log(round_delay_s)
        + scenario.exchange_weight * exchanged.sum(axis=-1)
        + scenario.perplexity_weight * perplexity
        + scenario.energy_weight_per_kj * energy_kj.sum(axis=-1) / energy_kj.shape[-1]
    )
