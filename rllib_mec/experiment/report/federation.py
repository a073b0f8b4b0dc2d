"""FL, FL with adapters, and FedPEAT side by side: the results of ``rllib fedtune`` as a table."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rllib_mec.experiment.federation.figure import draw
from rllib_mec.experiment.federation.results import read_results
from rllib_mec.experiment.report.control_wording import in_words
from rllib_mec.experiment.report.elements import Columns
from rllib_mec.experiment.report.statistics import mean_interval
from rllib_mec.experiment.report.wording import NOTHING, in_brackets, number
from rllib_mec.federated.records import Row

SENT = (
    "adapter_bytes_down",
    "adapter_bytes_up",
    "emulator_bytes_down",
    "model_bytes_down",
    "model_bytes_up",
    "total_bytes",
)
"""Payloads, and all of them."""

OURS, OTHERS = "fedpeat", ("fl", "fl-peft")
"""The case that is compared, and with which."""

FEDERATION_METHOD = (
    "Bytes and delay: means over a seed's rounds; delay is that of the clock which counts devices "
    "and links, of the slowest client or the server. Exchanges: emulators or whole models that "
    "were sent to clients in a whole run. Perplexity: of the whole model after the last round. "
    "Means over seeds with Student's 95 % interval. Ratios are taken seed by seed, as cases with "
    "the same seed share clients, data and draws."
)
"""How the table is computed."""


def federation_table(path: Path) -> dict[str, Any]:
    """Returns the table as JSON holds it.

    ``cases``: ``case``, ``seeds``, ``rounds``, and with ``mean`` and ``ci95`` over seeds each of
    SENT per round in B, ``seconds`` per round, ``exchanges`` of a run, ``perplexity_before`` and
    ``perplexity``. ``ratios``: FedPEAT's ``case``, to which ``other`` one, and with ``mean`` and
    ``ci95`` how many times fewer ``bytes`` and less ``seconds``, and ``perplexity``, the share that
    its perplexity is higher.

    Raises:
        InputError: the file is not what ``rllib fedtune`` writes, or holds no round.
    """
    rows, about = read_results(path)
    seeds = _by_seed(rows)
    cases = list(dict.fromkeys(case for case, _ in seeds))
    return {
        "file": path.name,
        "about": about,
        "cases": [
            _case(case, [v for (own, _), v in seeds.items() if own == case]) for case in cases
        ],
        "ratios": [_ratios(other, seeds) for other in OTHERS if other in cases and OURS in cases],
    }


def draw_federations(path: Path) -> bytes:
    """Returns the figure of a file of ``rllib fedtune``."""
    return draw(read_results(path)[0])


Values = dict[str, float]
"""What a federation, a case with a seed, came to."""


def _by_seed(rows: Sequence[Row]) -> dict[tuple[str, int], Values]:
    found = {}
    for case, seed in dict.fromkeys((row.case, row.seed) for row in rows):
        own = [row for row in rows if (row.case, row.seed) == (case, seed)]
        played = [row for row in own if row.round > 0]
        if not played:
            continue
        first, last = (pick(own, key=lambda row: row.round) for pick in (min, max))
        found[case, seed] = {
            **{name: statistics.fmean(getattr(row, name) for row in played) for name in SENT},
            "seconds": statistics.fmean(row.seconds for row in played),
            "exchanges": float(sum(row.exchanges for row in played)),
            "perplexity_before": first.perplexity,
            "perplexity": last.perplexity,
            "rounds": last.round,
        }
    return found


def _case(case: str, seeds: Sequence[Values]) -> dict[str, Any]:
    measured = [name for name in seeds[0] if name != "rounds"]
    return {
        "case": case,
        "seeds": len(seeds),
        "rounds": int(max(values["rounds"] for values in seeds)),
        **{name: _entry([values[name] for values in seeds]) for name in measured},
    }


def _ratios(other: str, seeds: Mapping[tuple[str, int], Values]) -> dict[str, Any]:
    pairs = [
        (values, theirs)
        for (case, seed), values in seeds.items()
        if case == OURS and values["total_bytes"] and (theirs := seeds.get((other, seed)))
    ]
    return {
        "case": OURS,
        "other": other,
        "seeds": len(pairs),
        "bytes": _entry([theirs["total_bytes"] / ours["total_bytes"] for ours, theirs in pairs]),
        "seconds": _entry([theirs["seconds"] / ours["seconds"] for ours, theirs in pairs]),
        "perplexity": _entry(
            [ours["perplexity"] / theirs["perplexity"] - 1 for ours, theirs in pairs]
        ),
    }


def _entry(values: Sequence[float]) -> dict[str, Any] | None:
    return {"mean": statistics.fmean(values), "ci95": mean_interval(values)} if values else None


def _megabytes(name: str) -> Any:
    return lambda row: _scaled(row[name], 1e-6, 2)


def _scaled(entry: Mapping[str, Any] | None, factor: float, digits: int) -> str:
    if entry is None:
        return NOTHING
    ends = entry["ci95"] and [end * factor for end in entry["ci95"]]
    return number(entry["mean"] * factor, digits) + in_brackets(ends, digits)


_HEADS = {
    "adapter_bytes_down": "adapters down",
    "adapter_bytes_up": "adapters up",
    "emulator_bytes_down": "emulators down",
    "model_bytes_down": "models down",
    "model_bytes_up": "models up",
    "total_bytes": "all",
}

CASE_COLUMNS: Columns = (
    ("case", lambda row: row["case"]),
    ("seeds", lambda row: number(row["seeds"], 0)),
    ("rounds", lambda row: number(row["rounds"], 0)),
    *((f"{head}, MB/round", _megabytes(name)) for name, head in _HEADS.items()),
    ("delay, s/round", lambda row: _scaled(row["seconds"], 1.0, 2)),
    ("exchanges", lambda row: _scaled(row["exchanges"], 1.0, 1)),
    ("perplexity before", lambda row: in_words(row["perplexity_before"], "perplexity")),
    ("perplexity after", lambda row: in_words(row["perplexity"], "perplexity")),
)
"""Heads and cells of the table of cases."""

RATIO_COLUMNS: Columns = (
    ("case", lambda row: f"{row['case']} against {row['other']}"),
    ("seeds", lambda row: number(row["seeds"], 0)),
    ("times fewer bytes", lambda row: _scaled(row["bytes"], 1.0, 2)),
    ("times faster", lambda row: _scaled(row["seconds"], 1.0, 2)),
    ("perplexity higher by, %", lambda row: _scaled(row["perplexity"], 100.0, 2)),
)
"""Heads and cells of what FedPEAT has over the others."""


def federation_tables(
    federation: Mapping[str, Any],
) -> list[tuple[str, Columns, Sequence[Mapping[str, Any]]]]:
    """Returns name, columns and rows of each table; none is empty."""
    tables = [
        ("federations", CASE_COLUMNS, federation["cases"]),
        ("FedPEAT against others", RATIO_COLUMNS, federation["ratios"]),
    ]
    return [table for table in tables if table[-1]]
