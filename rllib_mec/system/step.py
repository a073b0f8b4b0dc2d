"""One step of the system: delays, perplexities, downloads and the reward, eq. (1) to (9)."""

from __future__ import annotations

import dataclasses

import numpy as np

from rllib_mec.system.emulator import read_retention
from rllib_mec.system.perplexity import task_perplexity
from rllib_mec.system.radio import Bools, Floats, download_delay, upload_delay
from rllib_mec.system.scenario import Scenario
from rllib_mec.system.tasks import Tasks


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What one step did.

    delay_s: delay of each UE in s, (B, N), eq. (8).
    perplexity: kappa of each UE's task, (B, N), eq. (9).
    downloads: whether the UE downloaded a new emulator, (B, N), eq. (4).
    cached: retention of the emulator each UE holds now, (B, N).
    system_delay_s: the step's delay, the slowest UE's, in s, (B,).
    mean_perplexity: mean of kappa over the UEs, (B,).
    reward: (B,), section IV-C.
    """

    delay_s: Floats
    perplexity: Floats
    downloads: Bools
    cached: Floats
    system_delay_s: Floats
    mean_perplexity: Floats
    reward: Floats


def step(
    scenario: Scenario,
    tasks: Tasks,
    cached: Floats,
    server: Bools,
    retention: Floats,
    keep: Bools | None = None,
) -> Outcome:
    """Carries out one task of every UE; actions must already be valid.

    Args:
        tasks: the tasks, (B, N) each.
        cached: retention of each UE's cached emulator, 0 for none, (B, N).
        server: z, True to train on the server, False to train locally, (B, N).
        retention: agent 2's retention, (B, N); ``keep``: see :func:`read_retention`.
    """
    chosen = read_retention(scenario, retention, keep, cached)
    switch = chosen != cached
    downloads = switch & ~server
    # Disjoint: a UE uploads with z = 1 and downloads with z = 0, eq. (8).
    delay = upload_delay(scenario, server, tasks.data_mb, tasks.power_w, tasks.gain)
    delay += download_delay(scenario, server, switch, chosen, tasks.gain)
    perplexity = task_perplexity(scenario, server, chosen, tasks.complexity)
    system_delay = delay.max(axis=-1)
    mean_perplexity = perplexity.mean(axis=-1)
    return Outcome(
        delay_s=delay,
        perplexity=perplexity,
        downloads=downloads,
        # Training on the server leaves the UE's cached emulator as it is.
        cached=np.where(downloads, chosen, cached),
        system_delay_s=system_delay,
        mean_perplexity=mean_perplexity,
        reward=step_reward(scenario, mean_perplexity, system_delay),
    )


def step_reward(scenario: Scenario, mean_perplexity: Floats, system_delay_s: Floats) -> Floats:
    """omega_p * mean perplexity + omega_d * maximum delay, the reward both agents share."""
    return (
        scenario.perplexity_weight * mean_perplexity + scenario.delay_weight_per_s * system_delay_s
    )
