"""Whether a trace fits a scenario: numbers of UEs and tasks, and what the parts need."""

from __future__ import annotations

import numpy as np

from rllib_mec.errors import InputError
from rllib_mec.system import Scenario
from rllib_mec.system.radio import Bools
from rllib_mec.traces.files import Recording
from rllib_mec.traces.schema import KINDS
from rllib_mec.traces.trace import Trace

_PARTS = {
    "tokens": "compute",
    "domain": "domains",
    "active": "arrivals",
    "tflops": "compute",
    "most_retention": "memory",
    "battery_kj": "energy",
}
"""The part of the scenario that gives a column its meaning."""


def columns_taken(scenario: Scenario) -> dict[str, set[str]]:
    """Returns, for each kind, the columns that an episode of the scenario has.

    Others may be recorded, too: they belong to parts that are off.
    """
    return {
        name: {
            column.name
            for column in kind.values
            if column.name not in _PARTS or getattr(scenario, _PARTS[column.name]) is not None
        }
        for name, kind in KINDS.items()
    }


def check_fit(trace: Trace, scenario: Scenario, mode: str) -> None:
    """Refuses a trace that cannot be replayed in a scenario.

    Raises:
        InputError: names the field, its value and what was expected.
    """
    if mode != "bootstrap" and scenario.num_ues != trace.num_ues:
        raise InputError(
            f"env_config.num_ues = {scenario.num_ues}: expected {trace.num_ues}, as in "
            f"{trace.place} (replay: bootstrap takes any number)"
        )
    if trace.num_tasks is not None:
        if mode == "whole" and scenario.num_tasks != trace.num_tasks:
            raise InputError(
                f"env_config.num_tasks = {scenario.num_tasks}: expected {trace.num_tasks}, as in "
                f"{trace.place} (replay: windows takes fewer, bootstrap any number)"
            )
        if mode == "windows" and scenario.num_tasks > trace.num_tasks:
            raise InputError(
                f"env_config.num_tasks = {scenario.num_tasks}: expected at most "
                f"{trace.num_tasks}, as in {trace.place} (replay: bootstrap takes any number)"
            )
    for kind, names in columns_taken(scenario).items():
        recording = trace.recordings.get(kind)
        if recording is None:
            continue
        for name in sorted(names - set(recording.values)):
            raise InputError(
                f"{recording.place}: column {name} is missing: expected it with the scenario's "
                f"part {_PARTS[name]} (or {_PARTS[name]}: false)"
            )
        if "domain" in names and scenario.domains is not None:
            last = len(scenario.domains.levels) - 1
            domain = recording.values["domain"]
            _check(recording, "domain", domain <= last, f"a domain of the scenario, 0 to {last}")
        if "most_retention" in names:
            _check_retentions(recording, scenario)


def _check_retentions(recording: Recording, scenario: Scenario) -> None:
    most = recording.values["most_retention"]
    low, high = scenario.retention
    expected = f"a retention of the scenario, in [{low:g}, {high:g}]"
    good = (most >= low - 1e-9) & (most <= high + 1e-9)
    if scenario.emulator_action == "layers":
        layers = most * scenario.num_layers
        good &= np.abs(layers - np.rint(layers)) < 1e-6
        expected += f" and a whole number of {scenario.num_layers} layers"
    _check(recording, "most_retention", good, expected)


def _check(recording: Recording, name: str, good: Bools, expected: str) -> None:
    if good.all():
        return
    at = tuple(int(each) for each in np.argwhere(~good)[0])
    where = f"UE {at[-1]}" + (f", step {at[1]}" if len(at) == 3 else "") + f", episode {at[0]}"
    raise InputError(
        f"{recording.place}: {name} ({where}) = {recording.values[name][at]}: expected {expected}"
    )
