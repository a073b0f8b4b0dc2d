"""What is shown of an episode of ``mec``."""

from __future__ import annotations

from typing import Any

import numpy as np

from rllib_mec.experiment.report.wording import NOTHING, number
from rllib_mec.experiment.show import words
from rllib_mec.experiment.show.played import Played
from rllib_mec.experiment.show.view import (
    BATTERY,
    DOWNLOAD,
    FORCED,
    IDLE,
    LOCAL,
    SERVER,
    Cells,
    Floats,
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

STEP = "task"


def view(played: Played, hold: Played | None) -> View:
    """Returns what is shown; ``hold``: the same episode as ``hold`` plays it."""
    lanes = [_where(played), delay_lanes(played.ues["delay_s"], _slowest(played), STEP)]
    if "battery_kj" in played.ues:
        lanes.append(_battery(played))
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
        tuple(lanes),
        _lines(played, hold),
        _ue_cells(played),
        _step_cells(played, hold),
    )


def _slowest(played: Played) -> Any:
    return slowest(played.ues["delay_s"])


def _forced(played: Played) -> Any:
    """Where a UE trained on the server though it was decided otherwise: its battery was low."""
    ues = played.ues
    return ues["server"] & ~ues["decided_server"]


def _where(played: Played) -> Lanes:
    ues, bounds = played.ues, played.scenario.retention
    local = ues["active"] & ~ues["server"]
    legend = [
        (SERVER, "on the server"),
        (LOCAL, f"on the UE, by retention {bounds[0]:g} to {bounds[1]:g}"),
        (DOWNLOAD, "download"),
    ]
    marks = {DOWNLOAD: ues["downloaded"]}
    if _forced(played).any():
        marks[FORCED] = _forced(played)
        legend.append((FORCED, "low battery"))
    if not ues["active"].all():
        legend.append((IDLE, "no task"))
    return Lanes(
        "Where each UE trains",
        "line: the emulator that it holds",
        f"{_split(played)} {words.downloads(ues['downloaded'], STEP)}",
        {SERVER: ues["server"], LOCAL: local, IDLE: ~ues["active"]},
        np.where(ues["server"], 1.0, ues["retention"]),
        relative(ues["retention"], bounds),
        relative(ues["cached"], bounds),
        marks,
        tuple(legend),
    )


def _battery(played: Played) -> Lanes:
    battery, full = played.ues["battery_kj"], played.episode.devices.battery_kj[0]
    empty = int((battery[-1] == 0).sum())
    return Lanes(
        "Battery of each UE",
        "what is left after the task; a full bar is the battery at the start",
        f"{empty} of {played.num_ues} batteries are empty at the end.",
        {BATTERY: battery > 0},
        battery / np.where(full > 0, full, 1.0),
        legend=((BATTERY, "left"),),
    )


def _lines(played: Played, hold: Played | None) -> tuple[Line, ...]:
    def other(function: Any) -> Floats | None:
        return None if hold is None else function(hold)

    queue = []
    if "training_s" in played.ues:
        waited = _queue(played)
        said = f"On average {words.time(float(waited.mean()))}."
        queue.append(
            Line("Server's queue", "s, until all is trained", said, waited, other(_queue), True)
        )
    return (
        Line(
            "Delay of the slowest UE",
            "s, of each task",
            f"On average {words.time(float(played.steps['step_delay_s'].mean()))}.",
            played.steps["step_delay_s"],
            other(lambda each: each.steps["step_delay_s"]),
            from_zero=True,
        ),
        *queue,
        Line(
            "Perplexity",
            "mean over the UEs that have a task; lower is better",
            f"On average {number(played.metrics['perplexity'], 2)}.",
            _perplexity(played),
            other(_perplexity),
        ),
        Line(
            "Reward",
            "of each task",
            f"In all {number(played.metrics['reward'], 2)}.",
            played.steps["step_reward"],
            other(lambda each: each.steps["step_reward"]),
        ),
    )


def _queue(played: Played) -> Floats:
    """Seconds until the server has trained all that it was sent, (T,)."""
    return (played.ues["training_s"] * played.ues["server"]).max(axis=1)


def _perplexity(played: Played) -> Floats:
    """Mean over the UEs that have a task, (T,); NaN where none has."""
    tasks = played.ues["active"].sum(axis=1)
    total = played.ues["perplexity"].sum(axis=1)
    return np.divide(total, tasks, out=np.full(len(tasks), np.nan), where=tasks > 0)


