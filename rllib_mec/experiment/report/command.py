"""``rllib report``: reads studies and writes the tables, the figures and the page, or nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from rllib_mec.errors import InputError
from rllib_mec.experiment.report import figures
from rllib_mec.experiment.report.field import field_tables, is_field
from rllib_mec.experiment.report.markdown import field_markdown, further_markdown, markdown
from rllib_mec.experiment.report.page import page
from rllib_mec.experiment.report.results import Study, read_study
from rllib_mec.experiment.report.table import make_table

MAIN = "table1"
"""Name of the study whose table stands beside the paper's."""


def report_command(runs: Sequence[Path], out: Path) -> None:
    """Writes the report on ``runs`` to ``out`` and prints the files' names.

    Raises:
        InputError: no studies, one that cannot be read, no matplotlib, or ``out`` is a file.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: expected a directory, found a file")
    figures.require_matplotlib()
    files = report_files([read_study(path) for path in runs])
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (out / name).write_bytes(content)
    except OSError as error:
        raise InputError(f"--out {out}: cannot write: {error.strerror or error}") from None
    for name in files:
        click.echo(str(out / name))


def report_files(studies: Sequence[Study]) -> dict[str, bytes]:
    """Returns the report's files by name; the same studies give the same bytes.

    The study that is called MAIN, or else the first, gives Table I and the figures. Those of the
    scenario ``field`` have tables of their own, the main one, too, each in a JSON file by the
    study's name.

    Raises:
        InputError: no studies, two of the same name, or none with training curves to draw.
    """
    if not studies:
        raise InputError("rllib report: expected the results of at least one study")
    paths: dict[str, Path] = {}
    for study in studies:
        if study.name in paths:
            first = paths[study.name]
            raise InputError(f"{study.path}: {first} is of a study {study.name!r} too")
        paths[study.name] = study.path
    main = next((study for study in studies if study.name == MAIN), studies[0])
    table = make_table(main, with_paper=True)
    others = [study for study in studies if study is not main]
    further = [make_table(study) for study in others if not is_field(study)]
    fields = field_tables(studies)
    drawings = figures.draw(table)
    return {
        "table1.json": _json(table.to_dict()),
        "table1.md": markdown(table).encode(),
        **({"studies.md": further_markdown(further).encode()} if further else {}),
        **{f"{field['study']}.json": _json(field) for field in fields},
        **({"field.md": field_markdown(fields).encode()} if fields else {}),
        **drawings,
        "index.html": page(table, further, drawings, fields, others).encode(),
    }


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
