"""Metrics of episodes: what the environment reports at an episode's end, into the results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray.rllib.callbacks.callbacks import RLlibCallback

EPISODE_METRICS = "episode_metrics"
"""Key of the last infos, an agent's or a single one's, and of the results in ``env_runners``."""


def reported_metrics(infos: Mapping[str, Mapping[str, Any]]) -> Mapping[str, float] | None:
    """Returns what the agents' last infos say of the episode, None if they say nothing."""
    return next((info[EPISODE_METRICS] for info in infos.values() if EPISODE_METRICS in info), None)


def episode_metrics(episode: Any, chunks: Sequence[Any] = ()) -> Mapping[str, float]:
    """Returns what the environment says of an episode, or else its ``reward``.

    That is the team's return: the mean of its agents' returns (RLlib's is their sum).

    Args:
        episode: RLlib's episode, of one agent or several, that has ended.
        chunks: what came before, if the episode was cut into chunks.
    """
    infos = episode.get_infos(-1)
    agents = getattr(episode, "agent_episodes", None)
    reported = reported_metrics({"": infos} if agents is None else infos)
    if reported is not None:
        return reported
    returns = sum(float(chunk.get_return()) for chunk in (*chunks, episode))
    return {"reward": returns / max(len(agents or ()), 1)}


def means(reported: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    """Returns the means of metrics over those of B episodes that have them.

    Args:
        reported: (B,) each, NaN for an episode that lacks the metric; what all lack is left out.
    """
    known = {name: values[~np.isnan(values)] for name, values in reported.items()}
    return {name: float(values.mean()) for name, values in known.items() if values.size}


class EpisodeMetrics(RLlibCallback):
    """Averages the metrics of the last episodes, see :func:`episode_metrics`.

    Of one agent whose environment reports none, RLlib's ``episode_return_mean`` says all.
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
        one_agent = not hasattr(episode, "agent_episodes")
        if one_agent and EPISODE_METRICS not in episode.get_infos(-1):
            return
        window = env_runner.config.metrics_num_episodes_for_smoothing
        for name, value in episode_metrics(episode, prev_episode_chunks).items():
            metrics_logger.log_value((EPISODE_METRICS, name), value, window=window)
