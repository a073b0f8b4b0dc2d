"""Measures what ``compiled=True`` costs at the start: run in a process and a cache of its own.

What torch has compiled once it keeps, in memory and on disk; a cold start has neither.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import Any

from process import in_new_process, start

ITERATIONS = 4


def cold_start(work: dict[str, Any], cache: str) -> float | None:
    """Returns the seconds that the first iteration takes beyond a usual one.

    None: torch cannot compile here.

    Args:
        cache: an empty directory; what is compiled stays there.
    """
    return in_new_process("compilation.py", work, {"TORCHINDUCTOR_CACHE_DIR": cache})


def pays_from(cold_s: float, steps_per_s: dict[str, int]) -> int | None:
    """Returns the training steps after which the compilation has paid; None: it never does."""
    saved = 1 / steps_per_s["batched"] - 1 / steps_per_s["compiled"]
    return round(cold_s / saved) if saved > 0 else None


def main() -> None:
    work = json.loads(sys.argv[1])
    start()
    from systems import systems

    training = systems(work)["compiled"]()
    seconds = []
    for _ in range(ITERATIONS):
        began = time.perf_counter()
        training.iterate()
        seconds.append(time.perf_counter() - began)
    # Where compilation fails, HMPPO goes on without.
    functions = training.algorithm.learner_group._learner.stacked_update._gradients.values()
    compiles = all(function.function is not function.plain for function in functions)
    first, *usual = seconds
    print(json.dumps(round(first - statistics.median(usual), 1) if compiles else None))


if __name__ == "__main__":
    main()
