"""The learner: from a team batch to values, returns, advantages and minibatch updates."""

from __future__ import annotations

import math
from collections.abc import Iterator
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
from torch import Tensor, nn

from rllib_mec.hmppo.distributions import ActionDistribution
from rllib_mec.hmppo.learning.advantages import lambda_returns, next_values, normalised
from rllib_mec.hmppo.learning.episodes_to_team_batch import TEAM_BATCH
from rllib_mec.hmppo.learning.losses import policy_loss, value_loss
from rllib_mec.hmppo.learning.optimiser import FusedAdam, clip_global_norm
from rllib_mec.hmppo.modules.critic import Critic, CriticPlan
from rllib_mec.hmppo.team_batch import TeamBatch

ModuleBatches = dict[str, dict[str, Tensor]]


class HMPPOTorchLearner(PPOTorchLearner):
    """Trains the actors with PPO's clipped surrogate and the critics on lambda-returns.

    Rows of all modules stay aligned: a minibatch holds the same steps of every agent.
    """

    def build(self) -> None:
        super().build()
        self.plan: CriticPlan = self.config.critic_plan()
        modules = self.module.keys()
        self._gradient_norms: dict[str, Tensor] = {}
        self._module_configs = {mid: self.config.get_config_for_module(mid) for mid in modules}
        self._minibatch_generator = torch.Generator().manual_seed(self.config.seed or 0)
        if self.config.seed is None:
            self._minibatch_generator.seed()

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        parameters = self.get_parameters(self.module[module_id])
        self.register_optimizer(
            module_id=module_id,
            optimizer=FusedAdam(parameters),
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
        self.before_gradient_based_update(timesteps=timesteps or {})
        training_data = training_data or TrainingData(**data)
        training_data.validate()
        training_data.solve_refs()
        self._weights_seq_no += 1
        team_batch = self._team_batch(training_data.episodes)
        batch = self.module_batches(team_batch)
        rows = len(team_batch.rewards)
        losses: dict[str, Tensor] = {}
        for indices in self._minibatches(
            rows, minibatch_size or rows, num_epochs, num_total_minibatches, shuffle_batch_per_epoch
        ):
            minibatch = {
                mid: {name: column[indices] for name, column in columns.items()}
                for mid, columns in batch.items()
            }
            _, losses, _ = self._update(minibatch)
        self._log_update(losses, rows)
        self.after_gradient_based_update(timesteps=timesteps or {})
        if _no_metrics_reduce:
            return None
        return self.metrics.reduce()

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

    def _uncompiled_update(self, batch: ModuleBatches, **kwargs: Any) -> Any:
        """Takes one optimiser step on every module of a minibatch.

        What RLlib's own step does besides (a metric and a check of every gradient, each time)
        costs as much as learning does with small networks.
        """
        if self._grad_scalers is not None or self._lr_scheduler_classes is not None:
            return super()._uncompiled_update(batch, **kwargs)
        outputs = self.module.forward_train(batch)
        losses = self.compute_losses(fwd_out=outputs, batch=batch)
        torch.autograd.backward(list(losses.values()))
        for module_id in losses:
            optimizer = self.get_optimizer(module_id)
            self._clip(module_id, optimizer.param_groups[0]["params"])
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return outputs, losses, {}

    def _clip(self, module_id: str, parameters: list[Tensor]) -> None:
        config = self._module_configs[module_id]
        if config.grad_clip is None:
            return
        if config.grad_clip_by == "value":
            nn.utils.clip_grad_value_(parameters, config.grad_clip)
        elif config.grad_clip_by == "norm":
            for parameter in parameters:
                nn.utils.clip_grad_norm_(parameter, config.grad_clip)
        else:
            self._gradient_norms[module_id] = clip_global_norm(parameters, config.grad_clip)

    def _minibatches(
        self, rows: int, size: int, epochs: int, total: int, shuffle: bool
    ) -> Iterator[Tensor]:
        """Yields row indices; ``total`` > 0 fixes their number, as several learners need it."""
        per_epoch = max(rows // size, 1)
        for count in range(total or epochs * per_epoch):
            start = count % per_epoch * size
            if start == 0:
                order = (
                    torch.randperm(rows, generator=self._minibatch_generator)
                    if shuffle
                    else torch.arange(rows)
                ).to(self._device)
            # The last minibatch of an epoch takes the remainder, so that no row is left out.
            is_last = (count + 1) % per_epoch == 0
            yield order[start : rows if is_last else start + size]

    @torch.no_grad()
    def module_batches(self, team_batch: TeamBatch) -> ModuleBatches:
        """Returns each module's training columns, (R, …) each, from a team batch."""
        team, plan = self.plan.team, self.plan
        tensors = {
            name: {a: self._tensor(v) for a, v in getattr(team_batch, name).items()}
            for name in ("observations", "actions", "log_probs", "final_observations", "parameters")
        }
        rewards, lengths, terminated = (
            self._tensor(column)
            for column in (team_batch.rewards, team_batch.lengths, team_batch.terminated)
        )
        actions = tensors["actions"]
        observed = {a: team.fill_slots(a, tensors["observations"][a], actions) for a in team.agents}
        final = tensors["final_observations"]
        if plan.bootstraps_from_actions:
            # The state after a cut has no action yet; one drawn from the policy stands in.
            final_actions, _, _ = self.module.act(final, explore=True)
            final = {a: team.fill_slots(a, final[a], final_actions) for a in team.agents}

        batch: ModuleBatches = {}
        for critic_id, agents in plan.critics.items():
            critic: Critic = self.module[critic_id].unwrapped()
            inputs = plan.inputs(critic_id, observed)
            values = critic.compute_values({Columns.OBS: inputs})
            final_values = critic.compute_values({Columns.OBS: plan.inputs(critic_id, final)})
            following = next_values(values[:, 0], lengths, final_values[:, 0], terminated)
            returns = lambda_returns(
                rewards, following, lengths, self.config.gamma, self.config.lambda_
            )
            if self.should_module_be_updated(critic_id):
                critic.track(returns)
            batch[critic_id] = {
                Columns.OBS: inputs,
                Postprocessing.VALUE_TARGETS: critic.normalise(returns),
            }
            for agent in agents:
                baseline = values[:, plan.baseline_point(agent)]
                batch[agent] = {
                    Columns.OBS: observed[agent],
                    Columns.ACTIONS: actions[agent],
                    Columns.ACTION_LOGP: tensors["log_probs"][agent],
                    Postprocessing.ADVANTAGES: normalised(returns - baseline),
                }
                if self._module_configs[agent].use_kl_loss:
                    batch[agent][Columns.ACTION_DIST_INPUTS] = tensors["parameters"][agent]
        return {mid: batch[mid] for mid in batch if self.should_module_be_updated(mid)}

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Tensor]
    ) -> Tensor:
        if module_id in self.plan.critics:
            loss = value_loss(fwd_out[Columns.VF_PREDS], batch[Postprocessing.VALUE_TARGETS])
            self._losses[module_id] = {VF_LOSS_KEY: loss}
            return config.vf_loss_coeff * loss
        codec = self.plan.team.codecs[module_id]
        new = ActionDistribution(codec, fwd_out[Columns.ACTION_DIST_INPUTS])
        log_ratio = new.log_prob(batch[Columns.ACTIONS]) - batch[Columns.ACTION_LOGP]
        surrogate = policy_loss(log_ratio, batch[Postprocessing.ADVANTAGES], config.clip_param)
        entropy = new.entropy().mean()
        entropy_coeff = self.entropy_coeff_schedulers_per_module[module_id].get_current_value()
        loss = surrogate - entropy_coeff * entropy
        self._losses[module_id] = {POLICY_LOSS_KEY: surrogate, ENTROPY_KEY: entropy}
        if config.use_kl_loss:
            old = ActionDistribution(codec, batch[Columns.ACTION_DIST_INPUTS])
            kl = old.kl(new).mean()
            loss = loss + self.curr_kl_coeffs_per_module[module_id] * kl
            self._losses[module_id][LEARNER_RESULTS_KL_KEY] = kl
        return loss

    def compute_losses(
        self, *, fwd_out: dict[str, Any], batch: dict[str, Any]
    ) -> dict[str, Tensor]:
        # Only the last minibatch's parts are logged: logging each would cost as much as learning.
        self._losses: dict[str, dict[str, Tensor]] = {}
        return super().compute_losses(fwd_out=fwd_out, batch=batch)

    def _log_update(self, losses: dict[str, Tensor], rows: int) -> None:
        for module_id, loss in losses.items():
            value = loss.item()
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"the loss of {module_id} is {value}: training has diverged (try a lower lr)"
                )
            parts = {name: part.item() for name, part in self._losses[module_id].items()}
            parts[self.TOTAL_LOSS_KEY] = value
            parts[WEIGHTS_SEQ_NO] = self._weights_seq_no
            if module_id in self._gradient_norms:
                parts["gradients_global_norm"] = self._gradient_norms[module_id].item()
            self.metrics.log_dict(parts, key=module_id, window=1)
            self.metrics.log_value((module_id, NUM_MODULE_STEPS_TRAINED), rows, reduce="sum")
            for key in ((module_id,), (ALL_MODULES,)):
                self.metrics.log_value(
                    (*key, NUM_MODULE_STEPS_TRAINED_LIFETIME), rows, reduce="lifetime_sum"
                )
        self.metrics.log_value((ALL_MODULES, NUM_ENV_STEPS_TRAINED), rows, reduce="sum")
        self.metrics.log_value(
            (ALL_MODULES, NUM_ENV_STEPS_TRAINED_LIFETIME), rows, reduce="lifetime_sum"
        )

    def _tensor(self, array: Any) -> Tensor:
        # What comes through Ray's object store is read-only, which torch does not know.
        writable = array if array.flags.writeable else array.copy()
        return torch.as_tensor(writable, device=self._device)
