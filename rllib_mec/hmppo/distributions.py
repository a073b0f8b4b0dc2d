"""The distribution of one agent's actions: coins, choices and Gaussians, independent.

Parameters and actions are flat vectors as laid out by
:class:`~rllib_mec.hmppo.action_codec.ActionCodec`: leaf after leaf, a continuous leaf with its
means first and its log standard deviations after them. Leading axes, written … here, may be any.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, Protocol

import gymnasium as gym
import torch
from ray.rllib.core.distribution.torch.torch_distribution import TorchDistribution
from torch import Tensor
from torch.nn import functional

from rllib_mec.hmppo.action_codec import BINARY, CATEGORICAL, CONTINUOUS, ActionCodec, Leaf

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


class LeafDistribution(Protocol):
    """Distribution of one leaf's entries, independent of each other.

    Gradients are with respect to the parameters, of the sum of what they are the gradient of.
    """

    def __init__(self, leaf: Leaf, parameters: Tensor) -> None: ...

    def sample(self, noise: Tensor) -> Tensor: ...

    def mode(self) -> Tensor: ...

    def log_prob(self, actions: Tensor) -> Tensor: ...

    def log_prob_gradient(self, actions: Tensor) -> Tensor: ...

    def entropy(self) -> Tensor: ...

    def entropy_gradient(self) -> Tensor: ...

    def kl(self, other: Any) -> Tensor: ...

    def kl_gradient(self, other: Any) -> Tensor:
        """Of ``kl`` with respect to the parameters of ``other``."""


class Coins:
    """Independent coins; the parameters are logits."""

    def __init__(self, leaf: Leaf, parameters: Tensor) -> None:
        self.logits = parameters

    def sample(self, noise: Tensor) -> Tensor:
        return (noise < self.probabilities).to(self.logits.dtype)

    def mode(self) -> Tensor:
        return (self.logits > 0).to(self.logits.dtype)

    @functools.cached_property
    def probabilities(self) -> Tensor:
        return torch.sigmoid(self.logits)

    def log_prob(self, actions: Tensor) -> Tensor:
        # log sigmoid(+-l): the sign picks the outcome that happened.
        return functional.logsigmoid(self.logits * (2 * actions - 1)).sum(-1)

    def log_prob_gradient(self, actions: Tensor) -> Tensor:
        return actions - self.probabilities

    def entropy(self) -> Tensor:
        return (functional.softplus(self.logits) - self.probabilities * self.logits).sum(-1)

    def entropy_gradient(self) -> Tensor:
        p = self.probabilities
        return self.logits * (p * p - p)

    def kl(self, other: Coins) -> Tensor:
        difference = functional.softplus(other.logits) - functional.softplus(self.logits)
        return (self.probabilities * (self.logits - other.logits) + difference).sum(-1)

    def kl_gradient(self, other: Coins) -> Tensor:
        return other.probabilities - self.probabilities


class Choices:
    """One choice per entry; the parameters are each entry's logits, one entry after the other."""

    def __init__(self, leaf: Leaf, parameters: Tensor) -> None:
        self.sizes = list(leaf.choices)
        self.log_probs = [
            functional.log_softmax(part, dim=-1) for part in parameters.split(self.sizes, dim=-1)
        ]

    def sample(self, noise: Tensor) -> Tensor:
        draws = []
        for logp, uniform in zip(self.log_probs, noise.split(1, dim=-1), strict=True):
            below = logp.exp().cumsum(dim=-1)[..., :-1] <= uniform
            draws.append(below.sum(dim=-1, keepdim=True))
        return torch.cat(draws, dim=-1).to(noise.dtype)

    def mode(self) -> Tensor:
        best = [logp.argmax(dim=-1) for logp in self.log_probs]
        return torch.stack(best, dim=-1).to(self.log_probs[0].dtype)

    def log_prob(self, actions: Tensor) -> Tensor:
        chosen = actions.round().long().split(1, dim=-1)
        pairs = zip(self.log_probs, chosen, strict=True)
        return _total(logp.gather(-1, column).squeeze(-1) for logp, column in pairs)

    def log_prob_gradient(self, actions: Tensor) -> Tensor:
        chosen = actions.round().long().unbind(dim=-1)
        return torch.cat(
            [
                functional.one_hot(column, size) - logp.exp()
                for logp, column, size in zip(self.log_probs, chosen, self.sizes, strict=True)
            ],
            dim=-1,
        )

    def entropy(self) -> Tensor:
        return _total(-(logp.exp() * logp).sum(-1) for logp in self.log_probs)

    def entropy_gradient(self) -> Tensor:
        terms = []
        for logp in self.log_probs:
            p = logp.exp()
            terms.append(p * ((p * logp).sum(-1, keepdim=True) - logp))
        return torch.cat(terms, dim=-1)

    def kl(self, other: Choices) -> Tensor:
        pairs = zip(self.log_probs, other.log_probs, strict=True)
        return _total((p.exp() * (p - q)).sum(-1) for p, q in pairs)

    def kl_gradient(self, other: Choices) -> Tensor:
        pairs = zip(self.log_probs, other.log_probs, strict=True)
        return torch.cat([q.exp() - p.exp() for p, q in pairs], dim=-1)


