"""One step of the system: delays, perplexities, energy and the reward, eq. (1) to (9)."""

from __future__ import annotations

import dataclasses

import numpy as np

from rllib_mec.system.compute import local_energy, sending_energy, server_delay, training_work
from rllib_mec.system.emulator import new_layers, read_retention
from rllib_mec.system.quality import task_perplexity
from rllib_mec.system.radio import Bools, Floats, adapter_delay, download_delay, upload_delay
from rllib_mec.system.rows import Rows
from rllib_mec.system.scenario import Scenario
from rllib_mec.system.tasks import NO_DEVICES, Devices, Tasks


@dataclasses.dataclass(frozen=True, slots=True)
class Situation(Rows):
    """All that an action meets; (B, N) each.

    tasks: the tasks to carry out. cached: retention of each UE's cached emulator, 0 for none.
    devices: the UEs'. battery_kj: what is left in the batteries; None without the part ``energy``.
    """

    tasks: Tasks
    cached: Floats
    devices: Devices = NO_DEVICES
    battery_kj: Floats | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What one step did.

    server: where each UE trained, (B, N): as decided, but for empty batteries.
    retention: E of the emulator that each UE trained with, (B, N); 0 where it trained none.
    delay_s: delay of each UE in s, (B, N), eq. (8).
    perplexity: kappa of each UE's task, (B, N), eq. (9); 0 for a UE without a task.
    downloads: whether the UE downloaded a new emulator, (B, N), eq. (4).
    cached: retention of the emulator each UE holds now, (B, N).
    energy_kj: what each UE has spent in kJ, (B, N); None without the part ``energy``.
    battery_kj: what is left, (B, N), or None.
    system_delay_s: the step's delay, the slowest UE's, in s, (B,).
    mean_perplexity: mean of kappa over the UEs, (B,).
    reward: (B,), section IV-C, and the weighted mean of the energy.
    """

    server: Bools
    retention: Floats
    delay_s: Floats
    perplexity: Floats
    downloads: Bools
    cached: Floats
    energy_kj: Floats | None
    battery_kj: Floats | None
    system_delay_s: Floats
    mean_perplexity: Floats
    reward: Floats


def step(
    scenario: Scenario,
    situation: Situation,
    server: Bools,
    retention: Floats,
    keep: Bools | None = None,
) -> Outcome:
    """Carries out one task of every UE; actions must already be valid.

    Args:
        situation: tasks, devices and what the UEs hold, (B, N) each.
        server: z, True to train on the server, False to train locally, (B, N).
        retention: agent 2's retention, (B, N); ``keep``: see :func:`read_retention`.
    """
    tasks, devices, cached = situation.tasks, situation.devices, situation.cached
    chosen = read_retention(scenario, retention, keep, cached, devices.most_retention)
    work = None
    if scenario.compute is not None and tasks.tokens is not None:
        work = training_work(scenario.compute, tasks.tokens)
    training_kj = None
    if scenario.energy is not None and situation.battery_kj is not None:
        training_kj = (
            np.zeros_like(chosen) if work is None else local_energy(scenario.energy, chosen, work)
        )
        server = server | (training_kj > situation.battery_kj)
    switch, size = new_layers(scenario, chosen, cached)
    local = ~server
    if tasks.active is not None:
        server, local, switch = server & tasks.active, local & tasks.active, switch & tasks.active
    downloads = switch & local
    trained = local * chosen

    # Disjoint: a UE uploads with z = 1 and downloads with z = 0, eq. (8).
    sending = upload_delay(scenario, server, tasks.data_mb, tasks.power_w, tasks.gain)
    delay = sending + download_delay(scenario, ~local, switch, size, tasks.gain)
    if scenario.compute is not None and work is not None and devices.tflops is not None:
        delay += server_delay(scenario.compute, server, work)
        delay += trained * work / devices.tflops
    if scenario.adapter is not None:
        down, up = adapter_delay(scenario, server, local, tasks.power_w, tasks.gain)
        delay += down + up
        sending = sending + up
    perplexity = task_perplexity(scenario, server, chosen, tasks.complexity, tasks.domain)
    if tasks.active is not None:
        perplexity = perplexity * tasks.active
    energy = battery = None
    if training_kj is not None and situation.battery_kj is not None:
        energy = sending_energy(tasks.power_w, sending) + local * training_kj
        battery = np.maximum(situation.battery_kj - energy, 0.0)
    system_delay = delay.max(axis=-1)
    # Not mean(): on small arrays it takes longer than all else here.
    mean_perplexity = perplexity.sum(axis=-1) / perplexity.shape[-1]
    return Outcome(
        server=server,
        retention=trained,
        delay_s=delay,
        perplexity=perplexity,
        downloads=downloads,
        # Training on the server leaves the UE's cached emulator as it is.
        cached=np.where(downloads, chosen, cached),
        energy_kj=energy,
        battery_kj=battery,
        system_delay_s=system_delay,
        mean_perplexity=mean_perplexity,
        reward=step_reward(scenario, mean_perplexity, system_delay, energy),
    )


def step_reward(
    scenario: Scenario, mean_perplexity: Floats, system_delay_s: Floats, energy_kj: Floats | None
) -> Floats:
    """The reward both agents share, (B,).

    omega_p * mean perplexity + omega_d * maximum delay, plus omega_e * mean energy if there is any.
    """
    reward = (
        scenario.perplexity_weight * mean_perplexity + scenario.delay_weight_per_s * system_delay_s
    )
    if scenario.energy is not None and energy_kj is not None:
        mean_energy = energy_kj.sum(axis=-1) / energy_kj.shape[-1]
        reward = reward + scenario.energy.weight_per_kj * mean_energy
    return reward
