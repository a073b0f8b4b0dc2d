"""Progress bars, on a terminal; elsewhere a line now and then."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 15.0


def bar(what: str, total: int) -> Any:
    """Returns a progress bar on standard error.

    >>> with bar("training", 2) as progress:
    ...     progress.update(2)
    """
    on_terminal = sys.stderr.isatty()
    return tqdm(
        desc=what,
        total=total,
        dynamic_ncols=on_terminal,
        mininterval=0.2 if on_terminal else _SECONDS_BETWEEN_LINES,
        # A log file has no line to draw over.
        bar_format=None if on_terminal else "{desc}: {n_fmt}/{total_fmt} [{elapsed}<{remaining}]\n",
    )
