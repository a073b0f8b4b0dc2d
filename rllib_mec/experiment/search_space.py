"""Search spaces inside ``config``, such as ``{loguniform: [1e-5, 1e-3]}``.

A space is a mapping of one key, a name of :data:`KINDS`, and stands wherever a plain value may,
also inside ``env_config`` and ``model_config``.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

from rllib_mec.errors import InputError
from rllib_mec.source import KeyPath

KINDS = {
    "grid_search": "[value, …]",
    "choice": "[value, …]",
    "uniform": "[low, high]",
    "quniform": "[low, high, step]",
    "loguniform": "[low, high]",
    "qloguniform": "[low, high, step]",
    "randn": "[mean, deviation]",
    "qrandn": "[mean, deviation, step]",
    "randint": "[low, high] (whole numbers, below high)",
    "qrandint": "[low, high, step] (whole numbers)",
    "lograndint": "[low, high] (whole numbers, below high)",
    "qlograndint": "[low, high, step] (whole numbers)",
}
"""Kinds of spaces and their arguments; each is the function of ``ray.tune`` with that name."""

_LISTS = ("grid_search", "choice")


@dataclasses.dataclass(frozen=True)
class Space:
    """One search space: a kind of :data:`KINDS` and its arguments."""

    kind: str
    arguments: list[Any]

    def check(self, place: str) -> None:
        """Refuses arguments that make no space.

        Raises:
            InputError: says what ``kind`` expects.
        """
        given = f"{place}.{self.kind} = {self.arguments!r}: expected {KINDS[self.kind]}"
        if not isinstance(self.arguments, list):
            raise InputError(given)
        if self.kind in _LISTS:
            if not self.arguments:
                raise InputError(f"{given}, got an empty list")
            if any(find(value) for value in self.arguments):
                raise InputError(f"{given}, got a search space inside a search space")
            return
        whole = self.kind.endswith("randint")
        number = int if whole else (int, float)
        if len(self.arguments) != 2 + self.kind.startswith("q") or not all(
            isinstance(a, number) and not isinstance(a, bool) and math.isfinite(a)
            for a in self.arguments
        ):
            raise InputError(given)
        low, high, *step = self.arguments
        if self.kind.endswith("randn"):
            if high <= 0:
                raise InputError(f"{given}, with a deviation above 0")
        elif low >= high:
            raise InputError(f"{given}, with low below high")
        if "log" in self.kind and low <= 0:
            raise InputError(f"{given}, with low above 0")
        if step and step[0] <= 0:
            raise InputError(f"{given}, with a step above 0")

    def candidates(self) -> list[Any]:
        """Returns values to check before a run: all of a list, the ends of a range."""
        if self.kind in _LISTS:
            return self.arguments
        low, high = self.arguments[:2]
        if self.kind.endswith("randn"):
            return [float(low)]
        if self.kind in ("randint", "lograndint"):
            return [low, high - 1]
        return [low, high] if self.kind.endswith("randint") else [float(low), float(high)]

    def to_tune(self) -> Any:
        """Returns the space as ``ray.tune`` knows it."""
        from ray import tune

        function = getattr(tune, self.kind)
        return function(self.arguments) if self.kind in _LISTS else function(*self.arguments)


def find(value: Any, path: KeyPath = ()) -> dict[KeyPath, Space]:
    """Returns the spaces inside nested mappings and lists, by their paths."""
    items: Iterable[tuple[Any, Any]]
    if isinstance(value, Mapping):
        if len(value) == 1 and (kind := next(iter(value))) in KINDS:
            return {path: Space(kind, value[kind])}
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    else:
        return {}
    return {p: space for key, item in items for p, space in find(item, (*path, key)).items()}


def fill(value: Any, fillings: Mapping[KeyPath, Any]) -> Any:
    """Returns a copy of ``value`` with the spaces at the paths of ``fillings`` replaced."""
    if () in fillings:
        return copy.deepcopy(fillings[()])
    filled = copy.deepcopy(value)
    for path, filling in fillings.items():
        parent = filled
        for key in path[:-1]:
            parent = parent[key]
        parent[path[-1]] = copy.deepcopy(filling)
    return filled


def variants(spaces: Mapping[KeyPath, Space]) -> list[dict[KeyPath, Any]]:
    """Returns fillings that together hold each candidate of each space at least once.

    The first takes the first candidate of every space; each other differs from it in one space.
    """
    first = {path: space.candidates()[0] for path, space in spaces.items()}
    others = [
        {**first, path: candidate}
        for path, space in spaces.items()
        for candidate in space.candidates()[1:]
    ]
    return [first, *others]


def grid_size(spaces: Mapping[KeyPath, Space]) -> int:
    """Returns the number of trials for each sample: the product of the grids' lengths."""
    return math.prod(len(s.arguments) for s in spaces.values() if s.kind == "grid_search")


def at(value: Any, path: KeyPath) -> Any:
    """Returns what nested mappings and lists have at a path.

    >>> at({"model": {"widths": [8, 16]}}, ("model", "widths", 1))
    16
    """
    for key in path:
        value = value[key]
    return value


def drawn(config: Mapping[str, Any], paths: Iterable[KeyPath]) -> dict[str, Any]:
    """Returns what a trial's config has at the paths where trials differ, by dotted names.

    >>> drawn({"lr": 0.1, "_model_config": {"width": 8}}, [("lr",), ("_model_config", "width")])
    {'lr': 0.1, 'model_config.width': 8}
    """
    return {".".join(map(str, path)).lstrip("_"): at(config, path) for path in paths}


def in_words(settings: Mapping[str, Any]) -> str:
    """Returns settings as one word, by the last part of their names.

    >>> in_words({"lr": 0.00123456, "model_config.width": 8})
    'lr=0.001235,width=8'
    """
    return ",".join(
        f"{name.rpartition('.')[2]}={value:.4g}"
        if isinstance(value, float)
        else f"{name.rpartition('.')[2]}={value}"
        for name, value in settings.items()
    )
