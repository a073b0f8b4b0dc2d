"""Runs studies: their units as tasks of Ray, each with a core; what is there already is kept.

To be imported after :func:`rllib_mec.experiment.logs.quieten` has been called.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow
import ray

from rllib_mec.errors import InputError
from rllib_mec.experiment import interrupt
from rllib_mec.experiment.announce import last_line
from rllib_mec.experiment.progress import duration
from rllib_mec.experiment.run import Options, ray_session
from rllib_mec.experiment.study import results
from rllib_mec.experiment.study.carry_out import Done
from rllib_mec.experiment.study.spec import Study
from rllib_mec.experiment.study.units import Unit

SECONDS_BETWEEN_LINES = 15.0

_UNIT = "unit.json"


def run(
    studies: Sequence[Study],
    units: Sequence[Sequence[Unit]],
    out: Path,
    options: Options,
    command: str,
) -> int:
    """Carries out what is missing of each study, and writes the results of those that are whole.

    Args:
        units: of each study.
        out: each study's results go to the directory there that has its name, those of its
            units below ``units``, where other studies find them, too.
        command: what makes the same results elsewhere.

    Returns:
        0, all went well; 1, some unit failed; 130, a signal ended the run.

    Raises:
        InputError: ``out`` is no directory and cannot be made one.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {out}: cannot write: {error.strerror or error}") from None
    everything = {unit.name: unit for own in units for unit in own}
    missing = [unit for unit in everything.values() if not _is_there(unit, out)]
    interrupt.say(
        f"{', '.join(study.name for study in studies)}: {len(everything)} units, "
        f"{len(everything) - len(missing)} of them there already; results: {out}"
    )
    failed = 0
    if missing:
        with ray_session(options), interrupt.watching("the states saved last are kept"):
            failed = _carry_out(missing, out, len(everything))
    for study, own in zip(studies, units, strict=True):
        if all(_is_there(unit, out) for unit in own):
            try:
                _write(study, own, out, command, [each.name for each in studies])
            except OSError as error:
                failed += 1
                interrupt.say(f"{study.name}: cannot write its results: {error}", sys.stderr)
    if interrupt.requested():
        interrupt.say(f"stopped; to continue: {options.resume_command}")
        return interrupt.EXIT_CODE
    return 1 if failed else 0


def _carry_out(missing: Sequence[Unit], out: Path, total: int) -> int:
    """Runs units as Ray has cores for them; returns how many failed."""
    board = ray.remote(num_cpus=0)(_Board).remote()
    task = ray.remote(_task)
    running = {
        task.options(**unit.resources()).remote(unit, str(_folder(unit, out)), board): unit
        for unit in missing
    }
    failed, line, started = 0, 0.0, time.monotonic()
    said: dict[str, str] = {}
    while running and not interrupt.requested():
        ready, _ = ray.wait(list(running), timeout=1.0)
        said |= ray.get(board.take.remote())
        for reference in ready:
            unit = running.pop(reference)
            said.pop(unit.name, None)
            place = f"[{total - len(running)}/{total}]"
            try:
                done = ray.get(reference)
                _keep(unit, done, out)
            # A full disk, or a result that no column holds, ends one unit alone.
            except (ray.exceptions.RayError, OSError, pyarrow.ArrowException) as error:
                failed += 1
                interrupt.say(f"{place} {unit.label}: failed:", sys.stderr)
                interrupt.say(f"  {last_line(error)}", sys.stderr)
                continue
            reward = sum(row["reward"] for row in done.runs) / len(done.runs)
            taken = duration(time.monotonic() - started)
            interrupt.say(f"{place} {taken}  {unit.label}: reward {reward:.2f}")
        if said and time.monotonic() - line > SECONDS_BETWEEN_LINES:
            line = time.monotonic()
            for words in said.values():
                interrupt.say(f"  {words}")
            said.clear()
    for reference in running:
        ray.cancel(reference, force=True)
    return failed


class _Board:
    """Where tasks say how far they are; an actor of Ray's."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}

    def say(self, name: str, words: str) -> None:
        self._said[name] = words

    def take(self) -> dict[str, str]:
        """Returns what has been said since the last time."""
        said, self._said = self._said, {}
        return said


def _task(unit: Unit, folder: str, board: Any) -> Done:
    """Carries out a unit in a process of Ray's."""
    from rllib_mec.experiment.logs import quieten

    quieten(0)
    from rllib_mec.experiment.study.carry_out import carry_out  # Ray comes after quieten

    def say(steps: int, reward: float) -> None:
        # Not waited for: Ray would lend the core of a task that waits to another one.
        words = f"{unit.label}: {steps:,}/{unit.steps:,} steps  reward {reward:.2f}"
        board.say.remote(unit.name, words)

    return carry_out(unit, Path(folder), say)


def _keep(unit: Unit, done: Done, out: Path) -> None:
    folder = _folder(unit, out)
    folder.mkdir(parents=True, exist_ok=True)
    about = {"seconds": round(done.seconds, 1), "unit": dataclasses.asdict(unit)}
    (folder / _UNIT).write_text(json.dumps(about, indent=1) + "\n")
    names = unit.metric_names()
    results.write(folder / results.CURVES, done.curves, results.curves_schema(names))
    # Last: where it is, the unit is done.
    results.write(folder / results.RUNS, done.runs, results.runs_schema(names))


def _folder(unit: Unit, out: Path) -> Path:
    return out / "units" / unit.name


def _is_there(unit: Unit, out: Path) -> bool:
    return (_folder(unit, out) / results.RUNS).is_file()


def _write(
    study: Study, units: Sequence[Unit], out: Path, command: str, together: list[str]
) -> None:
    """Writes the results of all units of a study as one."""
    (out / study.name).mkdir(exist_ok=True)
    names = units[0].metric_names()  # those of all, as units_of has seen to
    kept = [json.loads((_folder(unit, out) / _UNIT).read_text()) for unit in units]
    for name, schema in (
        (results.RUNS, results.runs_schema(names)),
        (results.CURVES, results.curves_schema(names)),
    ):
        rows = [
            row | {"study": unit.study, "variant": label}
            for unit, about in zip(units, kept, strict=True)
            for row in results.read(_folder(unit, out) / name, schema)
            for label in [results.relabelled(row, about["unit"]["variant"], unit.variant)]
        ]
        results.write(out / study.name / name, rows, schema)
    seconds = sum(about["seconds"] for about in kept)
    description = {
        "name": study.name,
        "command": command,
        "seconds": round(seconds),
        "steps": study.form.steps,
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in ("rllib_mec", "ray", "torch", "numpy")},
        },
        "spec": study.form.model_dump(exclude_none=True),
        "together": together,
        "metrics": list(names.metrics),
        "decisions": list(names.decisions),
    }
    (out / study.name / results.ABOUT).write_text(json.dumps(description, indent=1) + "\n")
    interrupt.say(f"{study.name}: {out / study.name}")
