"""Sentences about an episode."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rllib_mec.experiment.report.wording import DIGITS, LABELS, number
from rllib_mec.experiment.show.played import Played
from rllib_mec.experiment.show.view import Bools, Floats

_MINUTES_FROM_S = 600.0

_DIFFERENCES = {
    "total_delay_min": ("{by} min {more} delay", "more", "less"),
    "log_delay": ("a log delay that is {by} {more}", "higher", "lower"),
    "perplexity": ("a perplexity that is {by} {more}", "higher", "lower"),
    "emulator_changes": ("{by} {more} downloads", "more", "fewer"),
    "exchanges": ("{by} {more} exchanges", "more", "fewer"),
    "energy_kj": ("{by} kJ {more} energy", "more", "less"),
    "reward": ("{by} {more} reward", "more", "less"),
}
"""By metric: what is otherwise, in words."""

_SHORT = {
    "emulator_changes": "downloads",
    "exchanges": "exchanges",
    "log_delay": "mean ln(delay/s)",
}
"""Labels of metrics, where the report's are long."""

_DIGITS = {"emulator_changes": 0, "exchanges": 0}
"""Of counts in one episode; of means, see the report's."""


def headline(played: Played, hold: Played | None) -> str:
    """Returns what the episode's reward is, and how it compares to that of ``hold``."""
    own = played.metrics["reward"]
    said = f"{played.policy}: reward {number(own, 2)}"
    if hold is None:
        return f"{said}."
    margin = own - hold.metrics["reward"]
    if abs(margin) < 0.005:
        return f"{said}, as much as hold in the same episode."
    word = "more" if margin > 0 else "less"
    return f"{said}, {number(abs(margin), 2)} {word} than hold in the same episode."


def comparison(played: Played, hold: Played | None) -> list[str]:
    """Returns a sentence about what is otherwise than with ``hold``."""
    if hold is None:
        return []
    parts = []
    for name, (what, more, less) in _DIFFERENCES.items():
        if name not in played.metrics:
            continue
        margin = played.metrics[name] - hold.metrics[name]
        shown = number(abs(margin), _DIGITS.get(name, DIGITS[name]))
        if float(shown.replace(",", "")) > 0:
            parts.append(what.format(by=shown, more=more if margin > 0 else less))
    return [f"Against hold in the same episode: {listed(parts)}."] if parts else []


def tiles(played: Played, hold: Played | None) -> tuple[tuple[str, str, str | None], ...]:
    """Returns every metric's label, value and that of ``hold``."""
    return tuple(
        (
            _SHORT.get(name, LABELS.get(name, name)),
            _metric(name, value),
            None if hold is None else _metric(name, hold.metrics.get(name, np.nan)),
        )
        for name, value in played.metrics.items()
    )


def _metric(name: str, value: float) -> str:
    return number(None if np.isnan(value) else value, _DIGITS.get(name, DIGITS.get(name, 2)))


def of_all(part: int, total: int) -> str:
    """Returns a count and its share.

    >>> of_all(3, 300), of_all(0, 0)
    ('3 (1.0 %)', '0')
    """
    return f"{number(part, 0)} ({number(100 * part / total, 1)} %)" if total else "0"


def count(value: int, noun: str) -> str:
    """Returns a count with its noun.

    >>> count(1, "download"), count(1200, "download")
    ('1 download', '1,200 downloads')
    """
    return f"{number(value, 0)} {noun}{'' if value == 1 else 's'}"


def time(seconds: float) -> str:
    """Returns a time in s, or in min where it is long.

    >>> time(41.04), time(2136.0)
    ('41.0 s', '35.6 min')
    """
    if seconds < _MINUTES_FROM_S:
        return f"{number(seconds, 1)} s"
    return f"{number(seconds / 60, 1)} min"


def most_often(at: Bools, step: str) -> str:
    """Returns which UE it was most often, "UE 3 (12 of 50 tasks)".

    Args:
        at: (T, N), true somewhere.
    """
    times = at.sum(axis=0)
    ue = int(times.argmax())
    return f"UE {ue} (in {int(times[ue])} of {count(len(at), step)})"


def delays(lead: str, delay_s: Floats, at: Bools, step: str) -> str:
    """Returns a sentence about the delays of all steps, which begins with ``lead``.

    Args:
        delay_s: (T,). at: where a UE is the slowest, (T, N).
    """
    mean, most, total = (time(float(f(delay_s))) for f in (np.mean, np.max, np.sum))
    said = f"{lead} {mean} on average, {most} at most and {total} in all"
    if at.any():
        said += f"; the slowest was most often {most_often(at, step)}"
    free = int((delay_s == 0).sum())
    return f"{said}; {count(free, step)} took no time at all." if free else f"{said}."


def downloads(at: Bools, step: str, noun: str = "download") -> str:
    """Returns how many downloads there were, and when; ``at``: (T, N)."""
    steps = np.flatnonzero(at.any(axis=1))
    if not steps.size:
        return "No UE downloaded an emulator."
    ues = int(at.any(axis=0).sum())
    when = f"in {step} {steps[0]}"
    if len(steps) > 1:
        when = f"the first in {step} {steps[0]}, the last in {step} {steps[-1]}"
    return f"{count(int(at.sum()), noun)} of emulators by {count(ues, 'UE')}, {when}."


def listed(parts: Sequence[str]) -> str:
    """Returns "a, b and c"."""
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last
