"""What arXiv 2310.17492 prints in Table I and states about it."""

from __future__ import annotations

PRINTED, FROM_MARGINS = "Table I", "from the stated margins"

_METRICS = ("reward", "total_delay_min", "perplexity")

_TABLE_1 = {
    "HMPPO": {6: (-57.32, 23.25, 12.78)},
    "IPPO": {
        6: (-78.98, 66.88, 16.01),
        7: (-86.35, 92.33, 17.33),
        8: (-95.52, 164.73, 17.82),
        9: (-113.74, 195.32, 18.93),
    },
    "random": {
        6: (-175.57, 775.97, 23.96),
        7: (-193.40, 924.89, 24.477),
        8: (-200.63, 1172.45, 25.33),
        9: (-240.11, 1553.73, 24.64),
    },
}
"""Rows by UE number; those of HMPPO with 7 to 9 UEs are damaged in the text that we have."""

MARGINS = {
    "reward": 0.3379,
    "total_delay_min": 0.8049,
    "perplexity": 0.2353,
    "emulator_changes": 0.9155,
}
"""By how much of IPPO's value HMPPO is better, as stated for MARGINS_UES UEs (one seed)."""

MARGINS_UES = 8


def figures(algorithm: str, num_ues: int) -> dict[str, float | str] | None:
    """Returns the paper's reward, delay and perplexity, and their source; None if it has none.

    >>> figures("HMPPO", 8)["reward"], figures("HMPPO", 8)["source"]
    (-63.24, 'from the stated margins')
    """
    row = _TABLE_1.get(algorithm, {}).get(num_ues)
    if row is not None:
        return {**dict(zip(_METRICS, row, strict=True)), "source": PRINTED}
    if (algorithm, num_ues) == ("HMPPO", MARGINS_UES):
        ippo = dict(zip(_METRICS, _TABLE_1["IPPO"][num_ues], strict=True))
        better = {name: round(value * _remaining(name), 2) for name, value in ippo.items()}
        return {**better, "source": FROM_MARGINS}
    return None


def _remaining(metric: str) -> float:
    """The share of IPPO's value that HMPPO has left (rewards are negative, too)."""
    return 1 - MARGINS[metric]
