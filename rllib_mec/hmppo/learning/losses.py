"""The losses of HMPPO, eq. (21) and (22) of the paper, arXiv 2310.17492."""

from __future__ import annotations

import torch
from torch import Tensor


def policy_loss(log_ratio: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """PPO's clipped surrogate of one actor, eq. (21), with the sign of a loss.

    Args:
        log_ratio: log pi(a|s) - log pi_old(a|s), (R,).
        advantages: (R,).
        clip: epsilon, half the width of the trust region of the ratio.
    """
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - clip, 1 + clip)
    return -torch.min(ratio * advantages, clipped * advantages).mean()


def value_loss(values: Tensor, targets: Tensor) -> Tensor:
    """Squared error of the critic, eq. (22), averaged over rows and decision points.

    Args:
        values: normalised values, (R, K).
        targets: normalised returns, (R,); one return serves all points of its step.
    """
    return (values - targets[:, None]).square().mean()
