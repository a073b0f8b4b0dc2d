"""The UEs of :mod:`rllib_mec.bounds.relaxation`, each on its own: what all that they do costs."""

from __future__ import annotations

import numpy as np

from rllib_mec.bounds.ascent import Used
from rllib_mec.bounds.plans import MissingLayers, Priced, WholeEmulators
from rllib_mec.system import Scenario
from rllib_mec.system.compute import local_energy, sending_energy, training_work
from rllib_mec.system.quality import complexity_factor, quality_of
from rllib_mec.system.radio import (
    Bools,
    Floats,
    Ints,
    adapter_delay,
    download_delay,
    upload_delay,
)
from rllib_mec.system.tasks import Episode, Tasks

CELLS = 60
"""Cells of the grid of E, where it has none."""

_SAMPLES, _MARGIN = 65, 1.02
"""Points of a curve in a cell, and what the gap that they show is multiplied by."""


def grid_of(scenario: Scenario) -> tuple[Floats, Floats]:
    """Returns the retentions of the dynamic programming, (K,), and perplexities there, (M, K).

    There is a row for each of the M domains.
    """
    quality = quality_of(scenario)
    domain: Ints | None = None
    if scenario.domains is not None:
        domain = np.arange(len(scenario.domains.levels))[:, None]
    if scenario.emulator_action == "layers":
        low, high = scenario.layer_bounds
        retention = np.arange(low, high + 1) / scenario.num_layers
        return retention, np.atleast_2d(quality.local(retention, domain))
    retention = np.linspace(*scenario.retention, CELLS + 1)
    share = np.linspace(0, 1, _SAMPLES)
    inside = retention[:-1, None] * (1 - share) + retention[1:, None] * share
    curve = np.atleast_2d(quality.local(inside.ravel(), domain)).reshape(-1, *inside.shape)
    chord = curve[..., :1] * (1 - share) + curve[..., -1:] * share
    gap = np.maximum(chord - curve, 0.0).max(axis=-1)  # [m, cell]
    # Between samples h apart, the gap is wider by h^2 / 8 of the second derivative at most.
    step = (retention[1] - retention[0]) / (_SAMPLES - 1)
    gap = np.maximum(_MARGIN * gap, gap + step**2 / 8 * quality.convexity(retention))
    nothing = np.zeros((len(gap), 1))
    gap = np.maximum(np.hstack([gap, nothing]), np.hstack([nothing, gap]))
    return retention, np.atleast_2d(quality.local(retention, domain)) - gap


