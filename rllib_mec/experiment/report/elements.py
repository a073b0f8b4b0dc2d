"""Pieces of the page: tables, text, lists and figures as HTML."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Columns = tuple[tuple[str, Callable[[Any], str]], ...]
"""Heads, and the cells below them of a row."""

_WORDS = ("study", "setting", "policy", "kind", "less", "case", "episodes", "source")
"""Heads of columns of words."""


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    text: Sequence[int] = (),
    long: Sequence[int] = (),
    groups: Sequence[Any] = (),
    caption: str = "",
) -> str:
    """Returns a table.

    Args:
        text: columns of words, which start at the left.
        long: columns whose cells may break and are shown as they are.
        groups: of each row; a line stands where it changes.
    """

    def cell(tag: str, column: int, content: str) -> str:
        classes = [name for name, on in (("text", text), ("long", long)) if column in on]
        attribute = f' class="{" ".join(classes)}"' if classes else ""
        shown = html.escape(content) if column in long else escaped(content)
        if column not in text:  # what follows a number in brackets goes below it
            shown = re.sub(r" ([\[(].+[\])])$", r"<br><small>\1</small>", shown)
        return f"<{tag}{attribute}>{shown}</{tag}>"

    lines = []
    for position, row in enumerate(rows):
        if groups and position and groups[position] != groups[position - 1]:
            lines.append("</tbody><tbody>")
        lines.append(f"<tr>{''.join(cell('td', k, c) for k, c in enumerate(row))}</tr>")
    header = "".join(cell("th", column, head) for column, head in enumerate(heads))
    note = f"<caption>{html.escape(caption)}</caption>\n" if caption else ""
    body = "\n".join(lines)
    return (
        f'<div class="wide"><table>\n{note}<thead><tr>{header}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>"
    )


def column_table(name: str, columns: Columns, rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns a table whose columns say what stands in them."""
    heads = [label for label, _ in columns]
    words = [place for place, head in enumerate(heads) if head in _WORDS]
    cells = [[cell(row) for _, cell in columns] for row in rows]
    groups = [row.get("num_ues") for row in rows]
    return table(heads, cells, text=words, groups=groups, caption=name)


def escaped(text: str) -> str:
    """Returns text for HTML, with minus signs before numbers."""
    return html.escape(re.sub(r"(?<![\w-])-(?=\d)", "\N{MINUS SIGN}", text))


def p(text: str) -> str:
    """Returns a paragraph."""
    return f"<p>{escaped(text)}</p>"


def bullets(items: Iterable[str]) -> str:
    """Returns a list."""
    lines = "\n".join(f"<li>{escaped(item)}</li>" for item in items)
    return f"<ul>\n{lines}\n</ul>"


def figure(svg: bytes, name: str, caption: str) -> str:
    """Returns an SVG file and what it shows; ``name`` keeps its ids apart from others'."""
    return (
        f"<figure>\n{_inline(svg, name, caption)}\n"
        f"<figcaption>{html.escape(caption)}</figcaption>\n</figure>"
    )


def _inline(svg: bytes, prefix: str, label: str) -> str:
    """Returns an SVG file as an element of the page, its ids apart from those of others."""
    element = svg.decode()
    element = element[element.index("<svg") :]
    element = re.sub(r' xmlns(:\w+)?="[^"]*"', "", element)  # HTML knows them by itself
    element = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", element)
    return element.replace("<svg", f'<svg role="img" aria-label="{html.escape(label)}"', 1).strip()
