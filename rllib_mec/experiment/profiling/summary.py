"""What a profile says, in lines: a table per task, and how tasks differ."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterator, Sequence

from scipy import stats

from rllib_mec.system.profile import Profile
from rllib_mec.system.profile_rows import Row


@dataclasses.dataclass(frozen=True)
class Point:
    """Means over seeds at one retention; perplexities are (lowest, mean, highest)."""

    retention: float
    zero_shot: tuple[float, float, float]
    tuned: tuple[float, float, float]
    plug_in: tuple[float, float, float]
    row: Row
    """Of the first seed, for what seeds do not change: bytes, parameters, operations."""


def points(profile: Profile, task: str, compression: str) -> list[Point]:
    """Returns a task's curve, by retention; the last is that of tuning on the server."""
    groups: dict[float, list[Row]] = {}
    for row in profile.rows:
        local = row.case == "local" and row.compression == compression and row.retention < 1
        if row.task == task and (local or row.case == "server"):
            groups.setdefault(row.retention, []).append(row)
    return [
        Point(
            retention,
            _range([row.zero_shot for row in rows]),
            _range([row.tuned for row in rows]),
            _range([row.plug_in for row in rows]),
            rows[0],
        )
        for retention, rows in sorted(groups.items())
    ]


def full(profile: Profile, task: str) -> tuple[float, float, float]:
    """Returns the lowest, mean and highest perplexity of full fine-tuning over the seeds."""
    return _range([row.tuned for row in profile.rows if row.task == task and row.case == "full"])


def _range(values: Sequence[float]) -> tuple[float, float, float]:
    return min(values), statistics.fmean(values), max(values)


def spearman(profile: Profile, task: str, compression: str) -> float:
    """Returns the rank correlation of retention and mean plug-in perplexity; -1: it only falls."""
    curve = points(profile, task, compression)
    result = stats.spearmanr(
        [point.retention for point in curve], [point.plug_in[1] for point in curve]
    )
    return float(result.statistic)


def levels(profile: Profile) -> dict[str, float]:
    """Returns each task's factor on the perplexity: the server's, over the mean of all tasks.

    It is what takes the place of the factor of a complexity that the paper assumes.
    """
    compression = profile.compressions[0]
    server = {task: profile.curve(task, compression, "plug_in").server for task in profile.tasks}
    mean = statistics.fmean(server.values())
    return {task: each / mean for task, each in server.items()}


def lines(profile: Profile) -> Iterator[str]:
    """Yields what is printed."""
    for compression in profile.compressions:
        for task in profile.tasks:
            yield f"{task}, {compression}: perplexity (mean over seeds, lowest to highest)"
            yield (
                "  retention  zero-shot             emulator tuned        plug-in               "
                "emulator MB  GFLOP/token"
            )
            for point in points(profile, task, compression):
                row = point.row
                yield (
                    f"  {point.retention:<9.3g}  {_words(point.zero_shot):<20}  "
                    f"{_words(point.tuned):<20}  {_words(point.plug_in):<20}  "
                    f"{row.emulator_bytes / 1e6:<11.3g}  {row.flops_per_token / 1e9:.3g}"
                )
            whole = full(profile, task)
            yield f"  full fine-tuning {_words(whole)}"
            yield (
                f"  rank correlation of retention and plug-in: "
                f"{spearman(profile, task, compression):.3f}"
            )
    words = (f"{task} {level:.3g}" for task, level in levels(profile).items())
    yield f"factors of the tasks on the perplexity of the server: {', '.join(words)}"


def markdown(profile: Profile, compression: str) -> str:
    """Returns a table of plug-in / tuned emulator's perplexities, means over seeds, as Markdown."""
    tasks = profile.tasks
    curves = {task: points(profile, task, compression) for task in tasks}
    lines = [
        "| retention | kept layers | emulator, MB | " + " | ".join(tasks) + " |",
        "| --- | --- | --- | " + " | ".join("---" for _ in tasks) + " |",
    ]
    for each in zip(*curves.values(), strict=True):
        row = each[0].row
        cells = [f"{point.plug_in[1]:.2f} / {point.tuned[1]:.2f}" for point in each]
        size = f"{row.emulator_bytes / 1e6:.2f}"
        lines.append(
            f"| {each[0].retention:.3g} | {row.kept_layers} | {size} | {' | '.join(cells)} |"
        )
    cells = [f"{full(profile, task)[1]:.2f}" for task in tasks]
    lines.append(f"| full fine-tuning | - | - | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _words(values: tuple[float, float, float]) -> str:
    low, mean, high = values
    return f"{mean:.2f} ({low:.2f} to {high:.2f})"
