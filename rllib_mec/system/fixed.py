"""What an episode brings if every UE does the same in each step."""

from __future__ import annotations

import numpy as np

from rllib_mec.system.emulator import NOTHING_CACHED
from rllib_mec.system.radio import Bools, Floats
from rllib_mec.system.scenario import Scenario
from rllib_mec.system.step import Situation, step
from rllib_mec.system.tasks import Episode


def reward_of_fixed(
    scenario: Scenario, episode: Episode, server: Bools, retention: Floats
) -> Floats:
    """Returns the reward of each environment's whole episode, (B,).

    Args:
        server: z, (B, N). retention: E to train with locally, (B, N); cut to what fits.
    """
    cached = np.full(server.shape, NOTHING_CACHED)
    battery, total = episode.devices.battery_kj, np.zeros(len(server))
    for t in range(scenario.num_tasks):
        situation = Situation(episode.task(t), cached, episode.devices, battery)
        keep = None
        if scenario.emulator_action == "keep_or_retention":
            keep = cached != NOTHING_CACHED
        outcome = step(scenario, situation, server, retention, keep)
        cached, battery = outcome.cached, outcome.battery_kj
        total += outcome.reward
    return total
