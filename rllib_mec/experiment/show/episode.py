"""Plays the episode that ``rllib evaluate`` plays, and keeps every step of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rllib_mec.baselines.episodes import play as play_in_batch
from rllib_mec.baselines.policies import NAMES, make_policy
from rllib_mec.envs import BatchedMECEnv
from rllib_mec.envs.fedpeat import BatchedFedPEATEnv
from rllib_mec.errors import InputError
from rllib_mec.experiment.checkpoints import manifest, reading
from rllib_mec.experiment.evaluate import evaluate
from rllib_mec.experiment.show import fedpeat_steps, mec_steps
from rllib_mec.experiment.show.played import HOLD, Array, Played
from rllib_mec.experiment.watching import System
from rllib_mec.registry import BOUNDS
from rllib_mec.system import Simulator
from rllib_mec.system.fedpeat import Federation


class Recorder:
    """Keeps the steps of the first whole episode of the system that it watches."""

    def __init__(self) -> None:
        self._system: System | None = None
        self._episode: Any = None
        self._ues: list[Mapping[str, Array]] = []
        self._steps: list[Mapping[str, float]] = []

    def watch(self, system: System) -> None:
        """Begins to watch."""
        self._system = system
        system.on_step = self._add

    def played(self, policy: str, metrics: Mapping[str, float]) -> Played:
        """Returns the episode, which is over."""
        system = self._system
        assert system is not None
        return Played(
            policy,
            system.scenario,
            self._episode,
            metrics,
            {name: np.stack([step[name] for step in self._ues]) for name in self._ues[0]},
            {name: np.array([step[name] for step in self._steps]) for name in self._steps[0]},
            _form(system).COLUMNS,
        )

    def _add(self, situation: Any, decided: Any, outcome: Any) -> None:
        system = self._system
        assert system is not None
        if self._ues and len(self._ues) == _length(system):
            return  # RLlib's own runner may go on with the next episode
        if system.t == 1:
            self._episode = system.episode
            self._ues, self._steps = [], []
        ues, step = _form(system).of_step(system.scenario, situation, decided, outcome)
        self._ues.append({name: values[0].copy() for name, values in ues.items()})
        self._steps.append({name: float(values[0]) for name, values in step.items()})


def _form(system: System) -> Any:
    return mec_steps if isinstance(system, Simulator) else fedpeat_steps


def _length(system: System) -> int:
    if isinstance(system, Simulator):
        return system.scenario.num_tasks
    return system.scenario.num_rounds


def play(
    target: str,
    env: str | None,
    env_config: Mapping[str, Any],
    seed: int,
    trust: bool = False,
    explore: bool = False,
) -> Played:
    """Plays the one episode of ``rllib evaluate TARGET --episodes 1 --seed SEED``.

    Arguments are those of :func:`rllib_mec.experiment.evaluate.evaluate`.

    Raises:
        InputError: no such target or environment, they do not fit each other, or the environment
            is neither ``mec`` nor ``fedpeat``.
    """
    if target in BOUNDS:
        raise InputError(
            f"rllib show {target}: a bound decides nothing: expected a checkpoint or one of "
            f"{', '.join(NAMES)}"
        )
    if target in NAMES and env is None:
        raise InputError(f"rllib show {target}: expected --env")
    recorder = Recorder()
    found = evaluate(target, env, env_config, 1, seed, trust, explore, watch=recorder.watch)
    policy = target if target in NAMES else _learned_by(Path(target).absolute(), trust)
    return recorder.played(policy, {name: float(values[0]) for name, values in found.items()})


def hold(played: Played) -> Played:
    """Plays ``hold`` in the same episode: all draws are those that the other policy met."""
    recorder = Recorder()
    env: Any

    def source(rngs: Any) -> Any:
        return played.episode

    if played.of_mec:
        env = BatchedMECEnv({"scenario": played.scenario})
        env.simulator = Simulator(played.scenario, source=source)
        recorder.watch(env.simulator)
    else:
        env = BatchedFedPEATEnv({"scenario": played.scenario})
        env.federation = Federation(played.scenario, source=source)
        recorder.watch(env.federation)
    metrics, _ = play_in_batch(env, make_policy(HOLD, env, np.random.SeedSequence(0)))
    return recorder.played(HOLD, {name: float(values[0]) for name, values in metrics.items()})


def _learned_by(path: Path, trust: bool) -> str:
    """The name of the algorithm that wrote a checkpoint, which has been read already."""
    if (path / manifest.MANIFEST).is_file():
        return str(manifest.read(path).experiment["run"])
    return str(reading.read(path, None, {}, trust).config.algo_class.__name__)
