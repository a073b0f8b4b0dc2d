"""RLlib's check of an environment, which takes a random step, and where that means nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def unchecked_masks(config: Any) -> Iterator[None]:
    """Leaves the check out for an environment with action masks, of which it knows nothing."""
    before = config.disable_env_checking
    config.disable_env_checking = before or bool(config.team().masked)
    try:
        yield
    finally:
        config.disable_env_checking = before
