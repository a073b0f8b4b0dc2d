"""Replay: episodes from a trace in place of drawn ones.

* ``whole``: recorded episodes one after the other; of B environments, environment k begins with
  episode k and goes on with every B-th. Seeds pick nothing, nor do they go back to the start.
* ``windows``: T tasks in a row from a random place of a random, longer episode.
* ``bootstrap``: each UE takes the part of a recorded one, drawn with replacement, and blocks of
  that one's steps, drawn with replacement, too, are put in a row. Blocks wrap around from the end
  of an episode to its start (the circular block bootstrap of Politis and Romano, 1992), so that
  every recorded step is as likely as any other. Within a block, what happens in a step stays
  together: channel and task.

Whatever the trace does not hold is drawn as the scenario says.
"""

from __future__ import annotations

import abc
import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from rllib_mec.errors import InputError, did_you_mean
from rllib_mec.system import Scenario
from rllib_mec.system.tasks import Devices, Episode, EpisodeSource, Tasks, draw_episode
from rllib_mec.traces.files import Array
from rllib_mec.traces.fit import check_fit, columns_taken
from rllib_mec.traces.trace import Trace, read_trace

MODES = ("whole", "windows", "bootstrap")

BLOCK = 10
"""Default length of the bootstrap's blocks: about twice as long as fading with rho = 0.9 lasts."""

Streams = Sequence[np.random.Generator]


@dataclasses.dataclass(frozen=True, slots=True)
class Replay:
    """Which trace is replayed, and how.

    trace: absolute path of a directory or a file. mode: one of :data:`MODES`. block: steps of a
    block of ``bootstrap``; None: :data:`BLOCK`, or all steps where there are fewer.
    """

    trace: str
    mode: str = "whole"
    block: int | None = None

    @classmethod
    def of(cls, trace: Any, mode: Any = None, block: Any = None) -> Replay | None:
        """Reads ``env_config``'s ``trace``, ``replay`` and ``replay_block``.

        Raises:
            InputError: a value that makes no sense.
        """
        if trace is None:
            for key, value in (("replay", mode), ("replay_block", block)):
                if value is not None:
                    raise InputError(f"env_config.{key} = {value!r}: expected a trace with it")
            return None
        if not isinstance(trace, (str, os.PathLike)):
            raise InputError(f"env_config.trace = {trace!r}: expected the path of a trace")
        if mode is None:
            mode = "whole"
        if mode not in MODES:
            hint = did_you_mean(str(mode), MODES) or f" expected one of {', '.join(MODES)}"
            raise InputError(f"env_config.replay = {mode!r}:{hint}")
        if block is not None:
            if mode != "bootstrap":
                raise InputError(
                    f"env_config.replay_block = {block!r}: expected it with replay: bootstrap alone"
                )
            if isinstance(block, bool) or not isinstance(block, int) or block < 1:
                raise InputError(
                    f"env_config.replay_block = {block!r}: expected a whole number >= 1"
                )
        return cls(os.path.abspath(trace), mode, block)

    def to_env_config(self) -> dict[str, Any]:
        """Returns the keys of ``env_config`` that give this replay."""
        return {"trace": self.trace, "replay": self.mode, "replay_block": self.block}

    @property
    def num_episodes(self) -> int | None:
        """How many different episodes there are; None where they are drawn.

        Raises:
            InputError: the trace cannot be read.
        """
        return read_trace(self.trace).num_episodes if self.mode == "whole" else None

    def source(self, scenario: Scenario) -> EpisodeSource:
        """Returns a source of episodes, which begins with the first.

        Raises:
            InputError: the trace cannot be read, or does not fit the scenario.
        """
        trace = read_trace(self.trace)
        check_fit(trace, scenario, self.mode)
        if self.mode == "bootstrap":
            return Bootstrap(scenario, trace, self.block)
        return (Whole if self.mode == "whole" else Windows)(scenario, trace)


@dataclasses.dataclass(frozen=True, slots=True)
class _Picks:
    """Where each number of an episode stands in the trace.

    episode, step, ue: (T + 2, B, N), from step -1 on. device_episode: (B, N).
    """

    episode: Array
    step: Array
    ue: Array
    device_episode: Array

    @classmethod
    def of(cls, episode: Array, step: Array, ue: Array, device_episode: Array) -> _Picks:
        """Returns the same in full, of what is repeated along some axes."""
        episode, step, ue = np.broadcast_arrays(episode, step, ue)
        return cls(episode, step, ue, device_episode)


