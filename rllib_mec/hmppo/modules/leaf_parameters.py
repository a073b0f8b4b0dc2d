"""Between the outputs of an actor's network and the parameters of its action distribution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rllib_mec.hmppo.action_codec import CONTINUOUS, ActionCodec
from rllib_mec.hmppo.action_mask import forbid
from rllib_mec.hmppo.groups import of_group


class LeafParameters:
    """Distribution parameters leaf by leaf: logits, or means and standard deviations.

    The network gives logits and means for each of n entities or members; standard deviations are
    parameters of the actor, which all entities share.

    Args:
        codec: of the actor's actions. member_codec: of those of one member.
        sets: n.

    Attributes:
        num_stds: standard deviations of one entity.
    """

    def __init__(self, codec: ActionCodec, member_codec: ActionCodec, sets: int) -> None:
        self._codec, self._member_codec, self._sets = codec, member_codec, sets
        self._std_sizes = [
            leaf.size // sets if leaf.kind == CONTINUOUS else 0 for leaf in codec.leaves
        ]
        self.num_stds = sum(self._std_sizes)

    def join(self, outputs: Tensor, log_std: Tensor | None, masks: Tensor | None) -> Tensor:
        """Parameters of S actors, (S, R, num_parameters).

        Args:
            outputs: (S, R, n, O), or of fewer members than there are.
            log_std: (S, num_stds), None where there is none.
            masks: (S, R, A, mask size), None where there are none.
        """
        allowed = self._allowed(masks)
        parts: list[Tensor] = []
        output, std = 0, 0
        for index, (leaf, num_stds) in enumerate(
            zip(self._codec.leaves, self._std_sizes, strict=True)
        ):
            width = leaf.num_logits // self._sets
            logits = outputs[..., output : output + width].flatten(2)
            # Of a forbidden choice the logit is no network's, and has no gradient: the
            # distribution's own is 0 there.
            parts.append(
                logits if num_stds or allowed is None else forbid(leaf, logits, allowed[index])
            )
            output += width
            if num_stds and log_std is not None:
                shared = log_std[:, None, std : std + num_stds]
                shared = shared if self._sets == 1 else shared.repeat(1, 1, outputs.shape[2])
                parts.append(shared.expand(-1, outputs.shape[1], -1))
                std += num_stds
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)

    def part(self, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        """Gradients of the outputs, (S, R, n, O), and the deviations, from those of parameters."""
        sets, outputs, stds = self._sets, [], []
        start = 0
        for leaf, num_stds in zip(self._codec.leaves, self._std_sizes, strict=True):
            logits = gradient[..., start : start + leaf.num_logits]
            outputs.append(logits.unflatten(-1, (sets, -1)))
            start += leaf.num_logits
            if num_stds:
                of_stds = gradient[..., start : start + leaf.size].sum(dim=1)
                stds.append(of_stds.unflatten(-1, (sets, -1)).sum(dim=1))
                start += leaf.size
        joined = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)
        return joined, torch.cat(stds, dim=-1) if stds else None

    def _allowed(self, masks: Tensor | None) -> Sequence[Tensor] | None:
        """Which choices each leaf's parameters leave, (…, choices) each, of masks (…, A, M)."""
        if masks is None:
            return None
        widths = self._member_codec.mask_widths
        return of_group(masks, widths).split([masks.shape[-2] * w for w in widths], dim=-1)
