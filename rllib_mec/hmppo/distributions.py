"""The distribution of one agent's actions: coins, choices and Gaussians, independent.

Parameters and actions are flat vectors as laid out by
:class:`~rllib_mec.hmppo.action_codec.ActionCodec`: leaf after leaf, a continuous leaf with its
means first and its log standard deviations after them.
"""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import torch
from ray.rllib.core.distribution.torch.torch_distribution import TorchDistribution
from torch import Tensor
from torch.nn import functional

from rllib_mec.hmppo.action_codec import BINARY, CONTINUOUS, ActionCodec, Leaf

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


class ActionDistribution:
    """Distribution of actions (B, size) with parameters (B, num_parameters)."""

    def __init__(self, codec: ActionCodec, parameters: Tensor) -> None:
        self.codec = codec
        sizes = [leaf.num_parameters for leaf in codec.leaves]
        parts = (parameters,) if len(sizes) == 1 else parameters.split(sizes, dim=-1)
        self._parts = list(zip(codec.leaves, parts, strict=True))

    def sample(self) -> Tensor:
        """Draws actions, (B, size)."""
        return _join([_sample(leaf, p) for leaf, p in self._parts])

    def mode(self) -> Tensor:
        """Returns the most probable actions, (B, size)."""
        return _join([_mode(leaf, p) for leaf, p in self._parts])

    def log_prob(self, actions: Tensor) -> Tensor:
        """Log probability (density) of flat actions, (B,)."""
        columns = self.codec.split(actions)
        return _total(
            _log_prob(leaf, p, a) for (leaf, p), a in zip(self._parts, columns, strict=True)
        )

    def entropy(self) -> Tensor:
        """Entropy in nats, (B,)."""
        return _total(_entropy(leaf, p) for leaf, p in self._parts)

    def kl(self, other: ActionDistribution) -> Tensor:
        """Kullback-Leibler divergence from ``self`` to ``other`` in nats, (B,)."""
        return _total(
            _kl(leaf, p, q) for (leaf, p), (_, q) in zip(self._parts, other._parts, strict=True)
        )


def rllib_distribution(space: gym.Space) -> type[TorchDistribution]:
    """Returns RLlib's form of the distribution for ``space``, for code outside this package."""
    codec = ActionCodec(space)

    class SpaceDistribution(TorchDistribution):
        def __init__(self, parameters: Tensor, deterministic: bool = False) -> None:
            self._parameters = parameters
            self._own = ActionDistribution(codec, parameters)
            self._deterministic = deterministic

        def _get_torch_distribution(self, *args: Any, **kwargs: Any) -> None:
            return None

        @staticmethod
        def required_input_dim(space: gym.Space, **kwargs: Any) -> int:
            return ActionCodec(space).num_parameters

        @classmethod
        def from_logits(cls, logits: Tensor, **kwargs: Any) -> TorchDistribution:
            return cls(logits)

        def to_deterministic(self) -> TorchDistribution:
            return type(self)(self._parameters, deterministic=True)

        def sample(self, *args: Any, **kwargs: Any) -> Any:
            flat = self._own.mode() if self._deterministic else self._own.sample()
            return codec.unflatten(flat)

        def logp(self, value: Any) -> Tensor:
            flat = torch.as_tensor(codec.flatten(value), device=self._parameters.device)
            return self._own.log_prob(flat)

        def entropy(self) -> Tensor:
            return self._own.entropy()

        def kl(self, other: Any) -> Tensor:
            return self._own.kl(other._own)

    return SpaceDistribution


def _join(columns: list[Tensor]) -> Tensor:
    return columns[0] if len(columns) == 1 else torch.cat(columns, dim=-1)


def _total(terms: Any) -> Tensor:
    first, *rest = terms
    return sum(rest, start=first)


def _categories(leaf: Leaf, parameters: Tensor) -> list[Tensor]:
    return [functional.log_softmax(part, dim=-1) for part in parameters.split(leaf.choices, dim=-1)]


def _sample(leaf: Leaf, parameters: Tensor) -> Tensor:
    if leaf.kind == BINARY:
        return torch.bernoulli(torch.sigmoid(parameters))
    if leaf.kind == CONTINUOUS:
        mean, log_std = parameters.chunk(2, dim=-1)
        return mean + log_std.exp() * torch.randn_like(mean)
    draws = [torch.multinomial(logp.exp(), 1) for logp in _categories(leaf, parameters)]
    return torch.cat(draws, dim=-1).to(parameters.dtype)


def _mode(leaf: Leaf, parameters: Tensor) -> Tensor:
    if leaf.kind == BINARY:
        return (parameters > 0).to(parameters.dtype)
    if leaf.kind == CONTINUOUS:
        return parameters.chunk(2, dim=-1)[0]
    best = [part.argmax(dim=-1) for part in parameters.split(leaf.choices, dim=-1)]
    return torch.stack(best, dim=-1).to(parameters.dtype)


def _log_prob(leaf: Leaf, parameters: Tensor, actions: Tensor) -> Tensor:
    if leaf.kind == BINARY:
        # log sigmoid(+-l): the sign picks the outcome that happened.
        return functional.logsigmoid(parameters * (2 * actions - 1)).sum(-1)
    if leaf.kind == CONTINUOUS:
        mean, log_std = parameters.chunk(2, dim=-1)
        z = (actions - mean) * (-log_std).exp()
        return (-0.5 * z * z - log_std - _LOG_SQRT_2PI).sum(-1)
    chosen = actions.round().long()
    return _total(
        logp.gather(-1, chosen[:, i : i + 1]).squeeze(-1)
        for i, logp in enumerate(_categories(leaf, parameters))
    )


def _entropy(leaf: Leaf, parameters: Tensor) -> Tensor:
    if leaf.kind == BINARY:
        p = torch.sigmoid(parameters)
        return (functional.softplus(parameters) - p * parameters).sum(-1)
    if leaf.kind == CONTINUOUS:
        log_std = parameters.chunk(2, dim=-1)[1]
        return (log_std + 0.5 + _LOG_SQRT_2PI).sum(-1)
    return _total(-(logp.exp() * logp).sum(-1) for logp in _categories(leaf, parameters))


def _kl(leaf: Leaf, parameters: Tensor, others: Tensor) -> Tensor:
    if leaf.kind == BINARY:
        p = torch.sigmoid(parameters)
        difference = functional.softplus(others) - functional.softplus(parameters)
        return (p * (parameters - others) + difference).sum(-1)
    if leaf.kind == CONTINUOUS:
        mean, log_std = parameters.chunk(2, dim=-1)
        other_mean, other_log_std = others.chunk(2, dim=-1)
        variance, other_variance = (2 * log_std).exp(), (2 * other_log_std).exp()
        spread = (variance + (mean - other_mean) ** 2) / (2 * other_variance)
        return (other_log_std - log_std + spread - 0.5).sum(-1)
    pairs = zip(_categories(leaf, parameters), _categories(leaf, others), strict=True)
    return _total((p.exp() * (p - q)).sum(-1) for p, q in pairs)