class Gaussians:
    """Independent Gaussians; the parameters are all means, then all log standard deviations."""

    def __init__(self, leaf: Leaf, parameters: Tensor) -> None:
        self.mean, self.log_std = parameters.chunk(2, dim=-1)

    def sample(self, noise: Tensor) -> Tensor:
        return self.mean + self.log_std.exp() * noise

    def mode(self) -> Tensor:
        return self.mean

    @functools.cached_property
    def precision(self) -> Tensor:
        """One over the standard deviation."""
        return (-self.log_std).exp()

    def log_prob(self, actions: Tensor) -> Tensor:
        z = (actions - self.mean) * self.precision
        return (-0.5 * z * z - self.log_std - _LOG_SQRT_2PI).sum(-1)

    def log_prob_gradient(self, actions: Tensor) -> Tensor:
        z = (actions - self.mean) * self.precision
        return torch.cat([z * self.precision, z * z - 1], dim=-1)

    def entropy(self) -> Tensor:
        return (self.log_std + 0.5 + _LOG_SQRT_2PI).sum(-1)

    def entropy_gradient(self) -> Tensor:
        return torch.cat([torch.zeros_like(self.mean), torch.ones_like(self.mean)], dim=-1)

    def kl(self, other: Gaussians) -> Tensor:
        variance, other_variance = (2 * self.log_std).exp(), (2 * other.log_std).exp()
        spread = (variance + (self.mean - other.mean) ** 2) / (2 * other_variance)
        return (other.log_std - self.log_std + spread - 0.5).sum(-1)

    def kl_gradient(self, other: Gaussians) -> Tensor:
        precision = other.precision.square()
        distance = other.mean - self.mean
        spread = ((2 * self.log_std).exp() + distance**2) * precision
        return torch.cat([distance * precision, 1 - spread], dim=-1)


_LEAF_DISTRIBUTIONS: dict[str, type[LeafDistribution]] = {
    BINARY: Coins,
    CATEGORICAL: Choices,
    CONTINUOUS: Gaussians,
}


class ActionDistribution:
    """Distribution of actions (…, size) with parameters (…, num_parameters)."""

    def __init__(self, codec: ActionCodec, parameters: Tensor) -> None:
        self.codec = codec
        self._parameters = parameters
        sizes = [leaf.num_parameters for leaf in codec.leaves]
        parts = (parameters,) if len(sizes) == 1 else parameters.split(sizes, dim=-1)
        self._leaves = [
            _LEAF_DISTRIBUTIONS[leaf.kind](leaf, part)
            for leaf, part in zip(codec.leaves, parts, strict=True)
        ]

    def sample(self, noise: Tensor | None = None) -> Tensor:
        """Draws actions, (…, size), from noise of that shape (default: torch's own stream)."""
        if noise is None:
            leading = self._parameters.shape[:-1]
            noise = draw_noise(self.codec, leading).to(self._parameters.device)
        return _join([leaf.sample(part) for leaf, part in self._with(noise)])

    def mode(self) -> Tensor:
        """Returns the most probable actions, (…, size)."""
        return _join([leaf.mode() for leaf in self._leaves])

    def log_prob(self, actions: Tensor) -> Tensor:
        """Log probability (density) of flat actions, (…)."""
        return _total(leaf.log_prob(part) for leaf, part in self._with(actions))

    def log_prob_gradient(self, actions: Tensor) -> Tensor:
        """Gradient of each log probability with respect to its parameters, (…, P)."""
        return _join([leaf.log_prob_gradient(part) for leaf, part in self._with(actions)])

    def entropy(self) -> Tensor:
        """Entropy in nats, (…)."""
        return _total(leaf.entropy() for leaf in self._leaves)

    def entropy_gradient(self) -> Tensor:
        """Gradient of each entropy with respect to its parameters, (…, P)."""
        return _join([leaf.entropy_gradient() for leaf in self._leaves])

    def kl(self, other: ActionDistribution) -> Tensor:
        """Kullback-Leibler divergence from ``self`` to ``other`` in nats, (…)."""
        return _total(p.kl(q) for p, q in zip(self._leaves, other._leaves, strict=True))

    def kl_gradient(self, other: ActionDistribution) -> Tensor:
        """Gradient of :meth:`kl` with respect to the parameters of ``other``, (…, P)."""
        return _join([p.kl_gradient(q) for p, q in zip(self._leaves, other._leaves, strict=True)])

    def _with(self, actions: Tensor) -> Any:
        return zip(self._leaves, self.codec.split(actions), strict=True)


def draw_noise(
    codec: ActionCodec, shape: Sequence[int], generator: torch.Generator | None = None
) -> Tensor:
    """Draws what :meth:`ActionDistribution.sample` makes actions of, (*shape, size).

    It is normal for numbers, uniform on [0, 1) for coins and choices.
    """
    draws = {CONTINUOUS: torch.randn, BINARY: torch.rand, CATEGORICAL: torch.rand}
    return _join(
        [draws[leaf.kind](*shape, leaf.size, generator=generator) for leaf in codec.leaves]
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
