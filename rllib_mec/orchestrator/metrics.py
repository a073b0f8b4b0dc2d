"""Counts and latencies of a served orchestrator, in the text format of Prometheus."""

from __future__ import annotations

import bisect
from collections import Counter

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds of the buckets of latencies."""
SIZES = (1, 2, 4, 8, 16, 32, 64)
"""The same of how many states were decided together."""


class Histogram:
    """How often values were up to each of some bounds."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Takes a value in."""
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.sum += value

    def lines(self, name: str) -> list[str]:
        """Returns the histogram's lines."""
        total, lines = 0, []
        for bound, count in zip((*self.bounds, "+Inf"), self.counts, strict=True):
            total += count
            lines.append(f'{name}_bucket{{le="{bound}"}} {total}')
        return [*lines, f"{name}_sum {self.sum:.9g}", f"{name}_count {total}"]


class Metrics:
    """All that is counted."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.latency = Histogram(SECONDS)
        self.batches = Histogram(SIZES)
        self.ues = 0

    def text(self) -> str:
        """Returns what ``GET /metrics`` answers."""
        lines = [
            "# HELP rllib_requests_total Requests by path and status.",
            "# TYPE rllib_requests_total counter",
        ]
        lines += [
            f'rllib_requests_total{{path="{path}",status="{status}"}} {count}'
            for (path, status), count in sorted(self.requests.items())
        ]
        lines += [
            "# HELP rllib_decide_seconds From a whole request to its decision.",
            "# TYPE rllib_decide_seconds histogram",
            *self.latency.lines("rllib_decide_seconds"),
            "# HELP rllib_batch_states States that were decided together.",
            "# TYPE rllib_batch_states histogram",
            *self.batches.lines("rllib_batch_states"),
            "# HELP rllib_decided_ues_total UEs that were decided for.",
            "# TYPE rllib_decided_ues_total counter",
            f"rllib_decided_ues_total {self.ues}",
        ]
        return "\n".join(lines) + "\n"