class Alone:
    """The UEs of B environments, each on its own. Axes: t step, b environment, i UE, e emulator.

    Costs are per step and UE, [t, b, i]; those named ``_of_e`` are per unit of E. Inequality 1
    gives ``upload``, 2 ``load`` and ``owned``, what need not be downloaded, and 3 those named
    ``alone``.

    Args:
        episode: T tasks, without the one that is never carried out.
    """

    def __init__(self, scenario: Scenario, episode: Episode) -> None:
        tasks, devices = episode.tasks, episode.devices
        shape = tasks.gain.shape
        n = scenario.num_ues
        second = -scenario.delay_weight_per_s
        self.active: Bools = np.ones(shape, dtype=bool) if tasks.active is None else tasks.active
        weight = -scenario.perplexity_weight / n * complexity_factor(scenario, tasks.complexity)
        missing = scenario.emulator_download == "missing"
        self._plan = MissingLayers if missing else WholeEmulators
        self.retention, perplexity = grid_of(scenario)
        domain = np.zeros(shape, dtype=np.intp) if tasks.domain is None else tasks.domain
        self.local = weight[..., None] * perplexity[domain]
        most = devices.most_retention
        if most is not None:
            # The first point that is not below it is the last that can be held.
            below = np.concatenate([[-np.inf], self.retention[:-1]])
            if scenario.emulator_action == "layers":
                below = self.retention - 1e-9
            self.local += np.where(below >= most[..., None], np.inf, 0.0)

        self.battery_kj = devices.battery_kj
        self.train_kj = np.zeros(shape)
        work = queue = train = np.zeros(shape)
        shared = False
        if scenario.compute is not None:
            assert tasks.tokens is not None
            assert devices.tflops is not None
            work = training_work(scenario.compute, tasks.tokens)
            queue, train = work / scenario.compute.server_tflops, work / devices.tflops
            shared = scenario.compute.server_queue == "shared"
        self._per_kj = 0.0  # cost of a kJ
        if scenario.energy is not None:
            self.train_kj = local_energy(scenario.energy, np.array(1.0), work)
            self._per_kj = -scenario.energy.weight_per_kj / n
        self.served = weight * quality_of(scenario).server(tasks.domain)
        self.trained_of_e = self._per_kj * self.train_kj
        self.train_alone_of_e = second * train
        # How many may share, and whose work each part of the queue is.
        self._sharing = np.maximum(self.active.sum(axis=-1, keepdims=True), 1)
        self.upload = second * queue / (1 if shared else self._sharing)
        self.served_alone = second * queue
        self.load_of_e = second * train / self._sharing
        self._links(scenario, tasks)

    def _links(self, scenario: Scenario, tasks: Tasks) -> None:
        """Adds what is sent."""
        second, active, sharing = -scenario.delay_weight_per_s, self.active, self._sharing
        one = tasks.map(lambda values: values[..., None])  # each UE by itself
        yes = np.ones((*active.shape, 1), dtype=bool)
        everyone = upload_delay(scenario, active, tasks.data_mb, tasks.power_w, tasks.gain)
        up = upload_delay(scenario, yes, one.data_mb, one.power_w, one.gain)[..., 0]
        down = download_delay(scenario, ~yes, yes, np.ones_like(one.gain), one.gain)[..., 0]
        back = send = np.zeros(active.shape)
        if scenario.adapter is not None:
            everyone += adapter_delay(scenario, active, active, tasks.power_w, tasks.gain)[0]
            back, send = (
                seconds[..., 0]
                for seconds in adapter_delay(scenario, yes, yes, one.power_w, one.gain)
            )
        self.served = self.served + self._per_kj * sending_energy(tasks.power_w, up)
        self.upload = self.upload + second * everyone / sharing
        self.served_alone = self.served_alone + second * (up + back)
        self.sent = self._per_kj * sending_energy(tasks.power_w, send)
        self.sent_alone = second * send
        self.load = second * send / sharing
        shared = down if scenario.downlink_sharing == "downloading" else down / sharing
        self.load_of_e = self.load_of_e + second * shared
        self.load_alone_of_e = second * down
        self.owned_of_e = second * shared

    def solve(self, weights: Floats, per_kj: Floats) -> Used:
        """Lets each UE do what is best for itself.

        Args:
            weights: of the sums 1, 2 and 3, [t, b, n + 2], which add up to 1.
            per_kj: price of training energy beyond its cost, [b, i].
        """
        server, download, own = weights[..., :1], weights[..., 1:2], weights[..., 2:]
        plan = self._plan(
            Priced(
                self.active,
                self.retention,
                quality=self.local,
                served=self.served + server * self.upload + own * self.served_alone,
                local=self.sent + own * self.sent_alone,
                local_of_e=self.trained_of_e + per_kj * self.train_kj + own * self.train_alone_of_e,
                load=download * self.load,
                load_of_e=download * self.load_of_e + own * self.load_alone_of_e,
                owned_of_e=download * self.owned_of_e + own * self.load_alone_of_e,
            )
        )
        shape = weights.shape[1:2] + self.active.shape[2:]
        held = plan.first
        sums = np.zeros(weights.shape)
        training = np.zeros(shape)
        for t in range(len(weights)):
            uploads, downloads, size, saved, held = plan.follow(t, held)
            here = self.active[t] & ~uploads
            loaded = downloads * size
            sums[t, :, 0] = (uploads * self.upload[t]).sum(axis=-1)
            load = loaded * self.load_of_e[t] + downloads * self.load[t]
            sums[t, :, 1] = (load - saved * self.owned_of_e[t]).sum(axis=-1)
            sums[t, :, 2:] = (
                uploads * self.served_alone[t]
                + here * self.sent_alone[t]
                + size * self.train_alone_of_e[t]
                + (loaded - saved) * self.load_alone_of_e[t]
            )
            training += size * self.train_kj[t]
        return Used(plan.cost, sums, training)
