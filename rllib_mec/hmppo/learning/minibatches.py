"""Which rows are learned from together: minibatches of rows, or of whole sequences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def minibatches_of_rows(
    rows: int,
    generators: Sequence[torch.Generator],
    minibatch_size: int | None = None,
    num_epochs: int = 1,
    num_total_minibatches: int = 0,
    shuffle: bool = False,
) -> Iterator[tuple[Tensor, bool]]:
    """Yields indices into the rows of S learners one behind the other, (S, m), and "the last".

    An epoch's last minibatch takes the remainder, so that no row is left out.

    Args:
        rows: of each learner. generators: of each.
        minibatch_size: rows of a minibatch; None: all.
        num_total_minibatches: how many, whatever ``num_epochs`` says; 0: as that says.
        shuffle: whether each epoch has an order of its own.
    """
    size = minibatch_size or rows
    per_epoch = max(rows // size, 1)
    total = num_total_minibatches or num_epochs * per_epoch
    starts = torch.arange(len(generators))[:, None] * rows
    for number in range(total):
        start = number % per_epoch * size
        if start == 0:
            orders = [
                torch.randperm(rows, generator=own) if shuffle else torch.arange(rows)
                for own in generators
            ]
            order = torch.stack(orders) + starts
        ends_epoch = (number + 1) % per_epoch == 0
        yield order[:, start : rows if ends_epoch else start + size], number == total - 1


def minibatches_of_sequences(
    lengths: NDArray[np.int64],
    most: int,
    generator: torch.Generator,
    minibatch_size: int | None = None,
    num_epochs: int = 1,
    num_total_minibatches: int = 0,
    shuffle: bool = False,
) -> Iterator[tuple[Tensor, bool]]:
    """The same of one learner, whose sequences, of ``most`` rows at most, stay whole.

    An epoch has as many minibatches as of rows, or as there are sequences, if these are fewer; all
    have as many sequences as the others, or one more.

    Args:
        lengths: rows of each segment of an episode.
    """
    begins = np.flatnonzero(sequence_starts(lengths, most))
    rows = int(lengths.sum())
    ends = [*begins[1:].tolist(), rows]
    sequences = [torch.arange(a, b) for a, b in zip(begins.tolist(), ends, strict=True)]
    per_epoch = min(max(rows // (minibatch_size or rows), 1), len(sequences))
    total = num_total_minibatches or num_epochs * per_epoch
    for number in range(total):
        if number % per_epoch == 0:
            order = (
                torch.randperm(len(sequences), generator=generator)
                if shuffle
                else torch.arange(len(sequences))
            )
            parts = order.tensor_split(per_epoch)
        chosen = torch.cat([sequences[index] for index in parts[number % per_epoch].tolist()])
        yield chosen[None], number == total - 1


def sequence_starts(lengths: NDArray[np.int64], most: int) -> NDArray[np.bool_]:
    """Which rows of segments begin a sequence of ``most`` rows at most, (R,).

    >>> sequence_starts(np.array([3, 2]), 2).tolist()
    [True, False, True, True, False]
    """
    begins = np.repeat(lengths.cumsum() - lengths, lengths)
    return (np.arange(len(begins)) - begins) % most == 0
