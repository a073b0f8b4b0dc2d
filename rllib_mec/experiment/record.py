"""Records episodes as a trace without playing them: ``rllib trace record``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rllib_mec.envs import EnvConfig
from rllib_mec.experiment import evaluate
from rllib_mec.system import Simulator
from rllib_mec.traces import write_trace
from rllib_mec.traces.trace import check_new


def record(env_config: Mapping[str, Any], episodes: int, seed: int, out: Path) -> None:
    """Records, without playing them, the episodes that ``rllib evaluate`` would play.

    Raises:
        InputError: an env_config that makes no sense, or ``out`` holds a trace.
    """
    check_new(out)
    config = EnvConfig.of(env_config)
    num_envs = min(episodes, evaluate.MOST_ENVS)
    simulator = Simulator(config.scenario, num_envs, config.episode_source())
    evaluate.check_episodes(config, episodes)
    batches = []
    for number, stream in enumerate(evaluate.evaluation_streams(seed, episodes, num_envs)):
        simulator.reset(stream)
        batches.append(simulator.episode.first(episodes - number * num_envs))
    write_trace(out, batches, {"seed": seed, "scenario": config.scenario.to_dict()})
