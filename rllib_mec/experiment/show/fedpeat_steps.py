"""What is recorded of a round of ``fedpeat``."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from rllib_mec.system.fedpeat import Decision, FedPEATScenario, Outcome, Situation
from rllib_mec.traces.schema import Column

_NUMBER, _FLAG = pa.float64(), pa.bool_()

COLUMNS = (
    Column("step", pa.int64(), "-", "number of the round in the episode"),
    Column("ue", pa.int64(), "-", "number of the user equipment"),
    Column("selected", _FLAG, "-", "whether the UE takes part"),
    Column("retention", _NUMBER, "-", "E of the emulator that it trained with; 0: none"),
    Column("exchanged", _FLAG, "-", "whether the UE downloaded an emulator"),
    Column("cached", _NUMBER, "-", "E of the emulator that the UE holds afterwards; 0: none"),
    Column("share", _NUMBER, "-", "share of the uplink's bandwidth"),
    Column("power_w", _NUMBER, "W", "uplink power that was decided"),
    Column("delay_s", _NUMBER, "s", "delay of the UE; 0 if it takes no part"),
    Column("energy_kj", _NUMBER, "kJ", "energy that the UE spent"),
    Column("gain", _NUMBER, "-", "channel power gain, linear"),
    Column("busy", _FLAG, "-", "whether the device does other things, too"),
    Column("tokens", _NUMBER, "-", "tokens of the UE's data"),
    Column("tflops", _NUMBER, "TFLOP/s", "speed of the device when it is not busy"),
    Column("most_retention", _NUMBER, "-", "largest retention whose emulator fits the memory"),
    Column("step_delay_s", _NUMBER, "s", "delay of the round, the slowest UE's or the server's"),
    Column("step_perplexity", _NUMBER, "-", "perplexity after the round"),
    Column("step_reward", _NUMBER, "-", "reward of the round"),
)
"""The columns of the table."""


def of_step(
    scenario: FedPEATScenario, situation: Situation, decided: Decision, outcome: Outcome
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns what is recorded of each UE, (B, N), and of the round, (B,), by columns' names."""
    ues = {
        "selected": decided.selected,
        "retention": decided.selected * outcome.retention,
        "exchanged": outcome.exchanged,
        "cached": outcome.cached,
        "share": outcome.share,
        "power_w": decided.power_w,
        "delay_s": outcome.delay_s,
        "energy_kj": outcome.energy_kj,
        "gain": situation.gain,
        "busy": situation.busy,
        "tokens": situation.tokens,
        "tflops": situation.tflops,
        "most_retention": situation.most_retention,
    }
    step = {
        "step_delay_s": outcome.round_delay_s,
        "step_perplexity": outcome.perplexity,
        "step_reward": outcome.reward,
    }
    return ues, step
