"""The figure of federations: perplexity by round, what travels, how long a round takes."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from rllib_mec.experiment.report.figures import COLOURS, HATCHES, MARKERS, STYLE, svg
from rllib_mec.federated.records import Row

_PAYLOADS = (
    ("adapters", ("adapter_bytes_down", "adapter_bytes_up")),
    ("emulators", ("emulator_bytes_down",)),
    ("whole models", ("model_bytes_down", "model_bytes_up")),
)


def draw(rows: Sequence[Row]) -> bytes:
    """Returns an SVG with four panels; means over seeds, bands from the lowest to the highest."""
    import matplotlib as mpl

    # Of a user's own style, nothing gets in.
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        from matplotlib.figure import Figure

        figure = Figure(figsize=(14, 3.4), layout="constrained")
        perplexity, sent, delay, exchanges = figure.subplots(1, 4)
        cases = list(dict.fromkeys(row.case for row in rows))
        _perplexity(perplexity, rows, cases)
        _bytes(sent, rows, cases)
        _bars(delay, rows, cases, "seconds")
        delay.set_title("time of a round by the clock, s")
        _bars(exchanges, rows, cases, "exchanges")
        exchanges.set_title("emulators or models sent per round")
        return svg(figure)


def _perplexity(panel: Any, rows: Sequence[Row], cases: Sequence[str]) -> None:
    for place, case in enumerate(cases):
        by_round: dict[int, list[float]] = {}
        for row in rows:
            if row.case == case:
                by_round.setdefault(row.round, []).append(row.perplexity)
        rounds = sorted(by_round)
        low, high = ([kind(by_round[each]) for each in rounds] for kind in (min, max))
        mean = [statistics.fmean(by_round[each]) for each in rounds]
        colour = COLOURS[place]
        panel.fill_between(rounds, low, high, color=colour, alpha=0.2, linewidth=0)
        panel.plot(rounds, mean, color=colour, marker=MARKERS[place], markersize=4, label=case)
    panel.set_title("perplexity of the whole model")
    panel.set_xlabel("round")
    panel.legend(frameon=False)


def _bytes(panel: Any, rows: Sequence[Row], cases: Sequence[str]) -> None:
    below = [0.0] * len(cases)
    for place, (label, columns) in enumerate(_PAYLOADS):
        heights = [_mean(rows, case, columns) / 1e6 for case in cases]
        panel.bar(
            cases,
            heights,
            bottom=below,
            color=COLOURS[3 + place],
            hatch=HATCHES[place],
            label=label,
        )
        below = [low + height for low, height in zip(below, heights, strict=True)]
    panel.set_title("sent per round, MB")
    panel.legend(frameon=False)


def _bars(panel: Any, rows: Sequence[Row], cases: Sequence[str], column: str) -> None:
    """Means over rounds and seeds, and from the lowest to the highest seed's."""
    of_seeds = [_by_seed(rows, case, column) for case in cases]
    heights = [statistics.fmean(values) for values in of_seeds]
    ends = list(zip(of_seeds, heights, strict=True))
    reach = [
        [height - min(values) for values, height in ends],
        [max(values) - height for values, height in ends],
    ]
    colours = [COLOURS[place] for place in range(len(cases))]
    panel.bar(cases, heights, color=colours, yerr=reach, capsize=2.5, error_kw={"elinewidth": 1})


def _by_seed(rows: Sequence[Row], case: str, column: str) -> list[float]:
    seeds = dict.fromkeys(row.seed for row in rows if row.case == case)
    return [_mean([row for row in rows if row.seed == seed], case, (column,)) for seed in seeds]


def _mean(rows: Sequence[Row], case: str, columns: Sequence[str]) -> float:
    """The sum of some columns, mean over a case's rounds."""
    return statistics.fmean(
        sum(getattr(row, column) for column in columns)
        for row in rows
        if row.case == case and row.round > 0
    )
