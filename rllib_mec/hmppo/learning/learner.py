"""The learner: RLlib's, around the stacked update, with autograd for losses of subclasses."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import torch
from ray.rllib.algorithms.ppo.ppo import LEARNER_RESULTS_KL_KEY
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.learner import ENTROPY_KEY, POLICY_LOSS_KEY, VF_LOSS_KEY
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.evaluation.postprocessing import Postprocessing
from ray.rllib.utils.metrics import (
    ALL_MODULES,
    NUM_ENV_STEPS_TRAINED,
    NUM_ENV_STEPS_TRAINED_LIFETIME,
    NUM_MODULE_STEPS_TRAINED,
    NUM_MODULE_STEPS_TRAINED_LIFETIME,
    WEIGHTS_SEQ_NO,
)
from torch import Tensor
from torch.nn.utils import get_total_norm

from rllib_mec.hmppo.distributions import ActionDistribution
from rllib_mec.hmppo.finite import check_batch
from rllib_mec.hmppo.learning.active_rows import ACTIVE, mean_entropy, mean_kl
from rllib_mec.hmppo.learning.episodes_to_team_batch import TEAM_BATCH
from rllib_mec.hmppo.learning.losses import policy_loss, value_loss
from rllib_mec.hmppo.learning.update import StackedUpdate
from rllib_mec.hmppo.modules.critic_plan import CriticPlan
from rllib_mec.hmppo.team_batch import TeamBatch

ModuleBatches = dict[str, dict[str, Tensor]]


class HMPPOTorchLearner(PPOTorchLearner):
    """Trains the actors with PPO's clipped surrogate and the critics on lambda-returns.

    Rows of all modules stay aligned: a minibatch holds the same steps of every agent.

    An update is :class:`StackedUpdate`'s, with gradients written by hand. A subclass with a loss of
    its own (``compute_loss_for_module``), and RLlib's experimental gradient scalers and torch
    schedulers, get autograd and RLlib's own step. With ``update: sequential`` such a loss sees, in
    each step, only the modules whose turn it is.
    """

    def build(self) -> None:
        super().build()
        self.plan: CriticPlan = self.config.critic_plan()
        self.module_configs = {
            mid: self.config.get_config_for_module(mid)
            for mid in self.module.keys()  # noqa: SIM118 (it is no dict)
        }
        self.generator = torch.Generator().manual_seed(self.config.seed or 0)
        if self.config.seed is None:
            self.generator.seed()
        self.stacked_update = StackedUpdate([self])

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        parameters = self.get_parameters(self.module[module_id])
        self.register_optimizer(
            module_id=module_id,
            optimizer=torch.optim.Adam(parameters, fused=True),
            params=parameters,
            lr_or_lr_schedule=config.lr,
        )

    @classmethod
    def rl_module_required_apis(cls) -> list[type]:
        return []

    def update(  # type: ignore[override]
        self,
        *args: Any,
        training_data: TrainingData | None = None,
        timesteps: dict[str, Any] | None = None,
        num_total_minibatches: int = 0,
        num_epochs: int = 1,
        minibatch_size: int | None = None,
        shuffle_batch_per_epoch: bool = False,
        _no_metrics_reduce: bool = False,
        **data: Any,
    ) -> Any:
        """Runs ``num_epochs`` epochs over the given episodes; see RLlib's ``Learner.update``."""
        self._check_is_built()
        training_data = training_data or TrainingData(**data)
        training_data.validate()
        training_data.solve_refs()
        batch = self._team_batch(training_data.episodes)
        check_batch(batch)
        settings: dict[str, Any] = {
            "minibatch_size": minibatch_size,
            "num_epochs": num_epochs,
            "num_total_minibatches": num_total_minibatches,
            "shuffle": shuffle_batch_per_epoch,
        }
        self.begin_update(timesteps or {})
        run = self._run_by_autograd if self.needs_autograd else self.stacked_update.run
        [parts] = run([batch], **settings)
        return self.end_update(parts, len(batch), timesteps or {}, not _no_metrics_reduce)

    @property
    def max_seq_len(self) -> int:
        """The most steps that gradients go back in recurrent modules."""
        first = next(iter(self.plan.critics))
        return self.module[first].unwrapped().model_config["max_seq_len"]

    @property
    def num_updates(self) -> int:
        """How many updates have begun; a part of the state that RLlib saves."""
        return self._weights_seq_no

    def begin_update(self, timesteps: dict[str, Any]) -> None:
        """What RLlib does before an update: schedules."""
        self.before_gradient_based_update(timesteps=timesteps)
        self._weights_seq_no += 1

    def end_update(
        self,
        parts: Mapping[str, Mapping[str, float]],
        rows: int,
        timesteps: dict[str, Any],
        reduce: bool = True,
    ) -> Any:
        """Logs an update, and does what RLlib does after one; returns its metrics if ``reduce``."""
        self._log_update(parts, rows)
        self.after_gradient_based_update(timesteps=timesteps)
        return self.metrics.reduce() if reduce else None

    def _team_batch(self, episodes: Any) -> TeamBatch:
        """Joins what batched runners sampled, or turns RLlib's episodes into a batch."""
        if isinstance(episodes[0], TeamBatch):
            return TeamBatch.concatenate(episodes)
        batch = self._learner_connector(
            rl_module=self.module,
            batch={},
            episodes=episodes,
            shared_data={},
            metrics=self.metrics,
        )
        return batch[TEAM_BATCH]

    def _set_optimizer_state(self, state: dict[str, Any]) -> None:
        super()._set_optimizer_state(state)
        # A learner may take over another's checkpoint with a learning rate of its own, for which
        # RLlib waits until the first update is over. A schedule goes on where the checkpoint is.
        for optimizer, schedule in self._optimizer_lr_schedules.items():
            if not schedule.use_schedule:
                self._set_optimizer_lr(optimizer, schedule.get_current_value())

    @property
    def needs_autograd(self) -> bool:
        """Whether something in this learner differs from what the stacked update computes."""
        own = HMPPOTorchLearner
        replaced = any(
            # Ray wraps the methods of remote learners.
            inspect.unwrap(getattr(type(self), name)) is not getattr(own, name)
            for name in (
                "compute_losses",
                "compute_loss_for_module",
                "compute_gradients",
                "postprocess_gradients",
                "postprocess_gradients_for_module",
                "apply_gradients",
            )
        )
        scheduled = self._grad_scalers is not None or self._lr_scheduler_classes is not None
        return replaced or scheduled or self.config.torch_compile_learner

    def _run_by_autograd(
        self, batches: list[TeamBatch], **settings: Any
    ) -> list[dict[str, dict[str, float]]]:
        """The same as :meth:`StackedUpdate.run` for one learner, by RLlib's own steps."""
        rows = self.stacked_update.rows(batches)
        chosen = list(self.stacked_update.minibatches(batches, **settings))
        parts: dict[str, dict[str, Tensor]] = {}
        for turn in self.stacked_update.turns(rows):
            losses: dict[str, Tensor] = {}
            for indices, _ in chosen:
                minibatch = {
                    mid: {name: column[0][indices[0]] for name, column in own.items()}
                    for mid, own in turn.items()
                }
                with self.stacked_update.precision():
                    _, losses, _ = self._update(minibatch)
            parts |= self._parts
            for mid, loss in losses.items():
                parts[mid][self.TOTAL_LOSS_KEY] = loss
        self.stacked_update.track_observations(batches)
        return [
            {mid: {name: part.item() for name, part in own.items()} for mid, own in parts.items()}
        ]

    def module_batches(self, team_batch: TeamBatch) -> ModuleBatches:
        """Returns each module's training columns, (R, …) each, from a team batch."""
        rows = self.stacked_update.rows([team_batch])
        return {mid: {name: c[0] for name, c in own.items()} for mid, own in rows.items()}

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Tensor]
    ) -> Tensor:
        if module_id in self.plan.critics:
            loss = value_loss(fwd_out[Columns.VF_PREDS], batch[Postprocessing.VALUE_TARGETS])
            self._parts[module_id] = {VF_LOSS_KEY: loss}
            return config.vf_loss_coeff * loss
        codec = self.plan.team.codecs[module_id]
        new = ActionDistribution(codec, fwd_out[Columns.ACTION_DIST_INPUTS])
        actor, active = self.module[module_id].unwrapped(), batch.get(ACTIVE)
        log_ratio = new.log_probs(batch[Columns.ACTIONS]) - batch[Columns.ACTION_LOGP]
        surrogate = policy_loss(
            log_ratio, batch[Postprocessing.ADVANTAGES], config.clip_param, active
        )
        entropy = mean_entropy(actor, new, active)
        entropy_coeff = self.entropy_coeff_schedulers_per_module[module_id].get_current_value()
        loss = surrogate - entropy_coeff * entropy
        self._parts[module_id] = {POLICY_LOSS_KEY: surrogate, ENTROPY_KEY: entropy}
        if config.use_kl_loss:
            old = ActionDistribution(codec, batch[Columns.ACTION_DIST_INPUTS])
            kl = mean_kl(actor, old, new, active)
            loss = loss + self.curr_kl_coeffs_per_module[module_id] * kl
            self._parts[module_id][LEARNER_RESULTS_KL_KEY] = kl
        return loss

    def postprocess_gradients_for_module(
        self, *, module_id: str, config: Any = None, module_gradients_dict: dict[Any, Tensor]
    ) -> dict[Any, Tensor]:
        if not module_gradients_dict:  # it is another one's turn: RLlib would log a norm of 0
            return {}
        return super().postprocess_gradients_for_module(
            module_id=module_id, config=config, module_gradients_dict=module_gradients_dict
        )

    def compute_losses(
        self, *, fwd_out: dict[str, Any], batch: dict[str, Any]
    ) -> dict[str, Tensor]:
        # Only the last minibatch's parts are logged: logging each would cost as much as learning.
        self._parts: dict[str, dict[str, Tensor]] = {}
        return super().compute_losses(fwd_out=fwd_out, batch=batch)

    def _log_update(self, parts: Mapping[str, Mapping[str, float]], rows: int) -> None:
        for module_id, own in parts.items():
            value = own[self.TOTAL_LOSS_KEY]
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"the loss of {module_id} is {value}: training has diverged (try a lower lr)"
                )
            # The last minibatch's step comes after its loss.
            module = self.module[module_id]
            numbers = [own for own in module.buffers() if own.is_floating_point()]
            if not get_total_norm([*module.parameters(), *numbers]).isfinite():
                raise FloatingPointError(
                    f"the weights of {module_id} are not finite: training has diverged (try a "
                    "lower lr)"
                )
            logged = {**own, WEIGHTS_SEQ_NO: self._weights_seq_no}
            self.metrics.log_dict(logged, key=module_id, window=1)
            self.metrics.log_value((module_id, NUM_MODULE_STEPS_TRAINED), rows, reduce="sum")
            for key in ((module_id,), (ALL_MODULES,)):
                self.metrics.log_value(
                    (*key, NUM_MODULE_STEPS_TRAINED_LIFETIME), rows, reduce="lifetime_sum"
                )
        self.metrics.log_value((ALL_MODULES, NUM_ENV_STEPS_TRAINED), rows, reduce="sum")
        self.metrics.log_value(
            (ALL_MODULES, NUM_ENV_STEPS_TRAINED_LIFETIME), rows, reduce="lifetime_sum"
        )
