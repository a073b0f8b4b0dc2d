"""Texts: those that every Python installation brings along, and the user's own.

The standard library holds three kinds of text that differ enough to be domains of their own: the
language reference (the help topics of pydoc), the docstrings of its modules, and their code. Each
module belongs to one of two halves, by a hash of its name: *general* text, which the offline
model is trained on, and the *tasks'*, which it has never seen. All of the reference is a task's.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import importlib
import re
import sysconfig
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rllib_mec.errors import InputError, unknown_name

_LEFT_OUT = {
    "__pycache__",
    "encodings",  # tables
    "idle_test",
    "lib2to3",
    "pydoc_data",  # the reference
    "site-packages",
    "dist-packages",
    "test",
    "tests",
}
"""Folders of the standard library that some installations lack, or that hold no prose or code."""


@dataclasses.dataclass(frozen=True)
class Text:
    """A named text of one or more documents."""

    name: str
    documents: tuple[str, ...]

    def __post_init__(self) -> None:
        if not any(document.strip() for document in self.documents):
            raise InputError(f"text {self.name}: expected some text, and there is none")

    @property
    def digest(self) -> str:
        """Tells texts apart, 16 hexadecimal digits."""
        whole = hashlib.sha256()
        for document in self.documents:
            whole.update(document.encode() + b"\0")
        return whole.hexdigest()[:16]


def task_text(task: str) -> Text:
    """Returns a task's text.

    Args:
        task: ``reference``, ``docstrings`` or ``code``; the path of a text file, or of a directory
            of .txt and .md files; or NAME=PATH, the same with a name of its own.

    Raises:
        InputError: there is no such task or file, or no text in it.
    """
    name, given, path = task.partition("=")
    if not given:
        if task in BUILTIN:
            return Text(task, BUILTIN[task]())
        name, path = Path(task).stem, task
        if not Path(path).exists() and "/" not in path and "." not in path:
            raise unknown_name("task", task, BUILTIN)
    if not re.fullmatch(r"[\w-]+", name):  # it becomes part of files' names and of settings
        raise InputError(
            f"task {task!r}: name {name!r}: expected letters, digits, _ and - (NAME=PATH gives one)"
        )
    return Text(name, tuple(_documents(Path(path))))


def general_text() -> Text:
    """Returns the text that the offline model is trained on: docstrings and code."""
    modules = [module for module in _modules() if not module.of_tasks]
    return Text("general", tuple(text for each in modules for text in (each.docstrings, each.code)))


def _documents(path: Path) -> Iterator[str]:
    files = [path]
    if path.is_dir():
        files = sorted(each for each in path.rglob("*") if each.suffix in (".txt", ".md"))
    for file in files:
        try:
            yield file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"task text {file}: cannot be read: {reason}") from None


def _reference() -> tuple[str, ...]:
    topics = importlib.import_module("pydoc_data.topics").topics
    return tuple(topics[name] for name in sorted(topics))


@dataclasses.dataclass(frozen=True)
class _Module:
    docstrings: str
    code: str
    of_tasks: bool


@functools.cache
def _modules() -> tuple[_Module, ...]:
    """The modules of the standard library, in the order of their names."""
    library = Path(sysconfig.get_paths()["stdlib"])
    modules = []
    for path in sorted(library.rglob("*.py")):
        place = path.relative_to(library)
        if _LEFT_OUT & set(place.parts) or place.parts[0].startswith("config-"):
            continue
        try:
            source = path.read_text(encoding="utf-8")
            docstrings, code = _parted(source)
        except (SyntaxError, UnicodeDecodeError, OSError, RecursionError):
            continue  # templates that are no Python by themselves
        # A hash, not chance: a module is in the same half with every version of Python.
        of_tasks = zlib.crc32(place.as_posix().encode()) % 2 == 1
        modules.append(_Module(docstrings, code, of_tasks))
    return tuple(modules)


def _parted(source: str) -> tuple[str, str]:
    r"""Parts a module into its docstrings and the lines without them.

    >>> _parted("def f():\n  'Returns 1.'\n  return 1")
    ('Returns 1.', 'def f():\n  return 1')
    """
    docstrings, lines = [], dict(enumerate(source.splitlines(), 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            if docstring is not None:
                docstrings.append(docstring)
                first = node.body[0]
                for number in range(first.lineno, (first.end_lineno or first.lineno) + 1):
                    lines.pop(number, None)
    return "\n\n".join(docstrings), "\n".join(lines.values())


def _of_tasks(kind: str) -> tuple[str, ...]:
    texts: Sequence[str] = [getattr(each, kind) for each in _modules() if each.of_tasks]
    return tuple(text for text in texts if text.strip())


BUILTIN: dict[str, Callable[[], tuple[str, ...]]] = {
    "reference": _reference,
    "docstrings": functools.partial(_of_tasks, "docstrings"),
    "code": functools.partial(_of_tasks, "code"),
}
"""The tasks that need no file."""
