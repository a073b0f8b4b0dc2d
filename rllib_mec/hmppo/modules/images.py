"""The network that sees images by convolutions.

The convolutions are RLlib's (``CNNEncoderConfig``): ``model_config.conv_filters`` says which. By
default they are those that RLlib has for images of this size, and what has an edge of less than
8 pixels, as the board of a game, is so many numbers; with ``[]`` all images are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.models.base import ENCODER_OUT
from ray.rllib.core.models.configs import CNNEncoderConfig
from ray.rllib.models.utils import get_filter_config
from torch import Tensor, nn

from rllib_mec.errors import InputError
from rllib_mec.hmppo.images import Image
from rllib_mec.hmppo.modules.by_autograd import ByAutograd
from rllib_mec.hmppo.modules.networks import MLP

SMALLEST = 8
"""Pixels of an image's shorter edge, from which it has convolutions without being asked for."""


def seen_by_convolutions(images: Iterable[Image], filters: Any) -> tuple[Image, ...]:
    """Returns the images that are not just numbers with these ``model_config.conv_filters``."""
    if filters is None:
        return tuple(image for image in images if min(image.shape[:2]) >= SMALLEST)
    return tuple(images) if len(filters) else ()


def filters_for(shape: Sequence[int], filters: Any, activation: str = "relu") -> list[Any]:
    """Returns the convolutions for images, as RLlib takes them.

    Args:
        shape: (H, W, C). filters: as ``model_config.conv_filters`` has them; None: RLlib's.
        activation: ``model_config.conv_activation``.

    Raises:
        InputError: RLlib has none for this size, or those given do not fit it.
    """
    size = "x".join(map(str, shape))
    if filters is None:
        try:
            filters = get_filter_config(shape)
        except ValueError:
            raise InputError(
                "model_config.conv_filters = None: expected [[channels, kernel, stride], …] for "
                f"images of {size}, for which RLlib has no default, or [] for no convolutions"
            ) from None
    try:
        with torch.no_grad():
            _cnn(shape, filters, activation)(torch.zeros(1, *shape))
    except Exception as error:  # whatever RLlib or torch makes of it
        raise InputError(
            f"model_config.conv_filters = {filters!r}: expected [[channels, kernel, stride], …] "
            f"that fit images of {size}: {error}"
        ) from None
    return list(filters)


class ImageMLP(ByAutograd):
    """An MLP that sees images by convolutions: (R, I) to (R, O).

    Images of one shape share their convolutions, as those of a group's members. What comes out of
    them comes before all other numbers.

    Args:
        num_inputs: I. widths, activation, output_gain: see :class:`MLP`.
        images: among the inputs. settings: ``model_config``, for ``conv_filters`` and
            ``conv_activation``.
    """

    def __init__(
        self,
        num_inputs: int,
        widths: Sequence[int],
        activation: str,
        output_gain: float | None,
        images: Sequence[Image],
        settings: dict[str, Any],
    ) -> None:
        super().__init__()
        self._images = tuple(images)
        shapes = dict.fromkeys(image.shape for image in images)
        self.convolutions = nn.ModuleList(
            _cnn(shape, filters_for(shape, settings["conv_filters"]), settings["conv_activation"])
            for shape in shapes
        )
        self._sets = [[own for own in images if own.shape == shape] for shape in shapes]
        others = torch.ones(num_inputs, dtype=torch.bool)
        for image in images:
            others[image.start : image.start + image.size] = False
        self.register_buffer("others", others.nonzero()[:, 0], persistent=False)
        with torch.no_grad():
            num_encoded = self.encoded(torch.zeros(1, num_inputs)).shape[-1]
        self.dense = MLP(num_encoded, widths, activation, output_gain)
        self.num_outputs = self.dense.num_outputs

    others: Tensor

    @property
    def last(self) -> nn.Linear:
        return self.dense.last

    def encoded(self, x: Tensor) -> Tensor:
        """What the MLP sees of inputs (R, I)."""
        parts = []
        for convolutions, images in zip(self.convolutions, self._sets, strict=True):
            seen = [
                x[:, own.start : own.start + own.size].reshape(-1, *own.shape) * own.scale
                for own in images
            ]
            # All at once, image by image.
            flat = convolutions(torch.cat(seen))
            parts.extend(flat.chunk(len(images)))
        return torch.cat([*parts, x.index_select(1, self.others)], dim=-1)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return self.dense(self.encoded(x))


def plain_network(
    num_inputs: int,
    widths: Sequence[int],
    output_gain: float | None,
    settings: dict[str, Any],
    images: Sequence[Image] = (),
) -> MLP | ImageMLP:
    """Returns the network of one vector of numbers: an MLP, which sees images as such.

    Args:
        num_inputs, widths, output_gain: see :class:`MLP`. settings: ``model_config``. images: among
            the inputs.
    """
    activation = settings["fcnet_activation"]
    # Checkpoints of earlier versions know nothing of convolutions.
    images = seen_by_convolutions(images, settings.get("conv_filters", []))
    if not images:
        return MLP(num_inputs, widths, activation, output_gain)
    return ImageMLP(num_inputs, widths, activation, output_gain, images, settings)


class _Convolutions(nn.Module):
    """RLlib's encoder of images, (R, H, W, C), to (R, O)."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        return self.encoder({Columns.OBS: images})[ENCODER_OUT]


def _cnn(shape: Sequence[int], filters: Any, activation: str) -> nn.Module:
    config = CNNEncoderConfig(
        input_dims=list(shape), cnn_filter_specifiers=list(filters), cnn_activation=activation
    )
    return _Convolutions(config.build(framework="torch"))
