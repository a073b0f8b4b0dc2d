"""Memory that one step of an update frees stays with the process, for the next step.

By default glibc hands freed memory above some hundred kB back to the kernel, which gives it out
again page by page, each filled with zeros. A stack of learners frees and asks for tens of MB in
every minibatch: half of an update's time went into that.
"""

from __future__ import annotations

import ctypes
import functools
import os

KEPT = 1 << 30
"""Bytes of freed memory that a process keeps at most."""

_LARGEST_SHARED = 32 << 20
"""Bytes from which a piece of memory has its own mapping, given back when freed: glibc's most."""

# mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


@functools.cache
def keep_freed_memory() -> bool:
    """Has this process keep the memory that it frees, up to :data:`KEPT`.

    Returns:
        whether it does now: not with another C library than glibc, nor where the environment has
        settings of malloc of its own, which stand.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return False
    return bool(
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST_SHARED) and libc.mallopt(_M_TRIM_THRESHOLD, KEPT)
    )
