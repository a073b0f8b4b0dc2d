"""The losses of HMPPO, eq. (21) and (22) of the paper, arXiv 2310.17492, and their gradients.

Each is a mean over the R rows of a minibatch; leading axes, written … here, are those of several
networks. An actor's action falls into A parts, each with a ratio and clip of its own (A = 1: the
joint ratio of the whole action). The surrogates of the parts are summed up, not averaged: where
all ratios are 1, the gradient of the sum is that of the joint form, whatever A.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rllib_mec.hmppo.learning.active_rows import mean, weights


def policy_loss(
    log_ratio: Tensor, advantages: Tensor, clip: float | Tensor, active: Tensor | None = None
) -> Tensor:
    """PPO's clipped surrogate of one actor, eq. (21), with the sign of a loss; (…).

    Args:
        log_ratio: log pi(a|s) - log pi_old(a|s) of each part, (…, R, A).
        advantages: (…, R, A), or (…, R, 1) for all parts.
        clip: epsilon, half the width of the trust region of the ratio; (…, 1).
        active: where agents were there to act, (…, R, A) or (…, R, 1); None: everywhere. See
            :mod:`rllib_mec.hmppo.learning.active_rows`.
    """
    if active is not None:
        log_ratio = torch.where(active > 0, log_ratio, 0.0)
    ratio = log_ratio.exp()
    surrogate = torch.min(ratio * advantages, _clipped(ratio, clip) * advantages)
    if active is not None:
        return -mean(surrogate, active)
    return -surrogate.sum(dim=-1).mean(dim=-1)


def policy_loss_gradient(
    log_ratio: Tensor, advantages: Tensor, clip: float | Tensor, active: Tensor | None = None
) -> Tensor:
    """Gradient of :func:`policy_loss` with respect to ``log_ratio``, (…, R, A).

    It is zero where the ratio has left the trust region in the direction of the advantage, and
    where the agent was not there.
    """
    if active is not None:
        log_ratio = torch.where(active > 0, log_ratio, 0.0)
    ratio = log_ratio.exp()
    surrogate = ratio * advantages
    inside = surrogate <= _clipped(ratio, clip) * advantages
    if active is not None:
        return surrogate * inside * -weights(active)
    return surrogate * inside / -surrogate.shape[-2]


def _clipped(ratio: Tensor, clip: Any) -> Tensor:
    if isinstance(clip, Tensor):
        clip = clip[..., None]
    return ratio.clamp(1 - clip, 1 + clip)


def value_loss(values: Tensor, targets: Tensor) -> Tensor:
    """Squared error of the critic, eq. (22), averaged over rows and decision points; (…).

    Args:
        values: normalised values, (…, R, K).
        targets: normalised returns, (…, R, K), or (…, R, 1): one serves all points of its step.
    """
    return (values - targets).square().mean(dim=(-2, -1))


def value_loss_gradient(values: Tensor, targets: Tensor) -> Tensor:
    """Gradient of :func:`value_loss` with respect to ``values``, (…, R, K)."""
    rows, points = values.shape[-2:]
    return (values - targets) * (2.0 / (rows * points))
