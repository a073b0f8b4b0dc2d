"""What federations came to, in lines: a table by case, and their ratios to ``fl``."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterator, Sequence

from rllib_mec.federated.records import Row


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a case came to: means over seeds, and of each seed its last round's perplexity.

    bytes_per_round, seconds_per_round: means over rounds. exchanges: of a whole run.
    used, selected: clients per round.
    """

    case: str
    rounds: int
    before: float
    perplexities: tuple[float, ...]
    bytes_per_round: float
    seconds_per_round: float
    exchanges: float
    peak_memory_bytes: int
    used: float
    selected: float

    @property
    def perplexity(self) -> float:
        return statistics.fmean(self.perplexities)


def outcomes(rows: Sequence[Row]) -> list[Outcome]:
    """Returns what each case came to, in the order of the rows."""
    found = []
    for case in dict.fromkeys(row.case for row in rows):
        own = [row for row in rows if row.case == case]
        played = [row for row in own if row.round > 0]
        last = max(row.round for row in own)
        seeds = len({row.seed for row in own})
        found.append(
            Outcome(
                case,
                last,
                statistics.fmean(row.perplexity for row in own if row.round == 0),
                tuple(row.perplexity for row in own if row.round == last),
                statistics.fmean(row.total_bytes for row in played),
                statistics.fmean(row.seconds for row in played),
                sum(row.exchanges for row in played) / seeds,
                max(max(row.peak_memory_bytes) for row in own),
                statistics.fmean(row.used for row in played),
                statistics.fmean(row.selected for row in played),
            )
        )
    return found


def lines(rows: Sequence[Row]) -> Iterator[str]:
    """Yields what is printed."""
    cases = outcomes(rows)
    yield (
        "case      perplexity before, after (lowest to highest seed)  MB/round  s/round  "
        "exchanges  memory MB  clients used"
    )
    for each in cases:
        low, high = min(each.perplexities), max(each.perplexities)
        perplexity = f"{each.before:.2f}, {each.perplexity:.2f} ({low:.2f} to {high:.2f})"
        yield (
            f"{each.case:<8}  {perplexity:<51}  {each.bytes_per_round / 1e6:<8.3g}  "
            f"{each.seconds_per_round:<7.3g}  {each.exchanges:<9.4g}  "
            f"{each.peak_memory_bytes / 1e6:<9.3g}  {each.used:.3g} of {each.selected:.3g}"
        )
    by_name = {each.case: each for each in cases}
    for base in ("fl", "fl-peft"):
        for each in cases:
            if base in by_name and each.case != base and (base == "fl" or each.case == "fedpeat"):
                yield _against(each, by_name[base])


def _against(each: Outcome, base: Outcome) -> str:
    return (
        f"{each.case} against {base.case}: {_times(base.bytes_per_round, each.bytes_per_round)} "
        f"fewer bytes, {_times(base.seconds_per_round, each.seconds_per_round)} faster, "
        f"{_times(base.exchanges, each.exchanges)} fewer exchanges, perplexity "
        f"{100 * (each.perplexity / base.perplexity - 1):+.1f} %"
    )


def _times(more: float, fewer: float) -> str:
    return f"{more / fewer:.2f} x" if fewer else "no"
