"""Coordinate-wise greedy: UE after UE takes what is best for the step's reward, for any N.

It begins with what every UE could do at once (all on the server, or all keeping their emulators, or
all downloading one), and then goes through the UEs again and again: each tries the server, keeping
and each retention of a grid (a download, or cut from what is cached, as the scenario says), all
others as they are, until nobody finds anything better. What
others cost and how long they take hangs on a UE only by how many share links and queue, so it is
summed up once for each of the three kinds of choices.
"""

from __future__ import annotations

import numpy as np

from rllib_mec.baselines.choices import Choices
from rllib_mec.system import Scenario
from rllib_mec.system.compute import local_energy, training_work
from rllib_mec.system.emulator import new_layers
from rllib_mec.system.radio import Bools, Floats, Ints
from rllib_mec.system.step import Situation, step

GRID = 13
"""Retentions to try where there is no grid of layers."""

MOST_SWEEPS = 20
"""Rounds over all UEs, which few situations need."""

_BETTER = 1e-9
"""What a change must gain at least, so that rounding cannot keep two choices going."""


def retentions(scenario: Scenario) -> Floats:
    """Returns the retentions that are tried, (K,)."""
    if scenario.emulator_action == "layers":
        low, high = scenario.layer_bounds
        return np.arange(low, high + 1) / scenario.num_layers
    return np.linspace(*scenario.retention, GRID)


def best_actions(scenario: Scenario, situation: Situation) -> tuple[Bools, Floats]:
    """Returns the server decisions z and the retentions E, (B, N) each.

    A UE that keeps its emulator gets E = its cached retention.
    """
    cached = situation.cached
    grid = retentions(scenario)
    # The choices of a UE: the server, keeping, and each retention; [c, b, i].
    held = np.where(cached > 0, cached, grid[-1])
    retention = np.stack([held, held, *(np.full(cached.shape, e) for e in grid)])
    if situation.devices.most_retention is not None:
        retention = np.minimum(retention, situation.devices.most_retention)
    serves = np.zeros(len(retention), dtype=bool)
    serves[0] = True
    first, reward = _best_of_all_alike(scenario, situation, retention, serves)
    team = _Team(scenario, situation, retention, serves, first)
    for _ in range(MOST_SWEEPS):
        before = reward
        for ue in range(cached.shape[-1]):
            rewards = team.rewards(ue)
            best = rewards.argmax(axis=0)
            highest = rewards.max(axis=0)
            better = highest > reward + _BETTER
            team.take(ue, np.where(better, best, team.chosen[:, ue]))
            reward = np.where(better, highest, reward)
        if not (reward > before).any():
            break
    chosen = np.take_along_axis(retention, team.chosen[None], axis=0)[0]
    return serves[team.chosen], chosen


