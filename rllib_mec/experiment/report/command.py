"""``rllib report``: reads studies and writes the tables, the figures and the page, or nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rllib_mec.errors import InputError
from rllib_mec.experiment.output import check_output, write_output
from rllib_mec.experiment.report import benchmark_figure, figure5, figures
from rllib_mec.experiment.report.benchmark import benchmark_table, is_benchmark
from rllib_mec.experiment.report.benchmark_page import LEARNING, benchmark_tables
from rllib_mec.experiment.report.control import control_table, is_control
from rllib_mec.experiment.report.control_wording import control_tables
from rllib_mec.experiment.report.federation import (
    draw_federations,
    federation_table,
    federation_tables,
)
from rllib_mec.experiment.report.field import field_tables, is_field
from rllib_mec.experiment.report.figure5_page import FEDERATIONS, FIGURE5
from rllib_mec.experiment.report.markdown import (
    columns_markdown,
    field_markdown,
    further_markdown,
    markdown,
)
from rllib_mec.experiment.report.page import page
from rllib_mec.experiment.report.results import Study, read_study
from rllib_mec.experiment.report.table import Table, make_table

MAIN = "table1"
"""Name of the study whose table stands beside the paper's."""

FEDERATION = ".parquet"
"""Results that are such a file are of ``rllib fedtune``, directories of ``rllib study``."""


def report_command(runs: Sequence[Path], out: Path) -> None:
    """Writes the report on ``runs`` to ``out`` and prints the files' names.

    Raises:
        InputError: no studies, one that cannot be read, no matplotlib, or ``out`` is a file.
    """
    check_output(out)
    figures.require_matplotlib()
    federations = [path for path in runs if path.suffix == FEDERATION and not path.is_dir()]
    studies = [read_study(path) for path in runs if path not in federations]
    files = report_files(studies, federations)
    write_output(out, files)


def report_files(studies: Sequence[Study], federations: Sequence[Path] = ()) -> dict[str, bytes]:
    """Returns the report's files by name; the same results give the same bytes.

    Of the studies of ``mec``, that which is called MAIN, or else the first, gives Table I and the
    figures. Those of the scenario ``field`` have tables of their own, the main one, too, each in a
    JSON file by the study's name. Studies of other environments have a JSON and a Markdown file
    each; those of environments without UEs share a figure, the first of all others is Figure 5.

    Args:
        federations: results of ``rllib fedtune``, at most one file.

    Raises:
        InputError: no results, two studies of the same name, two files of federations, or no
            training curves to draw.
    """
    if not studies and not federations:
        raise InputError("rllib report: expected the results of at least one study")
    if len(federations) > 1:
        names = ", ".join(map(str, federations))
        raise InputError(f"rllib report: expected one file of rllib fedtune, not {names}")
    paths: dict[str, Path] = {}
    for study in studies:
        if study.name in paths:
            first = paths[study.name]
            raise InputError(f"{study.path}: {first} is of a study {study.name!r} too")
        paths[study.name] = study.path
    of_tasks = [(study, benchmark_table(study)) for study in studies if is_benchmark(study)]
    of_mec = [study for study in studies if not (is_benchmark(study) or is_control(study))]
    main = next((study for study in of_mec if study.name == MAIN), of_mec[0] if of_mec else None)
    table = None if main is None else make_table(main, with_paper=True)
    others = [study for study in studies if study is not main]
    further = [make_table(study) for study in others if study in of_mec and not is_field(study)]
    fields = field_tables(of_mec)
    controls = [
        (study, control_table(study))
        for study in studies
        if is_control(study) and not is_benchmark(study)
    ]
    federation = federation_table(federations[0]) if federations else None
    drawings = {
        **(figures.draw(table) if table else {}),
        **({LEARNING: benchmark_figure.draw(of_tasks)} if of_tasks else {}),
        **({FIGURE5: figure5.draw(*controls[0])} if controls else {}),
        **({FEDERATIONS: draw_federations(federations[0])} if federations else {}),
    }
    tables = [control for _, control in controls]
    tasks = [task for _, task in of_tasks]
    return {
        **(_main_files(table) if table else {}),
        **({"studies.md": further_markdown(further).encode()} if further else {}),
        **{f"{field['study']}.json": _json(field) for field in fields},
        **({"field.md": field_markdown(fields).encode()} if fields else {}),
        **{f"{control['study']}.json": _json(control) for control in tables},
        **{f"{control['study']}.md": _markdown(control_tables(control)) for control in tables},
        **{f"{task['study']}.json": _json(task) for task in tasks},
        **{f"{task['study']}.md": _markdown(benchmark_tables(task)) for task in tasks},
        **(_federation_files(federation) if federation else {}),
        **drawings,
        "index.html": page(
            table, further, drawings, fields, others, tables, federation, tasks
        ).encode(),
    }


def _main_files(table: Table) -> dict[str, bytes]:
    return {"table1.json": _json(table.to_dict()), "table1.md": markdown(table).encode()}


def _federation_files(federation: dict[str, Any]) -> dict[str, bytes]:
    tables = federation_tables(federation)
    return {"federation.json": _json(federation), "federation.md": _markdown(tables)}


def _markdown(tables: Any) -> bytes:
    return columns_markdown(tables).encode()


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
