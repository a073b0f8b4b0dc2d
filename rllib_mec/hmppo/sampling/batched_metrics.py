"""The metrics of the batched runner, under the names and with the meaning of RLlib's runner."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray.rllib.utils import metrics as names

from rllib_mec.hmppo.sampling.callbacks import EPISODE_METRICS, means

Floats = NDArray[np.float64]


def count_steps(
    runner: Any, env_steps: int, episodes: int, absent: Mapping[str, int] | None = None
) -> None:
    """Counts what a sample holds: steps of all environments, and episodes that have ended.

    Args:
        absent: steps that each of the environment's agents was not there to act in.
    """
    runner.num_env_steps_sampled_lifetime += env_steps
    log = runner.metrics.log_value
    log(names.NUM_ENV_STEPS_SAMPLED, env_steps, reduce="sum")
    log(
        names.NUM_ENV_STEPS_SAMPLED_LIFETIME,
        env_steps,
        reduce="lifetime_sum",
        with_throughput=True,
    )
    if episodes:
        log(names.NUM_EPISODES, episodes, reduce="sum")
        log(names.NUM_EPISODES_LIFETIME, episodes, reduce="lifetime_sum")
    team = runner.module.team
    for module in team.agents:
        # Agents act through a module of the same id or of their group's.
        taken = {agent: env_steps - (absent or {}).get(agent, 0) for agent in team.ids(module)}
        for agent, steps in taken.items():
            log((names.NUM_AGENT_STEPS_SAMPLED, agent), steps, reduce="sum")
            log((names.NUM_AGENT_STEPS_SAMPLED_LIFETIME, agent), steps, reduce="lifetime_sum")
        total = sum(taken.values())
        log((names.NUM_MODULE_STEPS_SAMPLED, module), total, reduce="sum")
        log((names.NUM_MODULE_STEPS_SAMPLED_LIFETIME, module), total, reduce="lifetime_sum")


def log_episodes(
    runner: Any, *, length: int, returns: Floats, seconds: float, reported: Mapping[str, Floats]
) -> None:
    """Logs the B episodes that have ended together.

    Callbacks may have a method ``on_batched_episodes_end(env_runner, metrics_logger, metrics)``,
    which gets all of ``reported`` and may log more.

    Args:
        length: steps of each. returns: the team's reward summed up, (B,). seconds: they took.
        reported: the environment's own metrics, (B,) each, NaN for an episode that lacks one.
    """
    config = runner.config
    # RLlib smooths over episodes, and merges what several runners log.
    smoothing = config.metrics_num_episodes_for_smoothing / (config.num_env_runners or 1)
    window = max(1, math.ceil(smoothing / runner.num_envs))
    team = runner.module.team
    agents = [agent for name in team.agents for agent in team.ids(name)]
    mean = float(returns.mean())
    # RLlib's return of an episode is the sum over its agents, who share the reward.
    runner.metrics.log_dict(
        {
            names.EPISODE_LEN_MEAN: length,
            names.EPISODE_RETURN_MEAN: mean * len(agents),
            names.EPISODE_DURATION_SEC_MEAN: seconds,
            names.EPISODE_AGENT_RETURN_MEAN: dict.fromkeys(agents, mean),
            names.EPISODE_AGENT_STEPS: dict.fromkeys(agents, length),
            names.EPISODE_MODULE_RETURN_MEAN: {
                name: mean * team.num_members(name) for name in team.agents
            },
            EPISODE_METRICS: means(reported),
        },
        window=window,
    )
    for reduce, length_name, return_name, extreme in (
        ("min", names.EPISODE_LEN_MIN, names.EPISODE_RETURN_MIN, returns.min()),
        ("max", names.EPISODE_LEN_MAX, names.EPISODE_RETURN_MAX, returns.max()),
    ):
        values = {length_name: length, return_name: float(extreme) * len(agents)}
        runner.metrics.log_dict(values, reduce=reduce, window=window)
    for callback in runner._callbacks:
        hook = getattr(callback, "on_batched_episodes_end", None)
        if hook is not None:
            hook(env_runner=runner, metrics_logger=runner.metrics, metrics=reported)
