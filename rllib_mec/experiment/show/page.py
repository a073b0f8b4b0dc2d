"""An episode as one page: HTML that needs nothing but itself, and opens from disk."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from typing import Any

from rllib_mec.experiment.report import elements
from rllib_mec.experiment.show import charts
from rllib_mec.experiment.show.style import SCRIPT, css
from rllib_mec.experiment.show.view import Cells, View

_WORDS = ("trains on", "takes part", "download", "busy", "slowest")
"""Heads of columns of words."""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""Nothing is loaded from anywhere."""


def page(view: View, about: Mapping[str, str], scenario: Mapping[str, Any]) -> str:
    """Returns the page.

    Args:
        about: what was played, by what it is called. scenario: all constants of the system.
    """
    title = f"{view.policy}: an episode of {view.num_ues} UEs"
    head = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        f'<meta http-equiv="Content-Security-Policy" content="{html.escape(_POLICY)}"/>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        f"<title>{html.escape(title)}</title>\n<style>{css()}</style>\n</head>\n<body>\n"
    )
    first, *further = view.sentences
    parts = [
        f"<header><h1>{elements.escaped(first)}</h1>\n{_about(about)}</header>",
        "<main>",
        _tiles(view),
        elements.bullets(further),
        _stage(view),
        "<h2>All numbers</h2>",
        _table(f"Every {view.step}", "steps", view.steps),
        _table(f"Every UE in every {view.step}", "ues", view.ues),
        _constants(scenario),
        "</main>",
        '<div id="tip" role="status" hidden="hidden"></div>',
    ]
    script = f"<script>{SCRIPT}</script>"
    return head + "\n".join(parts) + f"\n{script}\n</body>\n</html>\n"


def _about(about: Mapping[str, str]) -> str:
    said = " · ".join(f"{name} {value}" for name, value in about.items())
    return f'<p class="about">{html.escape(said)}</p>'


def _tiles(view: View) -> str:
    cells = []
    for label, value, hold in view.tiles:
        other = "" if hold is None else f"<dd>hold: {elements.escaped(hold)}</dd>"
        cells.append(
            f"<div><dt>{html.escape(label)}</dt><dd>{elements.escaped(value)}</dd>{other}</div>"
        )
    return f'<dl class="tiles">{"".join(cells)}</dl>'


def _stage(view: View) -> str:
    """The panels, below what chooses a step, and the numbers of that step."""
    axis = charts.axis(view.num_steps, view.step)
    panels = [f"{charts.lanes(panel)}\n{axis}" for panel in view.lanes]
    panels += [f"{charts.line(panel, view.policy)}\n{axis}" for panel in view.lines]
    drawn = "\n".join(panels)
    heads = "".join(f"<th{_class(head)}>{html.escape(head)}</th>" for head, _ in view.ues)
    return (
        f'<section class="stage" aria-label="The episode, {view.step} by {view.step}" '
        f'style="--steps:{view.num_steps};--t:0">\n{_bar(view)}\n{drawn}\n'
        f'<div class="wide" hidden="hidden"><table id="now"><caption></caption>'
        f"<thead><tr>{heads}</tr></thead><tbody></tbody></table></div>\n</section>"
    )


def _bar(view: View) -> str:
    last = view.num_steps - 1
    return (
        '<form class="bar" hidden="hidden">'
        f'<label for="step" id="which">{view.step} 0</label>'
        f'<button type="button" id="back" aria-label="{view.step} before">\N{MINUS SIGN}</button>'
        f'<input type="range" id="step" min="0" max="{last}" value="0" step="1"/>'
        f'<button type="button" id="on" aria-label="next {view.step}">+</button>'
        '<output id="said" for="step" aria-live="polite"></output></form>'
    )


def _table(title: str, name: str, cells: Cells) -> str:
    heads = [head for head, _ in cells]
    rows = list(zip(*(column for _, column in cells), strict=True))
    words = [place for place, head in enumerate(heads) if head in _WORDS]
    table = elements.table(heads, rows, text=words)
    return (
        f'<details id="{name}"><summary>{html.escape(title)} ({len(rows):,} rows)</summary>\n'
        f"{table}\n</details>"
    )


def _class(head: str) -> str:
    return ' class="text"' if head in _WORDS else ""


def _constants(scenario: Mapping[str, Any]) -> str:
    text = html.escape(json.dumps(scenario, indent=1, ensure_ascii=False))
    return f"<details><summary>The scenario</summary><pre>{text}</pre></details>"
