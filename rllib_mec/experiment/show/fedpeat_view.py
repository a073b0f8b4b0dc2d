"""What is shown of an episode of ``fedpeat``."""

from __future__ import annotations

from typing import Any

import numpy as np

from rllib_mec.experiment.report.wording import NOTHING, number
from rllib_mec.experiment.show import words
from rllib_mec.experiment.show.played import Played
from rllib_mec.experiment.show.view import (
    BUSY,
    DOWNLOAD,
    IDLE,
    LOCAL,
    SHARE,
    Cells,
    Lanes,
    Line,
    View,
    delay_lanes,
    digits,
    in_decibel,
    index_cells,
    relative,
    slowest,
    yes,
)
from rllib_mec.system.fedpeat.round import server_delay

STEP = "round"


def view(played: Played, hold: Played | None) -> View:
    """Returns what is shown; ``hold``: the same episode as ``hold`` plays it."""
    return View(
        played.policy,
        STEP,
        played.num_steps,
        played.num_ues,
        (
            words.headline(played, hold),
            *_sentences(played),
            *words.comparison(played, hold),
        ),
        words.tiles(played, hold),
        (
            _parts(played),
            _shares(played),
            delay_lanes(played.ues["delay_s"], _slowest(played), STEP),
        ),
        _lines(played, hold),
        _ue_cells(played),
        _step_cells(played, hold),
    )


def _slowest(played: Played) -> Any:
    """Where a UE makes the round as long as it is, (T, N): nowhere if the server does."""
    at = slowest(played.ues["delay_s"])
    return at & (played.ues["delay_s"] == played.steps["step_delay_s"][:, None])


def _parts(played: Played) -> Lanes:
    ues, (low, high) = played.ues, played.scenario.retention
    return Lanes(
        "Who takes part, on which emulator",
        "line: the emulator that it holds",
        f"{_taking_part(played)} {words.downloads(ues['exchanged'], STEP, 'exchange')}",
        {LOCAL: ues["selected"], IDLE: ~ues["selected"]},
        ues["retention"],
        relative(ues["retention"], (low, high)),
        relative(ues["cached"], (low, high)),
        {DOWNLOAD: ues["exchanged"], BUSY: ues["busy"]},
        (
            (LOCAL, f"takes part, by retention {low:g} to {high:g}"),
            (DOWNLOAD, "download"),
            (IDLE, "takes no part"),
            (BUSY, "is busy with other things"),
        ),
    )


def _shares(played: Played) -> Lanes:
    share = played.ues["share"]
    most = float(share.max())
    said = f"{number(100 * most, 1)} %"
    return Lanes(
        "Share of the uplink",
        f"a full bar is {said} of the bandwidth",
        f"The largest share of a UE is {said}.",
        {SHARE: share > 0},
        share / (most or 1.0),
        legend=((SHARE, "share of the bandwidth"),),
    )


def _lines(played: Played, hold: Played | None) -> tuple[Line, ...]:
    def line(name: str, title: str, note: str, text: str, from_zero: bool = False) -> Line:
        other = None if hold is None else hold.steps[name]
        return Line(title, note, text, played.steps[name], other, from_zero)

    mean = words.time(float(played.steps["step_delay_s"].mean()))
    server = number(server_delay(played.scenario), 1)
    return (
        line(
            "step_delay_s",
            "Delay of the round",
            f"s, of the slowest UE, at least the server's own {server} s",
            f"On average {mean}.",
            from_zero=True,
        ),
        line(
            "step_perplexity",
            "Perplexity",
            "after the round; lower is better",
            f"On average {number(played.metrics['perplexity'], 2)}.",
        ),
        line(
            "step_reward",
            "Reward",
            "of each round",
            f"In all {number(played.metrics['reward'], 2)}.",
        ),
    )


