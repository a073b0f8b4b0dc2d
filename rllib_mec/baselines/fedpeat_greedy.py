"""The best UEs and shares of bandwidth for one round of ``fedpeat``, whose emulators are given.

A set of UEs is as slow as its slowest, so that of the best shares all are ready together, at a time
tau: UE i needs the share x_i(tau) with which its adapter is sent when the download and the training
leave tau - a_i seconds for it. With bandwidth x W, gain h, power p and S bits, that is the x of

    x log2(1 + g / x) = r,   g = p h / (sigma^2 W),   r = S / (W (tau - a_i)),

which Lambert's W solves. The x_i(tau) fall with tau, and the best tau is where they add up to 1.
All sets of UEs are tried.

All selected UEs have one power: the highest, or one of a few where the reward counts energy. The
shares are then turned into the actions b_i, within whose span (``bandwidth_span``) they are cut.
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy.special import lambertw

from rllib_mec.errors import InputError
from rllib_mec.system.fedpeat import Decision, FedPEATScenario, Situation
from rllib_mec.system.fedpeat.round import (
    download_delay,
    round_perplexity,
    round_reward,
    server_delay,
    speed,
    training_work,
)
from rllib_mec.system.radio import Bools, Floats, noise_w_per_hz, uplink_rate

MAX_UES = 12
"""There are 2^N sets of UEs."""

_HALVINGS = 20
_POWERS = 5

_TOO_MUCH = 1e9
"""A share that no UE can have: it would not be ready by then even with all the bandwidth."""


def check(scenario: FedPEATScenario) -> None:
    """Refuses scenarios with too many sets of UEs to try.

    Raises:
        InputError: names the field, its value and what was expected.
    """
    if scenario.num_ues > MAX_UES:
        raise InputError(
            f"greedy: num_ues = {scenario.num_ues}: expected at most {MAX_UES} (or equal-shares)"
        )


def best_decision(scenario: FedPEATScenario, situation: Situation, retention: Floats) -> Decision:
    """Returns the UEs, shares and power with the highest reward of this round.

    Args:
        situation: what is known of the round, (B, N) each.
        retention: E of the emulator that each UE has or gets when it takes part, (B, N).
    """
    low, high = scenario.uplink_power_w
    powers = np.linspace(low, high, _POWERS) if scenario.energy_weight_per_kj else [high]
    found = [_Round(scenario, situation, retention, float(power)).best() for power in powers]
    rewards = np.array([reward for reward, _, _ in found])
    best = rewards.argmax(axis=0)
    envs = np.arange(len(best))
    selected, share = (np.stack(each)[best, envs] for each in list(zip(*found, strict=True))[1:])
    power = np.broadcast_to(np.array(powers)[best][:, None], selected.shape)
    return Decision(selected, retention, _action_of(scenario, selected, share), power)


def share_needed(seconds: Floats, bits: float, bandwidth_hz: float, snr: Floats) -> Floats:
    """Share of the bandwidth with which ``bits`` are sent in ``seconds``; arrays broadcast.

    Args:
        snr: g, signal over noise with all the bandwidth.

    Returns:
        the share, which may be above 1; a very large one where no bandwidth is enough.

    >>> snr, share = np.array(20.0), 0.3
    >>> bits = 5 * 1e6 * share * np.log2(1 + snr / share)  # in 5 s at 1 MHz
    >>> round(float(share_needed(np.array(5.0), bits, 1e6, snr)), 6)
    0.3
    """
    in_time = seconds > 0
    # The rate per Hz over its limit for an endless bandwidth, g / ln 2.
    part = bits / (bandwidth_hz * np.where(in_time, seconds, 1.0)) * np.log(2) / snr
    in_time = in_time & (part < 1)
    part = np.where(in_time, part, 0.5)
    per_share = -lambertw(-part * np.exp(-part), -1).real / part - 1
    return np.where(in_time, np.minimum(snr / per_share, _TOO_MUCH), _TOO_MUCH)


class _Round:
    """One round in which all that take part have this power.

    Attributes:
        sets: all S sets of UEs, (S, N).
        exchanged: who of each set downloads an emulator, (B, S, N).
        before_upload: a, seconds until each UE of a set sends, (B, S, N).
    """

    def __init__(
        self, scenario: FedPEATScenario, now: Situation, retention: Floats, power_w: float
    ) -> None:
        self.scenario, self.now, self.retention, self.power_w = scenario, now, retention, power_w
        bandwidth = scenario.uplink_bandwidth_hz
        self.snr = power_w * now.gain / (noise_w_per_hz(scenario) * bandwidth)
        self.adapter_bits = scenario.adapter_mb * 1e6 * scenario.bits_per_byte
        self.work = retention * training_work(scenario, now.tokens)
        self.sets = np.array(list(itertools.product([False, True], repeat=scenario.num_ues)))
        self.exchanged = self.sets & (retention != now.cached)[:, None]
        download = download_delay(scenario, self.exchanged, retention[:, None], now.gain[:, None])
        self.before_upload = download + (self.work / speed(scenario, now))[:, None]

    def best(self) -> tuple[Floats, Bools, Floats]:
        """Returns the reward, (B,), whom to select and their shares, (B, N) each."""
        ready = self._ready_at()
        rewards = self._rewards(ready)
        envs, best = np.arange(len(rewards)), rewards.argmax(axis=-1)
        return rewards[envs, best], self.sets[best], self._shares(ready)[envs, best]

    def _ready_at(self) -> Floats:
        """When each set is ready, by bisection, (B, S)."""
        # With equal shares, or when the server is: a set need not be faster.
        count = np.array(self.scenario.num_ues)
        rate = uplink_rate(self.scenario, count, np.array(self.power_w), self.now.gain)
        last = self.sets * (self.before_upload + (self.adapter_bits / rate)[:, None])
        low = np.full(last.shape[:2], server_delay(self.scenario))
        high = np.maximum(last.max(axis=-1), low)
        for _ in range(_HALVINGS):
            # Of the ratio, as the reward counts the logarithm of the delay.
            middle = np.sqrt(low * high)
            fits = self._shares(middle).sum(axis=-1) <= 1
            low, high = np.where(fits, low, middle), np.where(fits, middle, high)
        return high

    def _shares(self, ready: Floats) -> Floats:
        """The shares that each set needs to be ready by then, (B, S, N)."""
        return self.sets * self._needed(ready[..., None] - self.before_upload)

    def _needed(self, seconds: Floats) -> Floats:
        bandwidth = self.scenario.uplink_bandwidth_hz
        return share_needed(seconds, self.adapter_bits, bandwidth, self.snr[:, None])

    def _rewards(self, ready: Floats) -> Floats:
        """Rewards of the round if a set takes part and is ready then, (B, S)."""
        scenario, retention = self.scenario, self.retention[:, None]
        perplexity = round_perplexity(scenario, self.sets, retention, self.now.tokens[:, None])
        joule = self.work[:, None] * scenario.joule_per_tflop
        joule = joule + self.power_w * (ready[..., None] - self.before_upload)
        return round_reward(scenario, ready, self.exchanged, perplexity, self.sets * joule / 1e3)


def _action_of(scenario: FedPEATScenario, selected: Bools, share: Floats) -> Floats:
    """The b of these shares, (B, N), of which only ratios count."""
    if not scenario.bandwidth_span:
        return np.zeros(share.shape)
    action = np.log(np.where(selected, share, 1.0)) / scenario.bandwidth_span
    highest = np.where(selected, action, -np.inf).max(axis=-1, keepdims=True, initial=-1e9)
    lowest = np.where(selected, action, np.inf).min(axis=-1, keepdims=True, initial=1e9)
    return np.where(selected, np.clip(action - (lowest + highest) / 2, -1.0, 1.0), 0.0)
