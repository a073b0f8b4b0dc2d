"""Draws the results of the throughput benchmark.

python tests/benchmarks/figure.py tests/benchmarks/results/throughput.json throughput.svg
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

LABELS = {
    "stock": "RLlib's PPO",
    "episodes": "HMPPO by episodes",
    "bare": "bare PyTorch loop",
    "batched": "HMPPO, batched",
    "compiled": "HMPPO, compiled",
    "seeds8": "HMPPO, 8 seeds stacked",
}
AXES = {
    "num_ues": "UEs",
    "num_envs": "environments",
    "num_env_runners": "environment runners",
}
# Of Okabe and Ito's palette, which the colour-blind tell apart; dark and light in print.
DARK, LIGHT = "#0072B2", "#E69F00"


def require() -> None:
    """Ends the program if there is nothing to draw with."""
    if importlib.util.find_spec("matplotlib") is None:
        raise SystemExit('figures need matplotlib: pip install "rllib_mec[plot]"')


def draw(report: dict[str, Any], file: Path) -> None:
    """Draws speeds relative to the bare loop and, where it was measured, the growth."""
    require()
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.fonttype"] = "none"  # text stays text: a smaller file
    from matplotlib import pyplot

    growth = report["growth"]
    figure = pyplot.figure(figsize=(10, 8.5) if growth else (10, 4), layout="constrained")
    grid = figure.add_gridspec(3, 3, height_ratios=(1.5, 1, 1)) if growth else None
    _speeds(figure.add_subplot(grid[0, :] if grid else 111), report["works"])
    for column, varied in enumerate(AXES if grid else ()):
        series = [point for point in growth if point["varied"] == varied]
        rates, memory = figure.add_subplot(grid[1, column]), figure.add_subplot(grid[2, column])
        _curve(rates, series, "steps_per_s", DARK, "o")
        _curve(memory, series, "peak_memory_gib", LIGHT, "s")
        memory.set_xlabel(AXES[varied])
        if column == 0:
            rates.set_ylabel("training steps per s")
            memory.set_ylabel("peak memory, GiB")
    figure.savefig(file, dpi=200)


def _speeds(axes: Any, works: dict[str, Any]) -> None:
    """Bars from 1, on a log axis: twice as fast is as long as half as fast."""
    compared = {name: work for name, work in works.items() if work["over_bare"]}
    names = [name for name in LABELS if any(name in w["over_bare"] for w in compared.values())]
    height = 0.8 / len(compared)
    for index, (work, colour, hatch) in enumerate(
        zip(compared.values(), (DARK, LIGHT), ("", "//"), strict=False)
    ):
        for row, name in enumerate(names):
            if name not in work["over_bare"]:
                continue
            ratio, place = work["over_bare"][name], row + (index + 0.5) * height - 0.4
            axes.barh(
                place,
                ratio - 1,
                height,
                left=1,
                color=colour,
                hatch=hatch,
                edgecolor="white",
                label=_title(work["work"]) if row == 0 else None,
            )
            text = f" {ratio:.2f}: {work['steps_per_s'][name]:,} steps/s "
            side = "left" if ratio >= 1 else "right"
            axes.text(ratio, place, text, va="center", ha=side, fontsize=8)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_yticks(range(len(names)), [LABELS[name] for name in names])
    axes.invert_yaxis()
    ratios = [ratio for work in compared.values() for ratio in work["over_bare"].values()]
    axes.set_xlim(min(ratios) / 2.2, max(ratios) * 2.2)  # room for what the bars say
    axes.set_xlabel("training steps per s, relative to the bare loop (log scale)")
    axes.legend(loc="lower left", fontsize=8, frameon=False)


def _title(work: dict[str, Any]) -> str:
    networks = " x ".join(map(str, work["hidden"]))
    return (
        f"{work['num_ues']} UEs, {work['num_envs']} environments, "
        f"minibatch {work['minibatch']}, {networks}"
    )


def _curve(axes: Any, series: list[dict[str, Any]], name: str, colour: str, marker: str) -> None:
    varied = series[0]["varied"]
    x, y = ([point[key] for point in series] for key in (varied, name))
    axes.plot(x, y, marker=marker, color=colour)
    if varied != "num_env_runners":
        axes.set_xscale("log", base=2)
    axes.set_xticks(x, [str(value) for value in x], fontsize=8)
    axes.xaxis.minorticks_off()
    if max(y) > 50 * min(y):
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, 1.15 * max(y))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.grid(axis="y", alpha=0.3)


def main() -> None:
    report, file = map(Path, sys.argv[1:])
    draw(json.loads(report.read_text()), file)


if __name__ == "__main__":
    main()
