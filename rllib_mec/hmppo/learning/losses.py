"""The losses of HMPPO, eq. (21) and (22) of the paper, arXiv 2310.17492, and their gradients.

Each is a mean over the R rows of a minibatch; leading axes, written … here, are those of several
networks.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def policy_loss(log_ratio: Tensor, advantages: Tensor, clip: float | Tensor) -> Tensor:
    """PPO's clipped surrogate of one actor, eq. (21), with the sign of a loss; (…).

    Args:
        log_ratio: log pi(a|s) - log pi_old(a|s), (…, R).
        advantages: (…, R).
        clip: epsilon, half the width of the trust region of the ratio.
    """
    ratio = log_ratio.exp()
    return -torch.min(ratio * advantages, _clipped(ratio, clip) * advantages).mean(dim=-1)


def policy_loss_gradient(log_ratio: Tensor, advantages: Tensor, clip: float | Tensor) -> Tensor:
    """Gradient of :func:`policy_loss` with respect to ``log_ratio``, (…, R).

    It is zero where the ratio has left the trust region in the direction of the advantage.
    """
    ratio = log_ratio.exp()
    surrogate = ratio * advantages
    inside = surrogate <= _clipped(ratio, clip) * advantages
    return surrogate * inside / -surrogate.shape[-1]


def _clipped(ratio: Tensor, clip: Any) -> Tensor:
    return ratio.clamp(1 - clip, 1 + clip)


def value_loss(values: Tensor, targets: Tensor) -> Tensor:
    """Squared error of the critic, eq. (22), averaged over rows and decision points; (…).

    Args:
        values: normalised values, (…, R, K).
        targets: normalised returns, (…, R); one return serves all points of its step.
    """
    return (values - targets[..., None]).square().mean(dim=(-2, -1))


def value_loss_gradient(values: Tensor, targets: Tensor) -> Tensor:
    """Gradient of :func:`value_loss` with respect to ``values``, (…, R, K)."""
    rows, points = values.shape[-2:]
    return (values - targets[..., None]) * (2.0 / (rows * points))
