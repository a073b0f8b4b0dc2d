"""The distribution of one agent's actions: coins, choices and Gaussians, independent.

Parameters and actions are flat vectors as laid out by
:class:`~rllib_mec.hmppo.action_codec.ActionCodec`: leaf after leaf, a continuous leaf with its
means first and its log standard deviations after them. Leading axes, written … here, may be any.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import torch
from ray.rllib.core.distribution.torch.torch_distribution import TorchDistribution
from torch import Tensor

from rllib_mec.hmppo.action_codec import BINARY, CATEGORICAL, CONTINUOUS, ActionCodec
from rllib_mec.hmppo.leaf_distributions import LEAF_DISTRIBUTIONS, total


class ActionDistribution:
    """Distribution of actions (…, size) with parameters (…, num_parameters)."""

    def __init__(self, codec: ActionCodec, parameters: Tensor) -> None:
        self.codec = codec
        self.parameters = parameters
        sizes = [leaf.num_parameters for leaf in codec.leaves]
        parts = (parameters,) if len(sizes) == 1 else parameters.split(sizes, dim=-1)
        self._leaves = [
            LEAF_DISTRIBUTIONS[leaf.kind](leaf, part)
            for leaf, part in zip(codec.leaves, parts, strict=True)
        ]

    def sample(self, noise: Tensor | None = None) -> Tensor:
        """Draws actions, (…, size), from noise of that shape (default: torch's own stream)."""
        if noise is None:
            leading = self.parameters.shape[:-1]
            noise = draw_noise(self.codec, leading).to(self.parameters.device)
        return _join([leaf.sample(part) for leaf, part in self._with(noise)])

    def mode(self) -> Tensor:
        """Returns the most probable actions, (…, size)."""
        return _join([leaf.mode() for leaf in self._leaves])

    def log_prob(self, actions: Tensor) -> Tensor:
        """Log probability (density) of flat actions, (…)."""
        return total(leaf.log_prob(part) for leaf, part in self._with(actions))

    def log_prob_gradient(self, actions: Tensor) -> Tensor:
        """Gradient of each log probability with respect to its parameters, (…, P)."""
        return _join([leaf.log_prob_gradient(part) for leaf, part in self._with(actions)])

    def log_probs(self, actions: Tensor) -> Tensor:
        """Log probability (density) of each part of flat actions, (…, parts)."""
        parts = self.codec.parts
        if parts == 1:
            return self.log_prob(actions)[..., None]
        if self.codec.branches:
            return _join([leaf.entry_log_probs(own) for leaf, own in self._with(actions)])
        return total(
            leaf.entry_log_probs(own).unflatten(-1, (parts, -1)).sum(-1)
            for leaf, own in self._with(actions)
        )

    def pull_log_probs(self, actions: Tensor, gradient: Tensor) -> Tensor:
        """Gradient of the parameters, (…, P), from that of :meth:`log_probs`, (…, parts)."""
        own = self.log_prob_gradient(actions)
        parts = self.codec.parts
        if parts == 1:
            return own * gradient
        # A parameter has a part in the probability of its own part alone.
        if self.codec.branches:
            return own * self.codec.by_parameter(gradient)
        widths = self.codec.parameter_widths
        blocks = [
            (block.unflatten(-1, (parts, -1)) * gradient[..., None]).flatten(-2)
            for block in own.split(widths, dim=-1)
        ]
        return _join(blocks)

    def entropy(self) -> Tensor:
        """Entropy in nats, (…)."""
        return total(leaf.entropy() for leaf in self._leaves)

    def entropy_gradient(self) -> Tensor:
        """Gradient of each entropy with respect to its parameters, (…, P)."""
        return _join([leaf.entropy_gradient() for leaf in self._leaves])

    def kl(self, other: ActionDistribution) -> Tensor:
        """Kullback-Leibler divergence from ``self`` to ``other`` in nats, (…)."""
        return total(p.kl(q) for p, q in zip(self._leaves, other._leaves, strict=True))

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


def rllib_distribution(space: gym.Space, masked: bool = False) -> type[TorchDistribution]:
    """Returns RLlib's form of the distribution for ``space``, for code outside this package.

    Args:
        masked: whether some of the parameters may be those of forbidden choices.
    """
    codec = ActionCodec(space, masked=masked)

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
