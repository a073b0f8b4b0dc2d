"""The scenario's field ``quality``: measured curves in place of the paper's f(E).

The curves are read from a profile once, when the scenario is made, and then belong to it: who gets
the scenario (a remote worker, another node, whoever evaluates a checkpoint) needs no file.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
import os
from collections.abc import Mapping
from typing import Any

from rllib_mec.errors import InputError, unknown_name
from rllib_mec.system.profile_rows import METRICS
from rllib_mec.system.quantity import INFERRED, checked, quantity

Points = tuple[tuple[float, float], ...]
"""A curve: retentions, ascending up to 1, the server's, and the perplexity at each."""

INTERPOLATIONS = {"monotone": 2, "smoothing_spline": 5}
"""How curves go through their points, and the fewest points that this takes."""

_READ_FOR = ("profile", "metric", "compression", "tasks")
"""What says which numbers of a profile the curves are."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeasuredQuality:
    """Perplexities by retention as measured on a language model, in place of f(E).

    With the part ``domains``, the profile's tasks are the domains; without, the mean over the tasks
    holds for all. Curves are never continued beyond what was measured.
    """

    profile: str = quantity(
        "", meaning="path of the profile, read when the scenario is made", source=INFERRED
    )
    metric: str = quantity(
        "plug_in",
        meaning="what a UE sees: plug_in, or emulator_tuned if it keeps the emulator alone",
        source=INFERRED,
        choices=tuple(METRICS),
    )
    compression: str = quantity(
        "", meaning="how emulators were made; may be left out if in one way", source=INFERRED
    )
    tasks: tuple[str, ...] = quantity(
        (), meaning="tasks of the profile; left out: all", source=INFERRED
    )
    interpolation: str = quantity(
        "monotone",
        meaning="monotone (isotonic means, PCHIP), or smoothing_spline (5 points)",
        source=INFERRED,
        choices=tuple(INTERPOLATIONS),
    )
    server_perplexity: float | None = quantity(
        14.0,
        meaning="what the server's mean over tasks is scaled to, f(1); null: as measured",
        source=INFERRED,
        above=0,
    )
    curves: tuple[Points, ...] = quantity(
        (), meaning="[retention, perplexity] of each task, as read, or by hand", source=INFERRED
    )

    def __post_init__(self) -> None:
        fields = {field.name: field for field in dataclasses.fields(self)}
        for name in ("metric", "compression", "interpolation"):
            checked("quality", fields[name], getattr(self, name))
        if self.server_perplexity is not None:
            scaled = checked("quality", fields["server_perplexity"], self.server_perplexity)
            object.__setattr__(self, "server_perplexity", scaled)
        object.__setattr__(self, "profile", _path(self.profile))
        object.__setattr__(self, "tasks", _tasks(self.tasks))
        if not isinstance(self.curves, (list, tuple)) or not self.curves:
            raise InputError(
                f"quality.curves = {self.curves!r}: expected a list of curves, or profile, the "
                "path of a measured profile (Scenario.of reads it)"
            )
        curves = tuple(
            _points(f"quality.curves[{index}]", curve, self.interpolation)
            for index, curve in enumerate(self.curves)
        )
        object.__setattr__(self, "curves", curves)
        if not self.tasks:
            object.__setattr__(self, "tasks", tuple(map(str, range(len(curves)))))
        if len(self.tasks) != len(curves):
            raise InputError(
                f"quality.tasks = {list(self.tasks)}: expected {len(curves)}, one for each of "
                "curves"
            )

    @property
    def origin(self) -> str:
        """Where the curves come from, for messages."""
        return self.profile or "quality.curves"


def read_quality(value: Any, base: MeasuredQuality | None) -> MeasuredQuality | None:
    """Returns what a scenario's ``quality`` describes, or None if that is off.

    The file is read if anything is given that says which of its numbers are meant, and no curves.

    Args:
        value: None or False: off; True: as in ``base``; a mapping: with its values on top.
        base: that of the scenario which this one starts from.

    Raises:
        InputError: names the key, its value and what was expected; or the profile is at fault.
    """
    if value is None or value is False:
        return None
    if isinstance(value, MeasuredQuality):
        return value
    if value is True:
        value = {}
    if not isinstance(value, Mapping):
        raise InputError(f"quality = {value!r}: expected a mapping of its values, true or false")
    known = {field.name for field in dataclasses.fields(MeasuredQuality)}
    for key in value:
        if key not in known:
            raise unknown_name("quality key", key, known)
    given = {key: each for key, each in value.items() if each is not None or key not in _READ_FOR}
    before = {} if base is None else {name: getattr(base, name) for name in known}
    if given.get("curves"):
        return MeasuredQuality(**{**before, "profile": "", "compression": "", "tasks": (), **given})
    given.pop("curves", None)
    if "profile" in given:
        before |= {"compression": "", "tasks": ()}
    values = {**before, **given}
    if base is not None and not any(key in given for key in _READ_FOR):
        return MeasuredQuality(**values)
    if not values.get("profile"):
        raise InputError(
            f"quality = {dict(value)!r}: expected profile, the path of a measured one, or curves"
        )
    return MeasuredQuality(**values | _read(values))


def _read(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields that come from a profile."""
    # Not at the top: pyarrow takes a while, and few scenarios need it.
    from rllib_mec.system.profile import read_profile

    fields = {field.name: field for field in dataclasses.fields(MeasuredQuality)}
    metric, compression = (
        checked("quality", fields[name], values.get(name, fields[name].default))
        for name in ("metric", "compression")
    )
    # As a trace's: workers have other working directories.
    profile = read_profile(os.path.abspath(_path(values["profile"])))
    if not compression:
        if len(profile.compressions) > 1:
            raise InputError(
                f"quality.compression: {profile.place} has {', '.join(profile.compressions)}: "
                "expected one of them"
            )
        compression = profile.compressions[0]
    tasks = _tasks(values.get("tasks", ())) or profile.tasks
    curves = [profile.curve(task, compression, metric) for task in tasks]
    return {
        "profile": profile.place,
        "compression": compression,
        "tasks": tasks,
        "curves": [list(zip(c.retentions, c.perplexities, strict=True)) for c in curves],
    }


