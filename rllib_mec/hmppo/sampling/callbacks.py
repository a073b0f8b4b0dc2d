"""Metrics of episodes: what the environment reports at an episode's end, into the results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.rllib.callbacks.callbacks import RLlibCallback

EPISODE_METRICS = "episode_metrics"
"""Key of an agent's last infos, and of the results under ``env_runners``."""


def reported_metrics(infos: Mapping[str, Mapping[str, Any]]) -> Mapping[str, float] | None:
    """Returns what the agents' last infos say of the episode, None if they say nothing."""
    return next((info[EPISODE_METRICS] for info in infos.values() if EPISODE_METRICS in info), None)


class EpisodeMetrics(RLlibCallback):
    """Averages ``infos[agent]["episode_metrics"]`` over the last episodes.

    An environment that reports none gets ``reward``, the team's return: the mean of its agents'
    returns (RLlib's ``episode_return_mean`` is their sum).
    """

    def on_episode_end(
        self,
        *,
        episode: Any,
        prev_episode_chunks: Any = (),
        env_runner: Any = None,
        metrics_logger: Any = None,
        **kwargs: Any,
    ) -> None:
        reported = reported_metrics(episode.get_infos(-1))
        if reported is None:
            chunks = [*prev_episode_chunks, episode]
            returns = sum(chunk.get_return() for chunk in chunks)
            reported = {"reward": returns / max(len(episode.agent_episodes), 1)}
        window = env_runner.config.metrics_num_episodes_for_smoothing
        for name, value in reported.items():
            metrics_logger.log_value((EPISODE_METRICS, name), value, window=window)
