"""How numbers and findings are put into words, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rllib_mec.experiment.report import paper
from rllib_mec.experiment.report.statistics import GOOD_SCORE, RESAMPLES
from rllib_mec.experiment.report.table import Row, Table, is_zero_shot
from rllib_mec.system import METRICS

NOTHING = "-"

LABELS = {
    "reward": "reward",
    "total_delay_min": "delay, min",
    "perplexity": "perplexity",
    "emulator_changes": "emulator changes",
    "server_share": "server share",
    "local_retention": "local retention",
    "log_delay": "log delay",
    "exchanges": "emulator exchanges",
    "energy_kj": "energy, kJ",
    "mappo_return": "return in MAPPO's units",
}

DIGITS = {
    "reward": 2,
    "total_delay_min": 1,
    "perplexity": 2,
    "emulator_changes": 1,
    "server_share": 3,
    "local_retention": 3,
    "log_delay": 3,
    "exchanges": 2,
    "energy_kj": 2,
    "mappo_return": 2,
}

METHODS = (
    "Trained rows: the interquartile mean (IQM) over training seeds, each seed evaluated with "
    "deterministic actions on the same unseen episodes; in brackets the 95 % interval of the IQM, "
    f"a percentile bootstrap over seeds ({RESAMPLES:,} resamples). One seed has no interval.",
    "Baselines and bounds: the mean over the same episodes; in brackets the mean ± 1.96 standard "
    "errors over episodes.",
    "Score of a seed: (R - R_random) / (R_hold - R_random), where random and hold are evaluated "
    "on the same number of UEs and the same episodes: 0 is random, 1 is hold. Shown are the IQM "
    "and the worst seed.",
    f"Steps to {GOOD_SCORE}: the first point of a seed's training curve (sampled episodes, "
    f"smoothed) with a score of at least {GOOD_SCORE} from which on the curve's mean is as high "
    "too; the median and the slowest seed, where one that never gets there counts as infinite.",
    "Probability of improvement: the share of pairs of seeds in which the first variant has the "
    "higher reward, ties counted as half; in brackets the 95 % bootstrap interval. There is a "
    "difference where 0.5 is outside of it.",
    "Reward and delay are sums over an episode's steps, of a step the slowest UE's delay; "
    "perplexity is the mean over steps and UEs; emulator changes are counted over all UEs.",
)
"""How each number is computed."""

UNREACHABLE = (
    "The paper's trained rows cannot be reached under its printed formulas: the best retention "
    "lowers perplexity by at most a factor of 1.17 from that of a random one, the table prints "
    "1.86. Its random rows hold no learning: they are what pins the environment down. HMPPO's rows "
    "for 7 and 9 UEs are damaged in the text available to us and left out; that for 8 UEs follows "
    "from the stated margins over IPPO."
)
"""Why the paper's trained rows stand beside ours and are no goal."""


def number(value: float | None, digits: int) -> str:
    """Returns "1,172.45", or a dash for what there is not.

    >>> number(-1172.449, 2), number(-0.001, 2), number(None, 2)
    ('-1,172.45', '0.00', '-')
    """
    if value is None:
        return NOTHING
    # Adding 0.0 turns a rounded -0.0 into 0.0.
    return f"{round(value, digits) + 0.0:,.{digits}f}"


def in_brackets(bounds: Sequence[float] | None, digits: int) -> str:
    """Returns " [0.25, 0.75]", or nothing where there is no interval."""
    return "" if bounds is None else f" [{', '.join(number(b, digits) for b in bounds)}]"


def with_interval(entry: Row | None, digits: int) -> str:
    """Returns "-103.15 [-103.22, -103.09]".

    >>> with_interval({"iqm": 0.5, "ci95": [0.25, 0.75]}, 2), with_interval(None, 2)
    ('0.50 [0.25, 0.75]', '-')
    """
    if entry is None:
        return NOTHING
    return number(entry["iqm"], digits) + in_brackets(entry["ci95"], digits)


def score(row: Row) -> str:
    """Returns the IQM of a row's scores and the worst, "0.999 / 0.953"."""
    entry = row["normalised_score"]
    if entry is None:
        return NOTHING
    worst = "" if entry["worst"] is None else f" / {number(entry['worst'], 3)}"
    return number(entry["iqm"], 3) + worst


def steps_to_good(row: Row) -> str:
    """Returns the median and the slowest seed's steps, "62,400 / never (9 of 10 seeds)"."""
    entry = row["steps_to_095"]
    if entry is None:
        return NOTHING
    shown = ["never" if entry[k] is None else number(entry[k], 0) for k in ("median", "worst")]
    missing = entry["reached"] < row["seeds"]
    return " / ".join(shown) + (f" ({entry['reached']} of {row['seeds']} seeds)" if missing else "")


