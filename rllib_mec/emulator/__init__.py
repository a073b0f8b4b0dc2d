"""The emulator and the adapter, for real: any causal language model of Hugging Face.

A foundation model (:mod:`.models`) is split into an emulator (:mod:`.emulators`), which is frozen
and compressed, and an adapter (:mod:`.adapters`), which is tuned (:mod:`.training`) on a task's
text (:mod:`.texts`, :mod:`.tokens`) and plugged into the whole model again. :mod:`.measure` says
what that gives and costs; ``rllib profile`` sweeps it over retentions, tasks and seeds.
:mod:`.offline` makes a small model from nothing where no other can be had.

Needs the extra ``emulator`` (transformers, peft).
"""

from __future__ import annotations

import importlib.util

from rllib_mec.errors import InputError

_NEEDED = ("transformers", "peft", "matplotlib")


def require_libraries(command: str) -> None:
    """Refuses to go on without the libraries of the extra ``emulator``.

    Args:
        command: who needs them.

    Raises:
        InputError: names those that are missing.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"rllib {command} needs {', '.join(missing)}: pip install 'rllib_mec[emulator]'"
        )
