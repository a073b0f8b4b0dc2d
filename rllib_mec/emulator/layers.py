"""Which layers of a foundation model an emulator keeps.

Of L decoder layers, the first and last A are the adapter's and M = L - 2 A are the middle ones.
An emulator keeps k of these; its retention is E = k / M.
"""

from __future__ import annotations

from collections.abc import Iterable

from rllib_mec.errors import InputError

FEWEST = 2
"""Middle layers: the first and the last are always kept."""


def choose_layers(num_middle: int, kept: int) -> tuple[int, ...]:
    """Returns which of the middle layers are kept by a uniform layer drop.

    Layer i of the emulator is layer round(i (M - 1) / (k - 1)), as in Offsite-Tuning (arXiv
    2302.04870); a half is rounded to the even neighbour.

    >>> choose_layers(20, 3)
    (0, 10, 19)

    Args:
        num_middle: M. kept: k, from 2 to M.

    Raises:
        InputError: ``kept`` is out of range.
    """
    if not FEWEST <= kept <= num_middle:
        raise InputError(
            f"kept layers = {kept}: expected {FEWEST} to {num_middle}, the number of middle layers"
        )
    return tuple(round(i * (num_middle - 1) / (kept - 1)) for i in range(kept))


def kept_layers(num_middle: int, retention: float) -> int:
    """Returns how many of the middle layers a retention keeps: the nearest whole number.

    >>> kept_layers(20, 0.5), kept_layers(10, 0.2)
    (10, 2)

    Raises:
        InputError: less than two layers, more than all, or no number.
    """
    if not 0 < retention <= 1:  # NaN, too
        raise InputError(f"retention = {retention:g}: expected a share of layers, in (0, 1]")
    kept = round(retention * num_middle)
    if kept < FEWEST:
        raise InputError(
            f"retention = {retention:g}: expected at least {FEWEST / num_middle:g}, {FEWEST} of "
            f"{num_middle} middle layers"
        )
    return kept


def middle_layers(num_layers: int, adapter_layers: int) -> int:
    """Returns M, the layers between the adapter's at either end.

    Args:
        num_layers: L. adapter_layers: A, at either end.

    Raises:
        InputError: the model has too few layers.
    """
    middle = num_layers - 2 * adapter_layers
    if middle < FEWEST:
        raise InputError(
            f"adapter_layers = {adapter_layers}: expected at most {(num_layers - FEWEST) // 2}, so "
            f"that {FEWEST} of the model's {num_layers} layers are in the middle"
            if num_layers >= FEWEST + 2
            else f"the model has {num_layers} layers: expected at least {FEWEST + 2}, two for the "
            "adapter and two in the middle"
        )
    return middle


def default_retentions(num_middle: int, at_most: int = 7) -> tuple[float, ...]:
    """Returns evenly spread retentions from two layers to all, whole numbers of layers.

    >>> default_retentions(10)
    (0.2, 0.3, 0.5, 0.6, 0.7, 0.9, 1.0)
    """
    points = min(at_most, num_middle - FEWEST + 1)
    if points == 1:
        return (1.0,)
    step = (num_middle - FEWEST) / (points - 1)
    return tuple(round(FEWEST + i * step) / num_middle for i in range(points))


def check_distinct(num_middle: int, retentions: Iterable[float]) -> None:
    """Refuses retentions that keep the same number of layers.

    Raises:
        InputError: names both.
    """
    seen: dict[int, float] = {}
    for retention in retentions:
        kept = kept_layers(num_middle, retention)
        if kept in seen:
            raise InputError(
                f"retentions = {seen[kept]:g}, {retention:g}: expected different numbers of "
                f"layers, and both keep {kept} of {num_middle}"
            )
        seen[kept] = retention