def _path(path: Any) -> str:
    if not isinstance(path, (str, os.PathLike)):
        raise InputError(f"quality.profile = {path!r}: expected the path of a measured profile")
    return os.fspath(path)


def _tasks(tasks: Any) -> tuple[str, ...]:
    named = isinstance(tasks, (list, tuple)) and all(isinstance(task, str) for task in tasks)
    if not named or len(set(tasks)) != len(tasks):
        raise InputError(f"quality.tasks = {tasks!r}: expected a list of names, each once")
    return tuple(tasks)


def _points(where: str, curve: Any, interpolation: str) -> Points:
    fewest = INTERPOLATIONS[interpolation]
    if not isinstance(curve, (list, tuple)) or len(curve) < fewest:
        length = f", which has {len(curve)}" if isinstance(curve, (list, tuple)) else ""
        raise InputError(
            f"{where}{length}: expected at least {fewest} pairs of retention and perplexity with "
            f"interpolation {interpolation!r}"
        )
    points = tuple(_point(where, point) for point in curve)
    retentions = [retention for retention, _ in points]
    if retentions != sorted(set(retentions)) or retentions[-1] != 1:
        raise InputError(
            f"{where} has retentions {retentions}: expected them ascending up to 1, the server's"
        )
    return points


def _point(where: str, point: Any) -> tuple[float, float]:
    pair = isinstance(point, (list, tuple)) and len(point) == 2
    if not pair or not all(
        isinstance(number, numbers.Real)
        and not isinstance(number, bool)
        and math.isfinite(number)
        and float(number) > 0
        for number in point
    ):
        raise InputError(
            f"{where} has {point!r}: expected pairs of retention and perplexity, both > 0"
        )
    return float(point[0]), float(point[1])