def _taking_part(played: Played) -> str:
    selected = played.ues["selected"]
    times = selected.sum(axis=0)
    mean = number(float(selected.sum(axis=1).mean()), 1)
    said = (
        f"In {words.count(played.num_steps, STEP)}, {mean} of {words.count(played.num_ues, 'UE')} "
        "took part on average"
    )
    if times.min() == times.max():
        return f"{said}, each in {words.count(int(times[0]), STEP)}.{_busy(played)}"
    most, least = int(times.argmax()), int(times.argmin())
    return (
        f"{said}: most often UE {most}, in {words.count(int(times[most]), STEP)}, and least often "
        f"UE {least}, in {number(int(times[least]), 0)}.{_busy(played)}"
    )


def _busy(played: Played) -> str:
    """How often busy UEs took part, and others, if there were any of both."""
    busy, selected = played.ues["busy"], played.ues["selected"]
    if not 0 < busy.sum() < busy.size:
        return ""
    shares = [number(100 * float(selected[where].mean()), 1) for where in (busy, ~busy)]
    return f" Busy UEs took part {shares[0]} % of the time, others {shares[1]} %."


def _sentences(played: Played) -> list[str]:
    ues, steps = played.ues, played.steps
    exchanges = words.downloads(ues["exchanged"], STEP, "exchange")
    if ues["selected"].any():
        mean = float(ues["retention"][ues["selected"]].mean())
        exchanges += f" Who took part had a mean retention of {number(mean, 3)}."
    delays = words.delays("A round took", steps["step_delay_s"], _slowest(played), STEP)
    alone = int((~_slowest(played).any(axis=1)).sum())
    if alone:
        delays += f" In {words.count(alone, STEP)} the server's own training took longest."
    quality = f"Perplexity was {number(played.metrics['perplexity'], 2)} on average."
    return [_taking_part(played), exchanges, delays, quality]


def _ue_cells(played: Played) -> Cells:
    ues = played.ues
    selected = ues["selected"]
    inside = np.where(selected, 1.0, np.nan)
    return (
        *index_cells(played.num_steps, played.num_ues, STEP),
        ("takes part", ["yes" if each else "no" for each in selected.ravel()]),
        ("with E", _retention(ues["retention"])),
        ("holds E", _retention(ues["cached"])),
        ("download", [yes(each) for each in ues["exchanged"].ravel()]),
        ("uplink, %", digits(100 * ues["share"] * inside, 1)),
        ("power, W", digits(ues["power_w"] * inside, 2)),
        ("delay, s", digits(ues["delay_s"] * inside, 1)),
        ("energy, kJ", digits(ues["energy_kj"] * inside, 2)),
        ("busy", [yes(each) for each in ues["busy"].ravel()]),
        ("channel, dB", digits(in_decibel(ues["gain"]), 1)),
        ("tokens", digits(ues["tokens"], 0)),
        ("device, TFLOP/s", digits(ues["tflops"], 0)),
        ("largest E", digits(ues["most_retention"], 2)),
    )


def _retention(values: Any) -> list[str]:
    return [number(float(value), 3) if value else NOTHING for value in values.ravel()]


def _step_cells(played: Played, hold: Played | None) -> Cells:
    ues, steps = played.ues, played.steps
    at = _slowest(played)
    slow = [
        words.listed([f"UE {ue}" for ue in np.flatnonzero(row)] or ["the server"]) for row in at
    ]
    cells = [
        (STEP, digits(np.arange(played.num_steps), 0)),
        ("take part", digits(ues["selected"].sum(axis=1), 0)),
        ("exchanges", digits(ues["exchanged"].sum(axis=1), 0)),
        ("slowest", slow),
        ("delay, s", digits(steps["step_delay_s"], 1)),
        ("perplexity", digits(steps["step_perplexity"], 2)),
        ("reward", digits(steps["step_reward"], 3)),
    ]
    if hold is not None:
        cells += [
            ("delay of hold, s", digits(hold.steps["step_delay_s"], 1)),
            ("perplexity of hold", digits(hold.steps["step_perplexity"], 2)),
            ("reward of hold", digits(hold.steps["step_reward"], 3)),
        ]
    return tuple(cells)
