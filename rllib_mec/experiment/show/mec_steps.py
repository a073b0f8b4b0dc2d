"""What is recorded of a step of ``mec``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from rllib_mec.system import Scenario
from rllib_mec.system.compute import server_delay, training_work
from rllib_mec.system.radio import Bools
from rllib_mec.system.step import Outcome, Situation
from rllib_mec.traces.schema import Column

_NUMBER, _FLAG = pa.float64(), pa.bool_()

COLUMNS = (
    Column("step", pa.int64(), "-", "number of the task in the episode"),
    Column("ue", pa.int64(), "-", "number of the user equipment"),
    Column("active", _FLAG, "-", "whether the UE has a task at all"),
    Column("decided_server", _FLAG, "-", "z as it was decided: train on the server"),
    Column("server", _FLAG, "-", "whether the task was trained on the server"),
    Column("retention", _NUMBER, "-", "E of the emulator that was trained with; 0: none"),
    Column("downloaded", _FLAG, "-", "whether the UE downloaded an emulator, or layers of it"),
    Column("cached", _NUMBER, "-", "E of the emulator that the UE holds afterwards; 0: none"),
    Column("delay_s", _NUMBER, "s", "delay of the UE's task"),
    Column("training_s", _NUMBER, "s", "part of it: training, with the wait in the server's queue"),
    Column("perplexity", _NUMBER, "-", "kappa of the task; 0 without one"),
    Column("energy_kj", _NUMBER, "kJ", "energy that the UE spent"),
    Column("battery_kj", _NUMBER, "kJ", "what is left in the UE's battery afterwards"),
    Column("gain", _NUMBER, "-", "channel power gain, linear"),
    Column("complexity", _NUMBER, "-", "complexity of the task"),
    Column("data_mb", _NUMBER, "MB", "data size of the task"),
    Column("power_w", _NUMBER, "W", "uplink power"),
    Column("tokens", _NUMBER, "-", "tokens to train on"),
    Column("domain", pa.int64(), "-", "index of the task's domain"),
    Column("tflops", _NUMBER, "TFLOP/s", "speed of the device"),
    Column("most_retention", _NUMBER, "-", "largest retention whose emulator fits the memory"),
    Column("step_delay_s", _NUMBER, "s", "delay of the step, the slowest UE's"),
    Column("step_reward", _NUMBER, "-", "reward of the step"),
)
"""The columns of the table; what belongs to a part of the scenario is there only with the part."""


def of_step(
    scenario: Scenario, situation: Situation, decided: Bools, outcome: Outcome
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns what is recorded of each UE, (B, N), and of the step, (B,), by columns' names."""
    tasks, devices = situation.tasks, situation.devices
    active = np.ones_like(outcome.server) if tasks.active is None else tasks.active
    ues = {
        "active": active,
        "decided_server": decided,
        "server": outcome.server,
        "retention": outcome.retention,
        "downloaded": outcome.downloads,
        "cached": outcome.cached,
        "delay_s": outcome.delay_s,
        "training_s": _training(scenario, situation, outcome),
        "perplexity": outcome.perplexity,
        "energy_kj": outcome.energy_kj,
        "battery_kj": outcome.battery_kj,
        "gain": tasks.gain,
        "complexity": tasks.complexity,
        "data_mb": tasks.data_mb,
        "power_w": tasks.power_w,
        "tokens": tasks.tokens,
        "domain": tasks.domain,
        "tflops": devices.tflops,
        "most_retention": devices.most_retention,
    }
    step = {"step_delay_s": outcome.system_delay_s, "step_reward": outcome.reward}
    return {name: values for name, values in ues.items() if values is not None}, step


def _training(scenario: Scenario, situation: Situation, outcome: Outcome) -> Any:
    tokens, tflops = situation.tasks.tokens, situation.devices.tflops
    if scenario.compute is None or tokens is None or tflops is None:
        return None
    work = training_work(scenario.compute, tokens)
    queued = server_delay(scenario.compute, outcome.server, work)
    return queued + outcome.retention * work / tflops