class _Source(abc.ABC):
    """Puts episodes together from a trace, and from draws where it holds nothing."""

    def __init__(self, scenario: Scenario, trace: Trace) -> None:
        self.scenario = scenario
        self.trace = trace
        taken = columns_taken(scenario)
        self._recorded = {
            kind: {name: each for name, each in trace.values(kind).items() if name in names}
            for kind, names in taken.items()
        }
        self._draws = any(not self._recorded[kind] and names for kind, names in taken.items())

    def __call__(self, rngs: Streams) -> Episode:
        drawn = draw_episode(self.scenario, rngs) if self._draws else None
        picks = self._pick(rngs)
        first_gain = None if drawn is None else drawn.first_gain
        tasks = {} if drawn is None else _fields(drawn.tasks)
        devices = {} if drawn is None else _fields(drawn.devices)
        of_task = picks.episode[1:], picks.step[1:], picks.ue[1:]
        for gain in self._recorded["channel"].values():
            gains = gain[picks.episode, picks.step + 1, picks.ue]
            first_gain, tasks["gain"] = gains[0], gains[1:]
        for name, values in self._recorded["task"].items():
            tasks[name] = values[of_task]
        for name, values in self._recorded["device"].items():
            devices[name] = values[picks.device_episode, picks.ue[0]]
        assert first_gain is not None
        return Episode(Tasks(**tasks), first_gain, Devices(**devices))

    @abc.abstractmethod
    def _pick(self, rngs: Streams) -> _Picks:
        """Draws, from each environment's stream, what its next episode is made of."""

    @property
    def _steps(self) -> Array:
        return np.arange(-1, self.scenario.num_tasks + 1)

    def _in_a_row(self, episode: Array, start: Array) -> _Picks:
        """All UEs of each environment's episode, (B,), from step ``start`` on, (B,)."""
        ue = np.arange(self.scenario.num_ues)
        step = self._steps[:, None] + start
        device_episode = np.broadcast_to(episode[:, None], (len(episode), len(ue)))
        return _Picks.of(episode[None, :, None], step[..., None], ue, device_episode)


def _fields(record: Tasks | Devices) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}


class Whole(_Source):
    """Recorded episodes one after the other."""

    def __init__(self, scenario: Scenario, trace: Trace) -> None:
        super().__init__(scenario, trace)
        self._next = 0

    def _pick(self, rngs: Streams) -> _Picks:
        episode = (self._next + np.arange(len(rngs))) % self.trace.num_episodes
        self._next = (self._next + len(rngs)) % self.trace.num_episodes
        return self._in_a_row(episode, np.zeros_like(episode))


class Windows(_Source):
    """Parts of recorded episodes."""

    def _pick(self, rngs: Streams) -> _Picks:
        longest = self.trace.num_tasks or self.scenario.num_tasks
        starts = longest - self.scenario.num_tasks + 1
        drawn = np.array([rng.integers((self.trace.num_episodes, starts)) for rng in rngs])
        return self._in_a_row(drawn[:, 0], drawn[:, 1])


class Bootstrap(_Source):
    """Blocks of recorded UEs' steps.

    Raises:
        InputError: blocks longer than an episode.
    """

    def __init__(self, scenario: Scenario, trace: Trace, block: int | None) -> None:
        super().__init__(scenario, trace)
        # Step -1 is the same kind of row as the others, but has no task: it is never drawn.
        self._recorded_steps = (trace.num_tasks or scenario.num_tasks) + 1
        if block is not None and block > self._recorded_steps:
            raise InputError(
                f"env_config.replay_block = {block}: expected at most {self._recorded_steps}, the "
                f"steps of an episode of {trace.place}"
            )
        self._block = min(BLOCK, self._recorded_steps) if block is None else block

    def _pick(self, rngs: Streams) -> _Picks:
        steps, ues = len(self._steps), self.scenario.num_ues
        shape = (-(-steps // self._block), ues)
        ue, device_episode = (np.empty((len(rngs), ues), np.intp) for _ in range(2))
        episode, start = (np.empty((shape[0], len(rngs), ues), np.intp) for _ in range(2))
        for env, rng in enumerate(rngs):
            ue[env] = rng.integers(self.trace.num_ues, size=ues)
            device_episode[env] = rng.integers(self.trace.num_episodes, size=ues)
            episode[:, env] = rng.integers(self.trace.num_episodes, size=shape)
            start[:, env] = rng.integers(self._recorded_steps, size=shape)
        of_block, within = np.divmod(np.arange(steps), self._block)
        step = (start[of_block] + within[:, None, None]) % self._recorded_steps
        return _Picks.of(episode[of_block], step, ue, device_episode)
