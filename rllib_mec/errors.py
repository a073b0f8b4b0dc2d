"""The one error a user's bad input ends in, and the hint that goes with it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class InputError(ValueError):
    """A value that the user gave and that cannot work.

    The message is a single line that names the field, the value and what was expected, so
    that the command line can print it as it is, without a traceback.

    Attributes:
        at: the setting that it is about and keys inside it, from which a file's line is found; or
            none.
    """

    def __init__(self, message: str, at: Iterable[Any] = ()) -> None:
        super().__init__(message)
        self.at = tuple(at)


def unknown_name(
    kind: str, name: object, known: Iterable[str], at: Iterable[Any] = ()
) -> InputError:
    """Returns the error for ``name``, which is none of ``known``, with the nearest known one.

    >>> print(unknown_name("scenario", "publishd", ["published", "published-8bit"]))
    unknown scenario 'publishd': did you mean 'published'?
    >>> print(unknown_name("scenario", "urban", ["published", "published-8bit"]))
    unknown scenario 'urban': expected one of published, published-8bit
    """
    options = sorted(known)
    hint = did_you_mean(str(name), options) or f" expected one of {', '.join(options)}"
    return InputError(f"unknown {kind} {name!r}:{hint}", at)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns " did you mean 'gamma'?", or "" where no known name is near."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" did you mean {close[0]!r}?" if close else ""