def answers(table: Table) -> list[str]:
    """Returns what a table says, a sentence each."""
    compared = [*_improvements(table), *_unlike(table), *_margins(table)]
    return [*_reached(table), *compared, *_unscored(table)]


def _reached(table: Table) -> list[str]:
    """How near each trained variant comes to hold, over all numbers of UEs it was trained on."""
    rows = [r for r in table.own if r["kind"] == "trained" and r["normalised_score"] is not None]
    lines = []
    for variant in dict.fromkeys(row["variant"] for row in rows):
        own = [row for row in rows if row["variant"] == variant]
        scores = [number(row["normalised_score"]["iqm"], 3) for row in own]
        worst = min(row["normalised_score"]["worst"] for row in own)
        every = [s for row in own for s in row["normalised_score"]["seeds"]]
        good = sum(s >= GOOD_SCORE for s in every)
        lines.append(
            f"{variant}: normalised score {', '.join(scores)} with {_ues(own)} (IQM; 1 is hold); "
            f"{good} of {len(every)} seeds score {GOOD_SCORE} or more, "
            f"the worst {number(worst, 3)}."
        )
    return lines


def _improvements(table: Table) -> list[str]:
    lines = []
    for other in dict.fromkeys(pair["over"] for pair in table.improvements):
        pairs = [pair for pair in table.improvements if pair["over"] == other]
        found: dict[str, list[Row]] = {}
        for pair in pairs:
            found.setdefault(verdict(pair), []).append(pair)
        parts = [
            f"{word} with {_ues(same)}: "
            + "; ".join(number(p["probability"], 2) + in_brackets(p["ci95"], 2) for p in same)
            for word, same in found.items()
        ]
        lines.append(
            f"{table.reference} over {other}, probability of improvement: {'. '.join(parts)}."
        )
    return lines


def _unlike(table: Table) -> list[str]:
    if not table.unlike:
        return []
    names = ", ".join(dict.fromkeys(row["variant"] for row in table.unlike))
    return [
        f"No probability of improvement of {table.reference} over {names}: trained for another "
        "number of steps, or evaluated on other episodes."
    ]


def verdict(pair: Row) -> str:
    """Returns what a probability of improvement and its interval say."""
    if pair["ci95"] is None:
        return "one seed, no interval"
    low, high = pair["ci95"]
    if low > 0.5:
        return "better"
    return "worse" if high < 0.5 else "no difference beyond the interval"


def _margins(table: Table) -> list[str]:
    """The paper's stated margins over IPPO, and ours."""
    rows = {r["variant"]: r for r in table.own if r["num_ues"] == paper.MARGINS_UES}
    ours = rows.get(table.reference or "")
    ippo = next((row for row in rows.values() if row["algorithm"] == "IPPO"), None)
    if ours is None or ippo is None or ours["paper"] is None or ippo in table.unlike:
        return []
    # Rewards are negative, so that this is a gain for all four; without a change, no share of it.
    known = [m for m in METRICS if ours[m] is not None and ippo[m] and ippo[m]["iqm"]]
    named = {**LABELS, "total_delay_min": "delay"}
    gains = [f"{named[m]} {_percent(1 - ours[m]['iqm'] / ippo[m]['iqm'])}" for m in known]
    stated = [f"{named[m]} {_percent(paper.MARGINS[m])}" for m in known]
    return [
        f"Gains of {table.reference} over IPPO with {paper.MARGINS_UES} UEs: "
        f"{', '.join(gains)} (IQMs); the paper states {', '.join(stated)} (one seed)."
    ]


def _percent(share: float) -> str:
    return f"{number(100 * share, 2)} %"


def _unscored(table: Table) -> list[str]:
    missing = [{"num_ues": ues} for ues, scale in table.scales.items() if scale is None]
    lines = []
    if missing:
        lines.append(
            f"No scores with {_ues(missing)}: they need one evaluation of random and one of hold "
            "on the same episodes, and hold above random."
        )
    others = [
        row
        for row in table.rows
        if row["normalised_score"] is None and table.scales[row["num_ues"]] is not None
    ]
    if others:
        names = ", ".join(dict.fromkeys(row["variant"] for row in others))
        lines.append(f"No scores of {names}: evaluated on other episodes than random and hold.")
    return lines


def _ues(rows: Sequence[dict[str, Any]]) -> str:
    """Returns "6, 7 UEs", and what was trained on where that is another number."""
    named = [
        f"{row['num_ues']} (trained on {row['trained_ues']})"
        if "trained_ues" in row and is_zero_shot(row)
        else str(row["num_ues"])
        for row in rows
    ]
    return f"{', '.join(named)} UEs"
