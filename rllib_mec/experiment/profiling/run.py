"""Carries out a sweep, or goes on with one."""

from __future__ import annotations

import functools
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from rllib_mec.emulator.adapters import Adapter
from rllib_mec.emulator.distillation import Distillation
from rllib_mec.emulator.emulators import distilled_layers
from rllib_mec.emulator.measure import Tuning, Unit, measure
from rllib_mec.emulator.models import Foundation, load_foundation
from rllib_mec.emulator.offline import NAME, offline_foundation
from rllib_mec.emulator.texts import general_text, task_text
from rllib_mec.emulator.tokens import Sequences
from rllib_mec.emulator.training import Training
from rllib_mec.errors import InputError
from rllib_mec.experiment.profiling.settings import Settings
from rllib_mec.experiment.profiling.store import Store
from rllib_mec.experiment.workers import Job, Workers
from rllib_mec.system.profile import Profile, read_profile, write_profile
from rllib_mec.system.profile_rows import Row


def profile(
    model: str, settings: Settings, out: Path, work: Path, workers: Workers, general: str | None
) -> Profile:
    """Measures what ``work`` lacks, and writes ``out``.

    Args:
        model: ``offline``, a path or a name on the hub.
        general: a text to distil on, as a task's; None: that of the offline model.

    Raises:
        InputError: the settings do not fit the model or a text, or a measurement failed.
    """
    texts = [task_text(task) for task in settings.tasks]
    names = [text.name for text in texts]
    if len(set(names)) < len(names):
        raise InputError(f"tasks = {', '.join(names)}: expected different names (NAME=PATH)")
    on = None
    if "distillation" in settings.compressions:
        on = task_text(general) if general else general_text()
    foundation = offline_foundation(work / NAME) if model == NAME else load_foundation(model)
    retentions = settings.retentions_of(foundation)
    sequences = {text.name: settings.tokenised(text, foundation) for text in texts}
    about = settings.about(foundation, texts, on)
    store = Store(work, about)
    if on is not None:
        general_sequences = settings.tokenised(on, foundation).train
        _distil(foundation, general_sequences, settings, retentions, store, workers)
    units = list(settings.units(names, retentions))
    _measure(foundation, sequences, settings, units, store, workers)
    rows = [row for row in map(store.row, units) if row is not None]
    write_profile(out, rows, {**about, "processor": platform.processor() or platform.machine()})
    return read_profile(out)


def _distil(
    foundation: Foundation,
    sequences: torch.Tensor,
    settings: Settings,
    retentions: Iterable[float],
    store: Store,
    workers: Workers,
) -> None:
    """Distils an emulator for each retention that has none."""
    missing = [each for each in retentions if store.distilled(each) is None]
    jobs = [
        Job(
            f"distillation, retention {retention:g}",
            functools.partial(
                _distilled, settings.tuning.adapter, retention, settings.distillation
            ),
            functools.partial(store.keep_distilled, retention),
        )
        for retention in missing
    ]
    workers.run("distilling", jobs, (foundation.model, sequences))


def _distilled(
    adapter: Adapter, retention: float, training: Training, shared: Any
) -> dict[str, torch.Tensor]:
    model, sequences = shared
    model.to(_device())
    return distilled_layers(model, adapter, retention, Distillation(sequences, training))


def _measure(
    foundation: Foundation,
    sequences: Mapping[str, Sequences],
    settings: Settings,
    units: Sequence[Unit],
    store: Store,
    workers: Workers,
) -> None:
    """Measures the units that have not been."""
    missing = [unit for unit in units if store.row(unit) is None]
    distilled = {
        unit.retention: store.distilled(unit.retention)
        for unit in missing
        if unit.compression == "distillation"
    }
    jobs = [
        Job(
            unit.name,
            functools.partial(_measured, unit, settings.tuning),
            functools.partial(store.keep_row, unit),
        )
        for unit in missing
    ]
    shared = (foundation.model, sequences, distilled)
    workers.run("profiling", jobs, shared, done=len(units) - len(missing))


def _measured(unit: Unit, tuning: Tuning, shared: Any) -> Row:
    model, sequences, distilled = shared
    model.to(_device())
    layers = distilled[unit.retention] if unit.compression == "distillation" else None
    return measure(unit, model, sequences[unit.task], tuning, layers)


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
