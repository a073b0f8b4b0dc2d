"""The algorithm: RLlib's PPO loop, and an end to it when no samples come any more."""

from __future__ import annotations

from typing import Any

from ray.rllib.algorithms.ppo import PPO
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME

MAX_EMPTY_ITERATIONS = 10


class HMPPO(PPO):
    """Hybrid multi-agent PPO (arXiv 2310.17492); see :class:`HMPPOConfig`."""

    _empty_iterations = 0

    @classmethod
    def get_default_config(cls) -> Any:
        from rllib_mec.hmppo.config import HMPPOConfig

        return HMPPOConfig()

    def training_step(self) -> None:
        key = (ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME)
        before = self.metrics.peek(key, default=0)
        super().training_step()
        # RLlib goes on for ever when every runner fails in every iteration.
        sampled = self.metrics.peek(key, default=0) > before
        self._empty_iterations = 0 if sampled else self._empty_iterations + 1
        if self._empty_iterations >= MAX_EMPTY_ITERATIONS:
            raise RuntimeError(
                f"{self._empty_iterations} iterations without a sample: every environment runner "
                "fails; the runners' logs say why"
            )
