"""Where a user's values come from: a YAML file with line numbers, or command-line flags.

YAML is read by a safe loader that differs from PyYAML's in three ways: ``1e-3`` is a number (YAML
1.1 reads text), a key given twice is an error (PyYAML keeps the last), and the line of each value
is remembered.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from rllib_mec.errors import InputError

KeyPath = tuple[Any, ...]
"""Keys and list positions from the outermost mapping to a value."""


@dataclasses.dataclass(frozen=True)
class Source:
    """Names the place of a value in error messages.

    name: the file, or "" for command-line flags.
    lines: the line of each value, counted from 1.
    root: what the paths that are asked for start from.
    """

    name: str = ""
    lines: dict[KeyPath, int] = dataclasses.field(default_factory=dict)
    root: KeyPath = ()

    def place(self, path: KeyPath) -> str:
        """Returns for example "cartpole.yaml:7: cartpole.config.gamma".

        A path that the source does not hold gets the line of its nearest known parent.
        """
        path = (*self.root, *path)
        dotted = ".".join(str(key) for key in path)
        if not self.name:
            return dotted
        parents = (path[:length] for length in range(len(path), 0, -1))
        line = next((self.lines[parent] for parent in parents if parent in self.lines), 1)
        return f"{self.name}:{line}: {dotted}" if dotted else f"{self.name}:{line}"


class _Loader(yaml.SafeLoader):
    """A safe loader that reads ``1e-3`` as a number."""


# What YAML 1.2 calls a float; PyYAML follows YAML 1.1, which wants a dot and a signed exponent.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$"),
    list("-+0123456789."),
)


def read_yaml(path: Path) -> tuple[Any, Source]:
    """Reads a YAML file.

    Raises:
        InputError: no such file, or not YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read {path}: {reason}") from None
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            raise InputError(f"{path}: the file is empty")
        source = Source(str(path))
        _note_lines(node, (), source)
        return loader.construct_document(node), source
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise InputError(f"{path}{line}: not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise InputError(f"{path}: an alias refers to itself") from None
    finally:
        loader.dispose()


def _note_lines(node: yaml.Node, path: KeyPath, source: Source) -> None:
    """Fills ``source.lines`` from ``node`` downwards and refuses keys given twice."""
    source.lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            _note_lines(item, (*path, position), source)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            child = (*path, str(key.value))
            if child in source.lines:
                first, line = source.lines[child], key.start_mark.line + 1
                place = ".".join(str(part) for part in child)
                raise InputError(f"{source.name}:{line}: {place} is given twice (line {first} too)")
            source.lines[child] = key.start_mark.line + 1
            _note_lines(value, child, source)


def without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns a JSON object, for ``object_pairs_hook``.

    Raises:
        ValueError: a name comes twice, of which the first would be lost.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twin = next(name for name, count in counts.items() if count > 1)
        raise ValueError(f"{twin[:60]!r} comes twice in one object")
    return found


def read_json(text: str, flag: str) -> dict[str, Any]:
    """Reads the JSON object that was given to the command-line option ``flag``.

    Raises:
        InputError: not a JSON object.
    """
    try:
        value = json.loads(text, object_pairs_hook=without_twins)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{flag} {text!r}: not JSON: {error.msg} at character {error.pos + 1}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{flag} {text[:60]!r}: {error}") from None
    if not isinstance(value, dict):
        raise InputError(f'{flag} {text!r}: expected a JSON object, such as {{"lr": 0.001}}')
    return value
