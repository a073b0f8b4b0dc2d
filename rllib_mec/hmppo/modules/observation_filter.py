"""Running statistics of observations, which bring every feature to mean 0 and deviation 1."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rllib_mec.hmppo.observation_codec import ObservationCodec


class ObservationFilter(nn.Module):
    """Means and deviations of F features over all observations that were learnt from.

    It is part of the actor, so that runners, checkpoints and evaluation have it with the weights;
    it moves on learners only, after they have learnt: a batch is learnt from as it was seen.
    Features that never change, such as slots for other agents' actions, are only shifted. Masks
    stay as they are.

    Args:
        codec: of the observations, if they hold masks, or else any.
    """

    LIMIT = 10.0
    """Filtered features are clipped to [-LIMIT, LIMIT]."""

    count: Tensor
    mean: Tensor
    variance: Tensor

    def __init__(self, num_features: int, codec: ObservationCodec | None = None) -> None:
        super().__init__()
        self.codec = codec if codec is not None and codec.mask is not None else None
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(num_features, dtype=torch.float64))
        self.register_buffer("variance", torch.zeros(num_features, dtype=torch.float64))

    def forward(self, observations: Tensor) -> Tensor:
        """Filters observations (…, k * F): k sets of the F features (and masks)."""
        return _filtered(observations, *self._scale(observations.dtype), self.codec)

    def _scale(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        deviation = torch.where(self.variance > 1e-8, self.variance, 1.0).sqrt()
        return self.mean.to(dtype), deviation.to(dtype)

    @torch.no_grad()
    def track(self, observations: Tensor) -> None:
        """Takes observations (…, k * F) into the statistics, those of all learners together."""
        if self.codec is not None:
            observations, _ = self.codec.split(observations)
        rows = observations.reshape(-1, len(self.mean)).double()
        sums = torch.cat([rows.new_full((1,), len(rows)), rows.sum(0), rows.square().sum(0)])
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(sums)
        count, first, second = sums[0], *sums[1:].chunk(2)
        seen = count.clamp_min(1)  # there may be none, of agents that are not there
        mean = first / seen
        variance = (second / seen - mean.square()).clamp_min(0)
        # Two sets of observations as one (Chan et al., 1979).
        total = self.count + count
        distance = mean - self.mean
        share = count / total.clamp_min(1)
        self.variance.lerp_(variance, share).add_(distance.square() * share * (1 - share))
        self.mean.add_(distance * share)
        self.count.copy_(total)


def filter_stacked(filters: Sequence[ObservationFilter | None], observations: Tensor) -> Tensor:
    """Filters observations (S, …, k * F) of S actors, each by its own statistics, if they have any.

    Either all actors have a filter or none has.
    """
    own_filters = [own for own in filters if own is not None]
    if not own_filters:
        return observations
    scales = [own._scale(observations.dtype) for own in own_filters]
    leading = (len(filters), *[1] * (observations.dim() - 1), -1)
    mean, deviation = (torch.stack(parts).reshape(leading) for parts in zip(*scales, strict=True))
    return _filtered(observations, mean, deviation, own_filters[0].codec)


def _filtered(
    observations: Tensor, mean: Tensor, deviation: Tensor, codec: ObservationCodec | None
) -> Tensor:
    if codec is not None:
        seen, masks = codec.split(observations)
        assert masks is not None, "there is no codec without masks"
        blocks = _filtered(seen, mean, deviation, None).unflatten(-1, (-1, codec.num_features))
        return torch.cat([blocks, masks], dim=-1).flatten(-2)
    features = observations.unflatten(-1, (-1, mean.shape[-1]))
    scaled = ((features - mean) / deviation).clamp(
        -ObservationFilter.LIMIT, ObservationFilter.LIMIT
    )
    return scaled.flatten(-2)