def _split(played: Played) -> str:
    active, server = played.ues["active"], played.ues["server"]
    tasks, served = int(active.sum()), int(server.sum())
    return (
        f"Of {words.count(tasks, STEP)}, {words.of_all(tasks - served, tasks)} were trained on the "
        f"UEs and {words.of_all(served, tasks)} on the server."
    )


def _sentences(played: Played) -> list[str]:
    ues = played.ues
    said = [_split(played)]
    idle = int((~ues["active"]).sum())
    if idle:
        said[0] += f" In {words.of_all(idle, ues['active'].size)} of all cases a UE had no task."
    said.append(words.downloads(ues["downloaded"], STEP))
    mean = played.metrics["local_retention"]
    if not np.isnan(mean):
        said[-1] += f" Local trainings had a mean retention of {number(mean, 3)}."
    said.append(_delays(played))
    said.append(f"Perplexity was {number(played.metrics['perplexity'], 2)} on average.")
    if "energy_kj" in ues:
        said[-1] += f" {_energy(played)}"
    return said


def _delays(played: Played) -> str:
    lead = f"The slowest UE of a {STEP} took"
    return words.delays(lead, played.steps["step_delay_s"], _slowest(played), STEP)


def _energy(played: Played) -> str:
    spent, empty = played.ues["energy_kj"].sum(), int((played.ues["battery_kj"][-1] == 0).sum())
    said = f"The UEs spent {number(float(spent), 1)} kJ"
    said += f", and {empty} of {played.num_ues} batteries were empty at the end" if empty else ""
    forced = int(_forced(played).sum())
    if forced:
        said += (
            f"; {words.count(forced, STEP)} went to the server only because a battery was too low "
            "for local training"
        )
    return f"{said}."


def _ue_cells(played: Played) -> Cells:
    ues = played.ues
    forced = _forced(played)
    where = np.where(
        ~ues["active"],
        "no task",
        np.where(forced, "server (battery)", np.where(ues["server"], "server", "UE")),
    )
    cells: list[tuple[str, Any]] = [
        *index_cells(played.num_steps, played.num_ues, STEP),
        ("trains on", [str(each) for each in where.ravel()]),
        ("with E", _retention(ues["retention"])),
        ("holds E", _retention(ues["cached"])),
        ("download", [yes(each) for each in ues["downloaded"].ravel()]),
        ("delay, s", digits(ues["delay_s"], 1)),
    ]
    task = np.where(ues["active"], 1.0, np.nan)
    for name, head, places, values in (
        ("training_s", "of it training, s", 1, None),
        ("perplexity", "perplexity", 2, ues["perplexity"] * task),
        ("energy_kj", "energy, kJ", 2, None),
        ("battery_kj", "battery, kJ", 1, None),
        ("gain", "channel, dB", 1, in_decibel(ues["gain"])),
        ("data_mb", "data, MB", 0, None),
        ("power_w", "power, W", 2, None),
        ("complexity", "complexity", 1, None),
        ("tokens", "tokens", 0, None),
        ("domain", "domain", 0, None),
        ("tflops", "device, TFLOP/s", 0, None),
        ("most_retention", "largest E", 2, None),
    ):
        if name in ues:
            cells.append((head, digits(ues[name] if values is None else values, places)))
    return tuple(cells)


def _retention(values: Floats) -> list[str]:
    return [number(float(value), 3) if value else NOTHING for value in values.ravel()]


def _step_cells(played: Played, hold: Played | None) -> Cells:
    ues, steps = played.ues, played.steps
    at = _slowest(played)
    slow = [words.listed([f"UE {ue}" for ue in np.flatnonzero(row)] or [NOTHING]) for row in at]
    cells = [
        (STEP, digits(np.arange(played.num_steps), 0)),
        ("on UEs", digits((ues["active"] & ~ues["server"]).sum(axis=1), 0)),
        ("on the server", digits(ues["server"].sum(axis=1), 0)),
        ("downloads", digits(ues["downloaded"].sum(axis=1), 0)),
        ("slowest", slow),
        ("delay, s", digits(steps["step_delay_s"], 1)),
        ("perplexity", digits(_perplexity(played), 2)),
        ("reward", digits(steps["step_reward"], 3)),
    ]
    if hold is not None:
        cells += [
            ("delay of hold, s", digits(hold.steps["step_delay_s"], 1)),
            ("perplexity of hold", digits(_perplexity(hold), 2)),
            ("reward of hold", digits(hold.steps["step_reward"], 3)),
        ]
    return tuple(cells)
