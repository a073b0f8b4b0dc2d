"""The distribution of one leaf of an action space: coins, choices or Gaussians.

Entries are independent. Beside what a distribution usually has, each has gradients: with respect to
its parameters, of each row's log probability, entropy or divergence. Leading axes may be any.
"""

from __future__ import annotations

import functools
import math
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from rllib_mec.hmppo.action_codec import BINARY, CATEGORICAL, CONTINUOUS, Leaf

FORBIDDEN = -1e9
"""Logit of a choice that a mask forbids: finite, so that nothing computed of it is NaN."""

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


class LeafDistribution(Protocol):
    """What each kind of leaf has."""

    def __init__(self, leaf: Leaf, parameters: Tensor) -> None: ...

    def sample(self, noise: Tensor) -> Tensor: ...

    def mode(self) -> Tensor: ...

    def log_prob(self, actions: Tensor) -> Tensor: ...

    def entry_log_probs(self, actions: Tensor) -> Tensor:
        """Of each entry, (…, size); their sum is ``log_prob``."""

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
        return self.entry_log_probs(actions).sum(-1)

    def entry_log_probs(self, actions: Tensor) -> Tensor:
        # log sigmoid(+-l): the sign picks the outcome that happened.
        return functional.logsigmoid(self.logits * (2 * actions - 1))

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
        self._masked = leaf.masked
        self.log_probs = [
            functional.log_softmax(part, dim=-1) for part in parameters.split(self.sizes, dim=-1)
        ]

    def sample(self, noise: Tensor) -> Tensor:
        draws = []
        for logp, uniform in zip(self.log_probs, noise.split(1, dim=-1), strict=True):
            below = logp.exp().cumsum(dim=-1)[..., :-1] <= uniform
            draw = below.sum(dim=-1, keepdim=True)
            if self._masked:
                # Rounded, the probabilities of what is allowed may add up to less than the noise.
                allowed = (logp > FORBIDDEN / 2).cumsum(dim=-1)
                draw = torch.minimum(draw, allowed.argmax(dim=-1, keepdim=True))  # the last one
            draws.append(draw)
        return torch.cat(draws, dim=-1).to(noise.dtype)

    def mode(self) -> Tensor:
        best = [logp.argmax(dim=-1) for logp in self.log_probs]
        return torch.stack(best, dim=-1).to(self.log_probs[0].dtype)

    def log_prob(self, actions: Tensor) -> Tensor:
        return total(column.squeeze(-1) for column in self._of_chosen(actions))

    def entry_log_probs(self, actions: Tensor) -> Tensor:
        return torch.cat(self._of_chosen(actions), dim=-1)

    def _of_chosen(self, actions: Tensor) -> list[Tensor]:
        chosen = actions.round().long().split(1, dim=-1)
        return [own.gather(-1, c) for own, c in zip(self.log_probs, chosen, strict=True)]

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
        return total(-(logp.exp() * logp).sum(-1) for logp in self.log_probs)

    def entropy_gradient(self) -> Tensor:
        terms = []
        for logp in self.log_probs:
            p = logp.exp()
            terms.append(p * ((p * logp).sum(-1, keepdim=True) - logp))
        return torch.cat(terms, dim=-1)

    def kl(self, other: Choices) -> Tensor:
        pairs = zip(self.log_probs, other.log_probs, strict=True)
        return total((p.exp() * (p - q)).sum(-1) for p, q in pairs)

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
        return self.entry_log_probs(actions).sum(-1)

    def entry_log_probs(self, actions: Tensor) -> Tensor:
        z = (actions - self.mean) * self.precision
        return -0.5 * z * z - self.log_std - _LOG_SQRT_2PI

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


LEAF_DISTRIBUTIONS: dict[str, type[LeafDistribution]] = {
    BINARY: Coins,
    CATEGORICAL: Choices,
    CONTINUOUS: Gaussians,
}


def total(terms: Any) -> Tensor:
    """The sum of some tensors, one at least."""
    first, *rest = terms
    return sum(rest, start=first)
