"""Returns and advantages: generalised advantage estimation on segments of episodes.

A *segment* is an unbroken run of steps of one episode within a training batch. Rows of a batch
are ordered segment by segment; a segment ends where its episode ends or where the batch cuts it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def next_values(
    values: Tensor, lengths: Tensor, final_values: Tensor, terminated: Tensor
) -> Tensor:
    """Returns the value of the state that follows each row, (R, …).

    Args:
        values: values of each row's state, (R, …): several, if members of a group have their own.
        lengths: rows of each segment, (S,), summing to R.
        final_values: value of the state after each segment, (S, …).
        terminated: whether the episode terminated there, (S,): then that value counts as 0. A
            truncated or cut episode counts its ``final_values``.
    """
    following = torch.empty_like(values)
    following[:-1] = values[1:]
    last = lengths.cumsum(0) - 1
    following[last] = final_values * _along(~terminated, final_values)
    return following


def lambda_returns(
    rewards: Tensor,
    following: Tensor,
    lengths: Tensor,
    gamma: float | Tensor,
    lambda_: float | Tensor,
) -> Tensor:
    """Returns the lambda-return of each row, (R, …); minus the row's value it is the GAE advantage.

    G_t = r_t + gamma * ((1 - lambda) * V(s_t+1) + lambda * G_t+1), with G_t+1 = V(s_t+1) at a
    segment's end (eq. (17) and (18) of the paper; Schulman et al., arXiv 1506.02438).

    Args:
        rewards: (R,). following: :func:`next_values`, (R, …). lengths: rows per segment, (S,).
        gamma, lambda_: the same for all, or those of each segment, (S,).
    """
    steps = int(lengths.max())
    # Segments aligned at their ends, (steps, S), so that one loop serves all of them.
    offset = torch.arange(steps, device=rewards.device)[:, None] - (steps - lengths)
    start = lengths.cumsum(0) - lengths
    index = (start + offset).clamp_min(0)
    value = following[index]
    reward = _along(rewards[index], value)
    gamma, lambda_ = (_along(own, value[0]) for own in (gamma, lambda_))
    returns = torch.empty_like(value)
    running = value[-1]
    for t in range(steps - 1, -1, -1):
        running = reward[t] + gamma * ((1 - lambda_) * value[t] + lambda_ * running)
        returns[t] = running
    # Rows are segment-major, the aligned array is time-major.
    return returns.transpose(0, 1)[(offset >= 0).T]


def _along(per_row: Any, values: Tensor) -> Any:
    """A number, or one for each of some rows, in a shape to be multiplied with their values."""
    if not isinstance(per_row, Tensor):
        return per_row
    return per_row.reshape(per_row.shape + (1,) * (values.dim() - per_row.dim()))


def normalised(advantages: Tensor, active: Tensor | None = None) -> Tensor:
    """Advantages with mean 0 and standard deviation 1 over the batch, (…, R).

    Args:
        active: which of them count, (…, R), 1 or 0; None: all. The others become 0.
    """
    if active is not None:
        weights = active / active.sum(dim=-1, keepdim=True).clamp_min(1.0)
        centred = advantages - (weights * advantages).sum(dim=-1, keepdim=True)
        variance = (weights * centred.square()).sum(dim=-1, keepdim=True)
        return active * centred / variance.sqrt().clamp_min(1e-6)
    centred = advantages - advantages.mean(dim=-1, keepdim=True)
    return centred / advantages.std(dim=-1, correction=0, keepdim=True).clamp_min(1e-6)
