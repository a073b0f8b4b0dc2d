"""What each UE's choices cost and take in a step, apart from whom it shares links and queue with.

In a step a UE with a task trains on the server, or locally with what it has cached, or downloads an
emulator, or layers that it lacks, and trains locally. Once it is settled how many UEs are served,
train locally and download, all is fixed but the server's queue, which is the sum of the served UEs'
work. The greedy baselines search over these tables; costs are minus rewards.
"""

from __future__ import annotations

import numpy as np

from rllib_mec.system import Scenario
from rllib_mec.system.compute import local_energy, sending_energy, training_work
from rllib_mec.system.quality import complexity_factor, quality_of
from rllib_mec.system.radio import Bools, Floats, downlink_rate, uplink_rate
from rllib_mec.system.step import Situation

NEVER = 1e6
"""Cost of what a UE cannot do, far above all costs and small enough to be added and subtracted."""

_ROUNDING = 1 - 1e-12
"""What a computed limit on E falls short of the exact one, so that rounding breaks no battery."""


class Choices:
    """The choices of N UEs in B situations. Axes: b situation, n how many share a link, i UE.

    Attributes:
        active: which UEs have a task, [b, i].
        served_cost: of training on the server while n UEs are served, [b, n, i]; axis n has N + 1
            entries everywhere, the first of which is never meant.
        served_s: seconds of upload and adapter while n UEs are served, [b, n, i].
        queue_s: seconds of the UE's work on the server, [b, i].
        queue_shared: whether a served UE waits for the work of all.
        local_cost, local_s: of the adapter's way up while n UEs train locally, [b, n, i].
        cached: E that the UE has cached, or 0, [b, i].
        kept_cost: of training with that one, [b, i]; NEVER where it cannot be.
        download_s: seconds per unit of E to download while nobody else does, [b, i]; n UEs
            that download take n times as long each.
        train_s: seconds per unit of E to train locally, [b, i].
        most: largest E that memory and battery allow, [b, i]; may be below the range of E.
        delay_weight: cost of a second.
    """

    def __init__(self, scenario: Scenario, situation: Situation) -> None:
        tasks, devices = situation.tasks, situation.devices
        shape = situation.cached.shape
        ues = shape[-1]
        self.scenario = scenario
        self.delay_weight = -scenario.delay_weight_per_s
        self.active: Bools = np.ones(shape, dtype=bool) if tasks.active is None else tasks.active
        self.domain = tasks.domain
        self.quality = quality_of(scenario)
        self.weight = (
            -scenario.perplexity_weight / ues * complexity_factor(scenario, tasks.complexity)
        )
        self.train_s = self.queue_s = np.zeros(shape)
        self.queue_shared = False
        work = np.zeros(shape)
        if scenario.compute is not None:
            assert tasks.tokens is not None
            assert devices.tflops is not None
            work = training_work(scenario.compute, tasks.tokens)
            self.train_s = work / devices.tflops
            self.queue_s = work / scenario.compute.server_tflops
            self.queue_shared = scenario.compute.server_queue == "shared"
        energy = scenario.energy
        per_kj = 0.0 if energy is None else -energy.weight_per_kj / ues
        # Of local training, per unit of E.
        train_kj = np.zeros(shape) if energy is None else local_energy(energy, np.array(1.0), work)
        self.train_cost = per_kj * train_kj
        self.most: Floats = np.full(shape, scenario.retention[1])
        if devices.most_retention is not None:
            self.most = np.minimum(self.most, devices.most_retention)
        able = situation.cached > 0
        if energy is not None:
            assert situation.battery_kj is not None
            able &= local_energy(energy, situation.cached, work) <= situation.battery_kj
            with np.errstate(divide="ignore", invalid="ignore"):
                limit = np.where(train_kj > 0, situation.battery_kj / train_kj, np.inf)
            self.most = np.minimum(self.most, limit * _ROUNDING)
        # Where nothing is cached, E is 0, which no curve needs to know; such a UE is never able.
        self.kept_cost = np.where(able, self.download_cost(situation.cached), NEVER)
        self.cached = situation.cached
        self._links(scenario, situation, per_kj)

    def _links(self, scenario: Scenario, situation: Situation, per_kj: float) -> None:
        """Fills in what hangs on how many share a link."""
        tasks = situation.tasks
        envs, ues = situation.cached.shape
        count = np.maximum(np.arange(ues + 1), 1)[None, :, None]
        power = tasks.power_w[:, None]
        up_s = (
            1e6 * scenario.bits_per_byte / uplink_rate(scenario, count, power, tasks.gain[:, None])
        )
        per_gb = 1e9 * scenario.bits_per_byte / downlink_rate(scenario, np.array(1), tasks.gain)
        self.download_s = scenario.model_size_gb * per_gb
        upload = tasks.data_mb[:, None] * up_s
        self.served_s = upload
        self.local_s = self.local_cost = np.zeros((envs, ues + 1, ues))
        if scenario.adapter is not None:
            size = scenario.adapter.adapter_mb
            self.served_s = upload + count * (size / 1e3 * per_gb)[:, None]
            self.local_s = size * up_s
            self.local_cost = per_kj * sending_energy(power, self.local_s)
        served = self.weight * self.quality.server(self.domain)
        self.served_cost = served[:, None] + per_kj * sending_energy(power, upload)

    def download_cost(self, retention: Floats) -> Floats:
        """Cost of training locally with E = ``retention``, (B, N), adapters and delay apart."""
        return (
            self.weight * self.quality.local(retention, self.domain) + self.train_cost * retention
        )
