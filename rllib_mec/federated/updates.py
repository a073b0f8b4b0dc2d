"""What the server makes sure of before it lets an update into the average."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import torch

from rllib_mec.emulator.adapters import State, check_state, from_bytes
from rllib_mec.errors import InputError
from rllib_mec.federated.tuning import Update


@dataclasses.dataclass(frozen=True)
class Guard:
    """Limits on updates; the norm is the Euclidean one of all differences to the global weights.

    max_norm: updates with a larger one are refused; None: any finite one is taken.
    clip_norm: larger ones are scaled down to it; None: they stay.
    noise: z, Gaussian noise on the average of clipped updates, of standard deviation
        z x clip_norm x the largest weight's share, as in differentially private averaging (arXiv
        1710.06963). No privacy budget is computed or promised: who takes part is known, and
        weights depend on the data.
    """

    max_norm: float | None = None
    clip_norm: float | None = None
    noise: float = 0.0

    def __post_init__(self) -> None:
        for name in ("max_norm", "clip_norm"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"{name} = {value:g}: expected a positive number")
        if not 0 <= self.noise < math.inf:
            raise InputError(f"noise = {self.noise:g}: expected a number, 0 or more")
        if self.noise and self.clip_norm is None:
            raise InputError(f"noise = {self.noise:g}: expected a clip_norm, which it is scaled by")


@dataclasses.dataclass(frozen=True)
class Difference:
    """An update that was accepted: its difference to the global weights, in float64."""

    client: int
    sequences: int
    state: State


def difference(update: Update, weights: Mapping[str, torch.Tensor], guard: Guard) -> Difference:
    """Checks an update, and returns its difference to the global weights, clipped if asked for.

    Raises:
        InputError: it is no safetensors; it has no sequences; a weight is missing, unknown, of
            another shape or not finite; or it is too far from the global weights.
    """
    if not isinstance(update.sequences, int) or update.sequences < 1:
        raise InputError(f"sequences = {update.sequences!r}: expected a whole number, at least 1")
    state = from_bytes(update.payload)
    check_state(weights, state, "update")
    found = {name: state[name].double() - weights[name].double() for name in weights}
    norm = norm_of(found)
    if guard.max_norm is not None and norm > guard.max_norm:
        raise InputError(f"update: norm {norm:.4g}: expected at most {guard.max_norm:g}")
    if guard.clip_norm is not None and norm > guard.clip_norm:
        found = {name: each * (guard.clip_norm / norm) for name, each in found.items()}
    return Difference(update.client, update.sequences, found)


def norm_of(state: Mapping[str, torch.Tensor]) -> float:
    """Returns the Euclidean norm of all weights together.

    >>> norm_of({"a": torch.tensor([3.0]), "b": torch.tensor([[4.0]])})
    5.0
    """
    return math.sqrt(sum(float(each.double().square().sum()) for each in state.values()))
