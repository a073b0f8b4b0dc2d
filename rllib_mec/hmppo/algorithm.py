"""The algorithm: RLlib's PPO loop, and an end to it when no samples come any more."""

from __future__ import annotations

from typing import Any

from ray.rllib.algorithms.ppo import PPO
from ray.rllib.core import COMPONENT_LEARNER, COMPONENT_RL_MODULE
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    WEIGHTS_SEQ_NO,
)

from rllib_mec.hmppo.learning.gpus import check_gpus

MAX_EMPTY_ITERATIONS = 10


class HMPPO(PPO):
    """Hybrid multi-agent PPO (arXiv 2310.17492); see :class:`HMPPOConfig`."""

    _empty_iterations = 0

    @classmethod
    def get_default_config(cls) -> Any:
        from rllib_mec.hmppo.config import HMPPOConfig

        return HMPPOConfig()

    def setup(self, config: Any) -> None:
        check_gpus(config)
        super().setup(config)

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

    def restore_from_path(self, path: Any, *args: Any, **kwargs: Any) -> None:
        super().restore_from_path(path, *args, **kwargs)
        # RLlib drops the weights for a runner that is still busy with another piece of the
        # state, and runners ignore weights that are older than theirs. Either way they would
        # sample the next batch from another policy than the restored one.
        state = self.learner_group.get_state(
            components=f"{COMPONENT_LEARNER}/{COMPONENT_RL_MODULE}", inference_only=True
        )[COMPONENT_LEARNER]
        weights = {COMPONENT_RL_MODULE: state[COMPONENT_RL_MODULE]}
        numbered = weights | {WEIGHTS_SEQ_NO: state[WEIGHTS_SEQ_NO]}

        def load(runner: Any) -> None:
            runner.set_state(weights)  # without a number they are always taken
            runner.set_state(numbered)

        self.env_runner_group.foreach_env_runner(load)
