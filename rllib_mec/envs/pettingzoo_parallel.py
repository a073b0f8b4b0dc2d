"""PettingZoo's parallel environments as RLlib's, with the ends that PettingZoo means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv


class PettingZooParallelEnv(ParallelPettingZooEnv):
    """RLlib's wrapper, which does not see an episode end whose last agents end in unlike ways.

    PettingZoo's episodes are over when nobody is left in ``agents``; RLlib's wrapper asks whether
    all who were there were terminated, or all truncated.
    """

    def step(self, action_dict: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
        observations, rewards, terminated, truncated, infos = super().step(action_dict)
        if not self.par_env.agents and not (terminated["__all__"] or truncated["__all__"]):
            truncated["__all__"] = any(
                truncated[agent] and not terminated.get(agent) for agent in truncated
            )
            terminated["__all__"] = not truncated["__all__"]
        return observations, rewards, terminated, truncated, infos
