"""The main table and that of all further studies, in Markdown, as the page on studies has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rllib_mec.experiment.report import field_wording, wording
from rllib_mec.experiment.report.elements import Columns
from rllib_mec.experiment.report.table import Row, Table, is_zero_shot

COLUMNS = (
    "UEs",
    "algorithm",
    "critic",
    "reward [95 %]",
    "delay, min",
    "perplexity",
    "changes",
    "score, IQM / worst",
    "paper's reward",
)

FURTHER_COLUMNS = (
    "study",
    "variant",
    "UEs",
    "seeds",
    "steps each",
    "reward [95 %]",
    "score, IQM / worst",
    "steps to 0.95, median / worst",
)


def headline(table: Table) -> list[Row]:
    """Returns what is trained, as in the paper's Table I, and between what it lies."""
    named = ("random", "hold")
    return [r for r in table.own if r["kind"] != "baseline" or r["algorithm"] in named]


def markdown(table: Table) -> str:
    """Returns the main table, a row for each of the headline."""
    lines = [_line(COLUMNS), _line("---" for _ in COLUMNS)]
    rows = headline(table)
    for row in rows:
        lines.append(
            _line(
                (
                    row["num_ues"],
                    *_names(row, rows),
                    wording.with_interval(row["reward"], 2),
                    *(
                        wording.number(row[metric] and row[metric]["iqm"], wording.DIGITS[metric])
                        for metric in ("total_delay_min", "perplexity", "emulator_changes")
                    ),
                    wording.score(row),
                    wording.number(row["paper"] and row["paper"]["reward"], 2),
                )
            )
        )
    return "\n".join(lines) + "\n"


def further_markdown(tables: Sequence[Table]) -> str:
    """Returns a table of all that is trained in further studies."""
    lines = [_line(FURTHER_COLUMNS), _line("---" for _ in FURTHER_COLUMNS)]
    for table in tables:
        for row in (r for r in table.rows if r["kind"] == "trained"):
            ues = row["num_ues"]
            lines.append(
                _line(
                    (
                        table.study.name,
                        row["variant"],
                        f"{row['trained_ues']} → {ues}" if is_zero_shot(row) else ues,
                        row["seeds"],
                        wording.number(row["steps"], 0),
                        wording.with_interval(row["reward"], 2),
                        wording.score(row),
                        wording.steps_to_good(row),
                    )
                )
            )
    return "\n".join(lines) + "\n"


def field_markdown(fields: Sequence[Mapping[str, Any]]) -> str:
    """Returns the tables of the scenario ``field``, one behind the other."""
    return columns_markdown([t for field in fields for t in field_wording.field_tables(field)])


def columns_markdown(
    tables: Iterable[tuple[str, Columns, Sequence[Mapping[str, Any]]]],
) -> str:
    """Returns tables one behind the other, each a name, columns and rows."""
    lines = []
    for name, columns, rows in tables:
        heads = [label for label, _ in columns]
        lines += [f"{name}:", "", _line(heads), _line("---" for _ in heads)]
        lines += [*(_line(cell(row) for _, cell in columns) for row in rows), ""]
    return "\n".join(lines)


def _names(row: Row, rows: Sequence[Row]) -> tuple[str, str]:
    """Returns algorithm and critic; the variant where these do not tell it from another one."""
    names = (row["algorithm"], row["critic"] or "")
    variants = {r["variant"] for r in rows if (r["algorithm"], r["critic"] or "") == names}
    return names if len(variants) == 1 else (row["variant"], names[1])


def _line(cells: Iterable[object]) -> str:
    return f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |"
