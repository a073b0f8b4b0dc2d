"""Images among the numbers of flat observations."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

import gymnasium as gym
import numpy as np


@dataclasses.dataclass(frozen=True)
class Image:
    """An image in a flat vector.

    start: its first entry. shape: (H, W, C). scale: of its numbers, so that bytes are in [0, 1].
    """

    start: int
    shape: tuple[int, int, int]
    scale: float = 1.0

    @property
    def size(self) -> int:
        return math.prod(self.shape)


def image_of(space: gym.Space, start: int) -> Image | None:
    """Returns the image that a simple space is, which is a Box of three axes; or None."""
    if not isinstance(space, gym.spaces.Box) or len(space.shape) != 3:
        return None
    height, width, channels = space.shape
    return Image(start, (height, width, channels), 1 / 255 if space.dtype == np.uint8 else 1.0)


def images_of_all(parts: Iterable[tuple[int, int, Iterable[Image]]]) -> tuple[Image, ...]:
    """Returns the images of vectors that lie one after the other.

    Args:
        parts: the size of each vector, how often it comes, and the images in it.
    """
    found: list[Image] = []
    before = 0
    for size, times, images in parts:
        for _ in range(times):
            found += [dataclasses.replace(own, start=own.start + before) for own in images]
            before += size
    return tuple(found)
