"""The tables of the scenario ``field``, in words: heads, cells and how they are computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rllib_mec.experiment.report.decisions import COMPARED, DECIDED
from rllib_mec.experiment.report.elements import Columns
from rllib_mec.experiment.report.table import Row
from rllib_mec.experiment.report.wording import DIGITS, LABELS, NOTHING, in_brackets, number

FIELD_METHOD = (
    "Rewards are means, of trained policies over seeds (in brackets Student's 95 % interval over "
    "seeds), of others over episodes. The gap is that from the best fixed policy to greedy with "
    "full information, the bound's that to the oracle's bound; shares above 1 go beyond. "
    '"Explored": the trained policy draws its actions instead of taking the most probable ones.'
)
"""How the tables of the scenario ``field`` are computed."""


DECISIONS_METHOD = (
    "Server share: of the tasks, those that trained on the server; local retention: the mean "
    "retention E of local trainings, over the episodes and seeds that have some. Means and "
    "intervals as those of rewards; differences between studies with Welch's 95 % interval over "
    "seeds."
)
"""How the tables of decisions are computed."""


def _share(entry: Row | None) -> str:
    """Returns "0.97 [0.95, 0.98] / 0.93", the worst seed last."""
    if entry is None:
        return NOTHING
    return (
        f"{number(entry['mean'], 3)}{in_brackets(entry['ci95'], 3)} / {number(entry['worst'], 3)}"
    )


def _mean(entry: Row | None, metric: str) -> str:
    """Returns "0.401 [0.393, 0.409]", with the digits of a metric."""
    if entry is None:
        return NOTHING
    return number(entry["mean"], DIGITS[metric]) + in_brackets(entry["ci95"], DIGITS[metric])


FIELD_COLUMNS: Columns = (
    ("UEs", lambda row: str(row["num_ues"])),
    ("policy", lambda row: row["policy"]),
    ("kind", lambda row: row["kind"]),
    ("seeds", lambda row: number(row["seeds"], 0)),
    (
        "reward [95 %]",
        lambda row: number(row["reward"]["mean"], 2) + in_brackets(row["reward"]["ci95"], 2),
    ),
    ("gap closed [95 %] / worst", lambda row: _share(row["gap_closed"])),
    ("to the bound [95 %] / worst", lambda row: _share(row["bound_closed"])),
)
"""Heads and cells of the table of a study of ``field``."""

CRITIC_COLUMNS: Columns = (
    ("setting", lambda row: row["setting"] or NOTHING),
    ("UEs", lambda row: str(row["num_ues"])),
    ("policy", lambda row: row["policy"]),
    ("seeds", lambda row: " / ".join(map(str, row["seeds"]))),
    (
        "reward less IPPO's [95 %]",
        lambda row: number(row["difference"], 2) + in_brackets(row["ci95"], 2),
    ),
)
"""Heads and cells of what HMPPO has over IPPO."""


def _of_metric(metric: str) -> Callable[[Row], str]:
    return lambda row: _mean(row[metric], metric)


def _less_first(metric: str) -> Callable[[Row], str]:
    return lambda row: _mean(row[metric] and row[metric]["difference"], metric)


DECISION_COLUMNS: Columns = (
    ("UEs", lambda row: str(row["num_ues"])),
    ("policy", lambda row: row["policy"]),
    ("kind", lambda row: row["kind"]),
    ("seeds", lambda row: number(row["seeds"], 0)),
    *((f"{LABELS[metric]} [95 %]", _of_metric(metric)) for metric in DECIDED),
)
"""Heads and cells of what the policies of a study of ``field`` decide."""

COMPARED_COLUMNS: Columns = (
    ("study", lambda row: row["study"]),
    ("UEs", lambda row: str(row["num_ues"])),
    ("seeds", lambda row: number(row["seeds"], 0)),
    *(
        column
        for metric in COMPARED
        for column in (
            (f"{LABELS[metric]} [95 %]", _of_metric(metric)),
            ("less the first's [95 %]", _less_first(metric)),
        )
    ),
)
"""Heads and cells of what HMPPO decides in the studies of one file."""


def field_tables(field: Mapping[str, Any]) -> list[tuple[str, Columns, Sequence[Row]]]:
    """Returns name, columns and rows of each table about a study of ``field``; none is empty."""
    study = field["study"]
    tables = [
        (study, FIELD_COLUMNS, field["rows"]),
        (f"{study}, HMPPO less IPPO", CRITIC_COLUMNS, field["differences"]),
        (f"{study}, decisions", DECISION_COLUMNS, field["decisions"]),
        (f"{study} and others, decisions of HMPPO", COMPARED_COLUMNS, field.get("compared", [])),
    ]
    return [table for table in tables if table[-1]]