class _Team:
    """What N UEs choose, in B situations. Axes: c choice, b situation, i UE.

    chosen: index of each UE's choice, [b, i].
    """

    def __init__(
        self,
        scenario: Scenario,
        situation: Situation,
        retention: Floats,
        serves: Bools,
        first: Ints,
    ) -> None:
        self._choices = choices = Choices(scenario, situation)
        active = choices.active
        served = np.broadcast_to(serves[:, None, None], retention.shape)
        if scenario.energy is not None and scenario.compute is not None:
            assert situation.tasks.tokens is not None
            assert situation.battery_kj is not None
            work = training_work(scenario.compute, situation.tasks.tokens)
            # Whose battery is too small goes to the server.
            needed = local_energy(scenario.energy, retention, work)
            served = served | (needed > situation.battery_kj)
        switch, size = new_layers(scenario, retention, situation.cached)
        downloading = scenario.downlink_sharing == "downloading"
        self._served = served & active
        self._local = ~served & active
        self._shares = switch & (self._local if downloading else self._served)
        # Whether a UE is served and whether it shares the downlink: what there is.
        self._kinds = ((0, 0), (0, 1), (1, 0)) if downloading else ((0, 0), (1, 0), (1, 1))
        self._cost = choices.download_cost(retention)
        self._train_s = retention * choices.train_s
        self._load_s = switch * size * choices.download_s
        self._rows = np.arange(len(active))
        self.chosen: Ints = np.repeat(first[:, None], active.shape[1], axis=1)
        self._now = [
            np.take_along_axis(table, self.chosen[None], axis=0)[0] for table in self._tables
        ]

    @property
    def _tables(self) -> tuple[Floats | Bools, ...]:
        return (
            self._served,
            self._local,
            self._shares,
            self._cost,
            self._train_s,
            self._load_s,
        )

    def take(self, ue: int, choice: Ints) -> None:
        """Lets a UE choose, (B,)."""
        self.chosen[:, ue] = choice
        for now, table in zip(self._now, self._tables, strict=True):
            now[:, ue] = table[choice, self._rows, ue]

    def rewards(self, ue: int) -> Floats:
        """Rewards of the choices of a UE, all others as they are, (C, B).

        The UE must choose again afterwards: :meth:`take`.
        """
        choices, rows = self._choices, self._rows
        served, local, shares, cost, train_s, load_s = self._now
        for flags in (served, local, shares):
            flags[:, ue] = False
        count, locals_, sharing = (flags.sum(axis=-1) for flags in (served, local, shares))
        queue = (served * choices.queue_s).sum(axis=-1)
        local_cost = np.where(local, cost, 0.0).sum(axis=-1)
        own_s = np.zeros(()) if choices.queue_shared else choices.queue_s
        others_cost, others_s = (np.zeros((2, 2, len(rows))) for _ in range(2))
        for is_served, is_sharing in self._kinds:
            k, m = count + is_served, locals_ + 1 - is_served
            served_s = np.where(served, choices.served_s[rows, k] + own_s, 0.0).max(axis=-1)
            if choices.queue_shared:
                waited = queue + is_served * choices.queue_s[:, ue]
                served_s += np.where(count > 0, waited, 0.0)
            slowed = np.maximum(sharing + is_sharing, 1)[:, None]
            seconds = choices.local_s[rows, m] + train_s + slowed * load_s
            local_s = np.where(local, seconds, 0.0).max(axis=-1)
            others_s[is_served, is_sharing] = np.maximum(served_s, local_s)
            others_cost[is_served, is_sharing] = (
                local_cost
                + np.where(served, choices.served_cost[rows, k], 0.0).sum(axis=-1)
                + np.where(local, choices.local_cost[rows, m], 0.0).sum(axis=-1)
            )
        # Its own part, [c, b].
        served, local, shares, cost, train_s, load_s = (table[..., ue] for table in self._tables)
        waits = choices.queue_s[:, ue] + (queue if choices.queue_shared else 0.0)
        slowed = np.maximum(sharing + shares, 1)
        one = np.ones(1, dtype=np.intp)
        seconds = np.where(
            served,
            choices.served_s[rows, count + one, ue] + waits,
            local * (choices.local_s[rows, locals_ + one, ue] + train_s + slowed * load_s),
        )
        own = np.where(
            served,
            choices.served_cost[rows, count + one, ue],
            local * (cost + choices.local_cost[rows, locals_ + one, ue]),
        )
        kind = served.astype(np.intp), shares.astype(np.intp), rows
        delay = np.maximum(others_s[kind], seconds)
        return -(others_cost[kind] + own + choices.delay_weight * delay)


def _best_of_all_alike(
    scenario: Scenario, situation: Situation, retention: Floats, serves: Bools
) -> tuple[Ints, Floats]:
    """The best of what all UEs do alike: the choice and its reward, (B,) each."""
    rewards = []
    for z, e in zip(serves, retention, strict=True):
        keep = e == situation.cached if scenario.emulator_action == "keep_or_retention" else None
        rewards.append(step(scenario, situation, np.full(e.shape, z), e, keep).reward)
    return np.argmax(rewards, axis=0), np.max(rewards, axis=0)
