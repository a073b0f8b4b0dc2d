"""The algorithm: RLlib's PPO loop, also with sampling ahead, and an end to it without samples."""

from __future__ import annotations

from typing import Any

from ray.rllib.algorithms.ppo import PPO
from ray.rllib.core import COMPONENT_LEARNER_GROUP
from ray.rllib.utils.metrics import (
    ALL_MODULES,
    ENV_RUNNER_RESULTS,
    ENV_RUNNER_SAMPLING_TIMER,
    LEARNER_RESULTS,
    LEARNER_UPDATE_TIMER,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    NUM_MODULE_STEPS_TRAINED_LIFETIME,
    SYNCH_ENV_CONNECTOR_STATES_TIMER,
    SYNCH_WORKER_WEIGHTS_TIMER,
    TIMERS,
)

from rllib_mec.hmppo.learning.gpus import check_gpus
from rllib_mec.hmppo.recording.runners import RecordingRunner
from rllib_mec.hmppo.sampling.ahead import SampleAhead
from rllib_mec.hmppo.sampling.watchdog import Watchdog
from rllib_mec.hmppo.sampling.weights import learned_weights, load_weights

CHANGEABLE = (
    "lr",
    "gamma",
    "lambda",
    "clip_param",
    "entropy_coeff",
    "vf_loss_coeff",
    "kl_coeff",
    "grad_clip",
    "num_epochs",
    "minibatch_size",
)
"""Settings that are its own in an algorithm that takes over the checkpoint of another.

All others say what a checkpoint holds (networks, filters) or are about sampling.
"""

_STEPS = (ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME)
_TRAINED = (LEARNER_RESULTS, ALL_MODULES, NUM_MODULE_STEPS_TRAINED_LIFETIME)


class HMPPO(PPO):
    """Hybrid multi-agent PPO (arXiv 2310.17492); see :class:`HMPPOConfig`.

    Environment runners that die or raise are started again, by RLlib; one that does not answer for
    twice ``sample_timeout_s``, too. Training ends with the runners' last error when there has been
    no sample for ten iterations and a minute.
    """

    _ahead: SampleAhead | None = None
    _watchdog: Watchdog

    @classmethod
    def get_default_config(cls) -> Any:
        from rllib_mec.hmppo.config import HMPPOConfig

        return HMPPOConfig()

    def setup(self, config: Any) -> None:
        check_gpus(config)
        super().setup(config)
        self._watchdog = Watchdog(self.env_runner_group, self.config.sample_timeout_s)
        if self.config.sample_ahead:
            self._ahead = SampleAhead(
                self.env_runner_group, self.config, lambda: learned_weights(self)
            )

    def training_step(self) -> None:
        before = self.metrics.peek(_STEPS, default=0)
        self._watchdog.begin()
        if self._ahead is None:
            super().training_step()
        else:
            self._train_ahead(self._ahead)
        self._watchdog.end(sampled=self.metrics.peek(_STEPS, default=0) > before)

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        # Evaluation without runners of its own samples with the training's, which may record.
        runner = self.env_runner if self.eval_env_runner_group is None else None
        if not isinstance(runner, RecordingRunner):
            return super().evaluate(*args, **kwargs)
        runner.recording = False
        try:
            return super().evaluate(*args, **kwargs)
        finally:
            runner.recording = True

    def _train_ahead(self, ahead: SampleAhead) -> None:
        """PPO's training step with the next batch asked for before learning from this one."""
        metrics, config = self.metrics, self.config
        with metrics.log_time((TIMERS, ENV_RUNNER_SAMPLING_TIMER)):
            sample = ahead.collect()
        if not sample.episodes:
            return
        metrics.aggregate(sample.metrics, key=ENV_RUNNER_RESULTS)
        # RLlib does this after an iteration, where it would wait for the batch in flight.
        with metrics.log_time((TIMERS, SYNCH_ENV_CONNECTOR_STATES_TIMER)):
            self.env_runner_group.sync_env_runner_states(
                config=config,
                env_steps_sampled=metrics.peek(_STEPS),
                connector_states=sample.connector_states,
                env_to_module=self.env_to_module_connector,
                module_to_env=self.module_to_env_connector,
            )
        ahead.request()
        with metrics.log_time((TIMERS, LEARNER_UPDATE_TIMER)):
            results = self.learner_group.update(
                episodes=sample.episodes,
                timesteps=timesteps(metrics),
                num_epochs=config.num_epochs,
                minibatch_size=config.minibatch_size,
                shuffle_batch_per_epoch=config.shuffle_batch_per_epoch,
            )
            metrics.aggregate(results, key=LEARNER_RESULTS)
        # Remote runners get their weights with each request; the local one is what evaluation,
        # checkpoints and restarted runners start from.
        with metrics.log_time((TIMERS, SYNCH_WORKER_WEIGHTS_TIMER)):
            if self.env_runner is not None:
                load_weights(self.env_runner, learned_weights(self))

    def restore_from_path(self, path: Any, *args: Any, **kwargs: Any) -> None:
        super().restore_from_path(path, *args, **kwargs)
        self._begin_anew_with_runners()

    def set_state(self, state: Any) -> None:
        super().set_state(state)
        if COMPONENT_LEARNER_GROUP in state:
            self._begin_anew_with_runners()

    def _begin_anew_with_runners(self) -> None:
        """Makes the runners sample from the policy that was restored."""
        if self._ahead is not None:
            self._ahead.discard()  # another policy has sampled it
        # RLlib drops the weights for a runner that is still busy with another piece of the
        # state, and runners ignore weights that are older than theirs. Either way they would
        # sample the next batch from another policy than the restored one.
        weights = learned_weights(self)
        self.env_runner_group.foreach_env_runner(lambda runner: load_weights(runner, weights))


def timesteps(metrics: Any) -> dict[str, Any]:
    """Returns the counters that RLlib's schedules go by, from an algorithm's metrics."""
    return {
        NUM_ENV_STEPS_SAMPLED_LIFETIME: metrics.peek(_STEPS),
        NUM_MODULE_STEPS_TRAINED_LIFETIME: metrics.peek(_TRAINED, default=0),
    }
