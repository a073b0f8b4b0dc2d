"""The gradient of an actor's and of a critic's loss in a minibatch, written by hand.

It is that of :meth:`HMPPOTorchLearner.compute_loss_for_module`, which autograd differentiates, for
S learners at once. Every function takes the rows of S minibatches, (S, R, …) each, and returns the
gradients of the parameters, (S, P), and the parts of the loss, (S,) each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from ray.rllib.algorithms.ppo.ppo import LEARNER_RESULTS_KL_KEY
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.learner import ENTROPY_KEY, POLICY_LOSS_KEY, VF_LOSS_KEY, Learner
from ray.rllib.evaluation.postprocessing import Postprocessing
from torch import Tensor

from rllib_mec.hmppo.distributions import ActionDistribution
from rllib_mec.hmppo.learning.active_rows import (
    ACTIVE,
    at_parameters,
    mean_entropy,
    mean_kl,
    weights,
)
from rllib_mec.hmppo.learning.losses import (
    policy_loss,
    policy_loss_gradient,
    value_loss,
    value_loss_gradient,
)
from rllib_mec.hmppo.modules.actor import Actor
from rllib_mec.hmppo.modules.critic import Critic
from rllib_mec.hmppo.modules.recurrent import memory_of

Rows = dict[str, Tensor]
Parts = dict[str, Tensor]


@dataclasses.dataclass(frozen=True)
class Coefficients:
    """The settings of S learners for one module, (S, 1) each.

    clip: epsilon of the ratio. entropy: weight of the entropy; None if it is 0 for all. kl: weight
    of the divergence from the policy that sampled; None without that loss. value: weight of the
    critic's loss. most: limit of the gradient; None without one.
    """

    clip: Tensor
    entropy: Tensor | None
    kl: Tensor | None
    value: Tensor
    most: Tensor | None


def actor_gradient(
    actor: Actor,
    values: Sequence[Tensor],
    rows: Rows,
    coefficients: Coefficients,
    with_parts: bool = False,
) -> tuple[Tensor, Parts]:
    """The gradient of the clipped surrogate less the entropy bonus, plus the KL loss."""
    parameters, tape = actor.trace(
        values, rows[Columns.OBS], rows[Columns.ACTIONS], memory_of(rows)
    )
    new = ActionDistribution(actor.codec, parameters)
    actions, advantages = rows[Columns.ACTIONS], rows[Postprocessing.ADVANTAGES]
    log_ratio = new.log_probs(actions) - rows[Columns.ACTION_LOGP]
    active = rows.get(ACTIVE)
    to_log_probs = policy_loss_gradient(log_ratio, advantages, coefficients.clip, active)
    gradient = new.pull_log_probs(actions, to_log_probs)
    share: Any = 1.0 / advantages.shape[-2]
    if active is not None:
        share = at_parameters(actor.codec, weights(active))
    if coefficients.entropy is not None:
        weight = coefficients.entropy[..., None] * share
        gradient = gradient - new.entropy_gradient() * weight
    old = None
    if coefficients.kl is not None:
        old = ActionDistribution(actor.codec, rows[Columns.ACTION_DIST_INPUTS])
        gradient = gradient + old.kl_gradient(new) * (coefficients.kl[..., None] * share)
    flat = _flat(actor.pull(values, tape, gradient))
    if not with_parts:
        return flat, {}
    surrogate = policy_loss(log_ratio, advantages, coefficients.clip, active)
    entropy = mean_entropy(actor, new, active)
    parts = {POLICY_LOSS_KEY: surrogate, ENTROPY_KEY: entropy, Learner.TOTAL_LOSS_KEY: surrogate}
    if coefficients.entropy is not None:
        parts[Learner.TOTAL_LOSS_KEY] = surrogate - coefficients.entropy[:, 0] * entropy
    if old is not None and coefficients.kl is not None:
        parts[LEARNER_RESULTS_KL_KEY] = kl = mean_kl(actor, old, new, active)
        parts[Learner.TOTAL_LOSS_KEY] = parts[Learner.TOTAL_LOSS_KEY] + coefficients.kl[:, 0] * kl
    return flat, parts


def critic_gradient(
    critic: Critic,
    values: Sequence[Tensor],
    rows: Rows,
    coefficients: Coefficients,
    with_parts: bool = False,
) -> tuple[Tensor, Parts]:
    """The gradient of the critic's squared error."""
    predicted, tape = critic.trace(values, rows[Columns.OBS], memory_of(rows))
    targets = rows[Postprocessing.VALUE_TARGETS]
    gradient = value_loss_gradient(predicted, targets) * coefficients.value[..., None]
    flat = _flat(critic.pull(values, tape, gradient))
    if not with_parts:
        return flat, {}
    loss = value_loss(predicted, targets)
    return flat, {VF_LOSS_KEY: loss, Learner.TOTAL_LOSS_KEY: coefficients.value[:, 0] * loss}


def _flat(gradients: Sequence[Tensor]) -> Tensor:
    return torch.cat([gradient.flatten(1) for gradient in gradients], dim=1)
