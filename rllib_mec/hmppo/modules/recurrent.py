"""Networks with a memory: hidden layers, an LSTM or a GRU, and a linear layer.

A row's outputs depend on the rows before it in its *sequence*, through the memory. Rows come with
the memory that was there before each of them when they were sampled; a sequence goes on from that
of its first row, and gradients go back to it. So any row can begin one: where an episode is cut,
be it by the end of a fragment, of a batch or of ``max_seq_len`` steps, only gradients are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from ray.rllib.core.columns import Columns
from torch import Tensor, nn

from rllib_mec.hmppo.images import Image
from rllib_mec.hmppo.modules.by_autograd import ByAutograd
from rllib_mec.hmppo.modules.images import plain_network
from rllib_mec.hmppo.modules.networks import MLP, Tape, Values

LAYERS: dict[str, Any] = {"gru": nn.GRU, "lstm": nn.LSTM}
"""Recurrent layers, by what ``model_config.recurrent_layer`` calls them."""

STARTS = "sequence_starts"
"""Column of training rows: whether a row begins a sequence, (S, R) bool."""

ACTIVE = "active"
"""Column of training rows: 1 for members that were there, (S, R, members)."""

MEMORY = (Columns.STATE_IN, STARTS, ACTIVE)
"""The columns of training rows that :func:`memory_of` reads."""

MEMORY_IN = "memory_in"
"""What RLlib's episodes keep of the memories before each step, as STATE_OUT of those after it."""

OWN, CARRIED = "own", "critics"
"""Parts of the state that RLlib's episodes keep of an agent: its memory, and that of critics."""


@dataclasses.dataclass(frozen=True)
class Memory:
    """What rows know of the steps before them.

    before: memories before each row, (S, R, M * size), of M members or of one.
    starts: whether each row begins a sequence, (S, R) bool; None: each does.
    active: whether each member was there, (S, R, M); who was not keeps its memory. None: all were.
    """

    before: Tensor
    starts: Tensor | None = None
    active: Tensor | None = None

    def of_one(self) -> Memory:
        """Of rows (R, …) of one network, as S = 1 of them."""
        columns = (self.before, self.starts, self.active)
        return Memory(*(None if own is None else own[None] for own in columns))  # type: ignore[arg-type]


def memory_of(rows: Mapping[str, Tensor]) -> Memory | None:
    """Returns the memory in columns of training rows; None if there is none."""
    if Columns.STATE_IN not in rows:
        return None
    return Memory(rows[Columns.STATE_IN], rows.get(STARTS), rows.get(ACTIVE))


def memory_size(settings: Mapping[str, Any]) -> int:
    """Numbers of one memory by ``model_config``."""
    return settings["recurrent_size"] * (2 if settings["recurrent_layer"] == "lstm" else 1)


