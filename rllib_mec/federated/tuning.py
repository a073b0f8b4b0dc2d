"""What a client does in a round, and the server, too: tunes on its own data from the global state.

Only bytes go in and out, as over a network: safetensors, which hold nothing but numbers.
"""

from __future__ import annotations

import dataclasses

from transformers import PreTrainedModel

from rllib_mec.emulator.adapters import from_bytes, to_bytes
from rllib_mec.emulator.training import Trainer, Training
from rllib_mec.federated.cases import Case
from rllib_mec.federated.splits import Holdings

SERVER = -1
"""The server's number among the clients."""


def name_of(client: int) -> str:
    """Returns "client 3", or "server"."""
    return "server" if client == SERVER else f"client {client}"


@dataclasses.dataclass(frozen=True)
class Work:
    """What somebody has to do in a round.

    client: its number from 0, or SERVER. number: of the round, from 1.
    retention: of the emulator; 1: the whole model. training: how to tune. seed: of the batches.
    """

    client: int
    number: int
    retention: float
    training: Training
    seed: int


@dataclasses.dataclass(frozen=True)
class Update:
    """What a client sends.

    sequences: that it holds, its weight in the average. payload: its tuned weights, safetensors.
    """

    client: int
    sequences: int
    payload: bytes


@dataclasses.dataclass(frozen=True)
class Failed:
    """A client that has not answered, and why."""

    client: int
    reason: str


@dataclasses.dataclass(frozen=True)
class Ground:
    """What all work of a run stands on."""

    whole: PreTrainedModel
    case: Case
    holdings: Holdings


def tune(work: Work, ground: Ground, payload: bytes) -> Update:
    """Tunes, and returns what to send.

    Each round begins with a new optimiser, so that clients keep nothing from round to round but
    their emulator.

    Args:
        payload: the global weights, safetensors.

    Raises:
        InputError: the weights do not fit, or the loss is not finite any more.
    """
    own = ground.holdings
    sequences = own.server if work.client == SERVER else own.clients[work.client]
    tunable = ground.case.build(ground.whole, work.retention)
    tunable.load(from_bytes(payload))
    Trainer(tunable.model, list(tunable.weights.values()), work.training, work.seed).run(sequences)
    return Update(work.client, len(sequences), to_bytes(tunable.state()))


def answered(work: Work, ground: Ground, payload: bytes) -> Update | Failed:
    """Tunes as :func:`tune`; whatever error a client dies of is an answer, too: others go on."""
    try:
        return tune(work, ground, payload)
    except Exception as error:
        lines = str(error).strip().splitlines()
        return Failed(work.client, lines[-1] if lines else type(error).__name__)
