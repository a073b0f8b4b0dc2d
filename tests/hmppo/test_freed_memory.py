"""Memory that an update frees is there for the next one, unless the user decides otherwise."""

import os
import platform
import subprocess
import sys

import pytest

from rllib_mec.hmppo import freed_memory

TOUCH = f"""
import resource, runpy
import numpy as np
keep = runpy.run_path({freed_memory.__file__!r})["keep_freed_memory"]()
pieces = lambda: [np.ones(250_000) for _ in range(20)]
pieces()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    pieces()
print(keep, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back that way"
)


def touched(**settings: str) -> tuple[str, int]:
    """Returns whether memory is kept, and the pages asked for in 20 rounds of 40 MB."""
    others = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", TOUCH],
        env=others | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kept, pages = done.stdout.split()
    return kept, int(pages)


def test_the_kernel_is_asked_once_for_memory_that_is_used_again():
    kept, pages = touched()
    assert kept == "True"
    assert pages < 1000


@pytest.mark.parametrize(
    "settings",
    [
        {"MALLOC_TRIM_THRESHOLD_": "131072", "MALLOC_MMAP_THRESHOLD_": "131072"},
        {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=131072"},
    ],
)
def test_settings_of_malloc_in_the_environment_stand(settings):
    kept, pages = touched(**settings)
    assert kept == "False"
    assert pages > 20_000