class Recurrent(ByAutograd):
    """Hidden layers, a recurrent layer and a linear one: inputs (R, I) to outputs (R, O).

    Args:
        num_inputs: I. num_outputs: O. output_gain: see :class:`MLP`.
        settings: ``model_config``. images: among the inputs.

    Attributes:
        memory_size: numbers of a memory: the output of the recurrent layer, and of an LSTM its
            cell's state after it. It begins as zeros.
    """

    def __init__(
        self,
        num_inputs: int,
        num_outputs: int,
        output_gain: float,
        settings: Mapping[str, Any],
        images: Sequence[Image] = (),
    ) -> None:
        super().__init__()
        self.encoder = plain_network(
            num_inputs, settings["fcnet_hiddens"], None, dict(settings), images
        )
        size = settings["recurrent_size"]
        layer = LAYERS[settings["recurrent_layer"]]
        self.layer = layer(self.encoder.num_outputs, size, batch_first=True)
        for name, value in self.layer.named_parameters():
            if "weight" in name:
                for gate in value.detach().split(size):
                    nn.init.orthogonal_(gate)
            else:
                nn.init.zeros_(value)
        self.head = MLP(size, [num_outputs], settings["fcnet_activation"], output_gain)
        self.num_outputs = num_outputs
        self.memory_size = memory_size(settings)
        self.parts = self.memory_size // size

    @property
    def last(self) -> nn.Linear:
        return self.head.last

    def forward(  # type: ignore[override]
        self,
        x: Tensor,
        before: Tensor,
        starts: Tensor | None = None,
        there: Tensor | None = None,
    ) -> Tensor:
        """Maps rows (R, I), sequence after sequence.

        Args:
            before: memories, (R, memory_size), of which a sequence's first row counts.
            starts: (R,) bool, True for the first row. None: asks for outputs and memories after
                each row, (R, O + memory_size), of rows by themselves, see :meth:`advance`.
            there: (R,) bool; rows that are not leave the memory as it is, and what they are mapped
                to means nothing. None: all are.
        """
        if starts is None:
            return torch.cat(self.advance(x, before), dim=-1)
        encoded = self.encoder(x)
        sequence = starts.cumsum(0) - 1
        counted = torch.ones_like(sequence) if there is None else there.long()
        place = counted.cumsum(0)
        place = place - (place - counted)[starts][sequence] - 1
        placed: Any = slice(None) if there is None else there
        count = int(sequence[-1]) + 1
        padded = encoded.new_zeros(count, max(int(place.max()) + 1, 1), encoded.shape[-1])
        padded = padded.index_put((sequence[placed], place[placed]), encoded[placed])
        out, _ = self.layer(padded, self._unpacked(before[starts]))
        # Who is not there may not have been before either: then its place is -1, which is any.
        return self.head(out[sequence, place])

    def advance(self, x: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """One step from each of R memories: outputs (R, O) and memories after it."""
        out, after = self.remembering(self.encoder(x), before)
        return self.head(out), after

    def remembering(self, encoded: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """The recurrent layer alone: what it makes of inputs (R, E), (R, size), and memories."""
        out, after = self.layer(encoded[:, None], self._unpacked(before))
        packed = torch.cat(list(after) if self.parts > 1 else [after], dim=-1)[0]
        return out[:, 0], packed

    def _unpacked(self, memories: Tensor) -> Any:
        parts = [part[None].contiguous() for part in memories.chunk(self.parts, dim=-1)]
        return tuple(parts) if self.parts > 1 else parts[0]


def trace_members(
    network: Recurrent, values: Values, x: Tensor, memory: Memory
) -> tuple[Tensor, Tape]:
    """Outputs of S networks for M members, each with a memory of its own, and a tape.

    Args:
        x: (S, R, M, I).

    Returns:
        (S, R, M, O).
    """
    groups, rows, members, _ = x.shape
    starts = memory.starts
    if starts is None:
        starts = torch.ones(groups, rows, dtype=torch.bool, device=x.device)
    else:
        # Also where somebody has cut the rows.
        starts = torch.cat([torch.ones_like(starts[:, :1]), starts[:, 1:].bool()], dim=1)
    before = memory.before.unflatten(-1, (members, -1))
    there = None if memory.active is None else _by_member(memory.active > 0)
    y, tape = network.trace(
        values, _by_member(x), _by_member(before), starts.repeat(1, members), there
    )
    return y.unflatten(1, (members, rows)).transpose(1, 2), tape


def advance_members(
    network: Recurrent, values: Values, x: Tensor, memory: Memory
) -> tuple[Tensor, Tensor]:
    """One step of M members of S networks: outputs, and memories after it, (S, R, M * size).

    Args:
        x: (S, R, M, I).

    Returns:
        outputs, (S, R, M, O), and memories.
    """
    members = x.shape[2]
    before = memory.before.unflatten(-1, (members, -1))
    both = network.run(values, (x.flatten(1, 2), before.flatten(1, 2)))
    outputs, after = both.unflatten(1, x.shape[1:3]).split(
        [network.num_outputs, network.memory_size], dim=-1
    )
    if memory.active is not None:
        after = torch.where(memory.active[..., None] > 0, after, before)
    return outputs, after.flatten(2)


def pull_members(network: Recurrent, values: Values, tape: Tape, gradient: Tensor) -> list[Tensor]:
    """Gradients of ``values`` from that of the outputs of :func:`trace_members`."""
    return network.pull(values, tape, _by_member(gradient))


def _by_member(rows: Tensor) -> Tensor:
    """(S, R, M, …) as (S, M * R, …), one member's rows behind the other's."""
    return rows.transpose(1, 2).flatten(1, 2)
