"""Which experiments' directories this user has begun, and so may go on with without a word.

Tune keeps the state of a run as pickles: to resume a directory is to run whatever code is in it.
So each run gets a random number, kept in its directory and among the user's own files; a directory
that comes from elsewhere has none that is known here, wherever it has been unpacked.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from pathlib import Path


def begin(directory: str) -> str:
    """Returns a new number for the run in ``directory``, and remembers it.

    Where the user's own files cannot be written, it is not remembered.
    """
    number = secrets.token_hex(16)
    path = _path(directory)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text(number, encoding="ascii")
    return number


def is_known(directory: str, number: str | None) -> bool:
    """Tells whether the run in ``directory``, whose number this is, was begun by this user."""
    try:
        kept = _path(directory).read_text(encoding="ascii")
    except (OSError, ValueError):
        return False
    return number is not None and secrets.compare_digest(kept.encode(), str(number).encode())


def _path(directory: str) -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()
    return Path(state, "rllib_mec", "runs", hashlib.sha256(directory.encode()).hexdigest())
