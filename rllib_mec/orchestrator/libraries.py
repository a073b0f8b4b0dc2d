"""The libraries of the extra ``export``."""

from __future__ import annotations

import importlib.util

from rllib_mec.errors import InputError


def require(what: str, *names: str, extra: str = "export") -> None:
    """Refuses to go on without libraries.

    Args:
        what: who needs them. names: of their modules. extra: which has them.

    Raises:
        InputError: names those that are missing.
    """
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"{what} needs {', '.join(missing)}: pip install 'rllib_mec[{extra}]'")
