"""The update: epochs of minibatches over the rows of S learners, their networks run together.

Nothing in a step is per parameter, per agent object or per learner: a network of all learners is
one tensor, whose gradient is written by hand, clipped and followed by one fused Adam step.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from rllib_mec.errors import InputError
from rllib_mec.hmppo.freed_memory import keep_freed_memory
from rllib_mec.hmppo.learning.gradients import (
    Coefficients,
    Parts,
    Rows,
    actor_gradient,
    critic_gradient,
)
from rllib_mec.hmppo.learning.minibatches import minibatches_of_rows, minibatches_of_sequences
from rllib_mec.hmppo.learning.optimiser import StackedAdam, clip
from rllib_mec.hmppo.learning.sequential import in_turns, order_of
from rllib_mec.hmppo.learning.training_rows import ModuleRows, track_observations, training_rows
from rllib_mec.hmppo.modules.stacked import Stacked
from rllib_mec.hmppo.team_batch import TeamBatch

logger = logging.getLogger(__name__)


class StackedUpdate:
    """Updates the networks of S learners, each from its own batch.

    Args:
        learners: HMPPO's, whose configurations differ in nothing but seeds and coefficients:
            ``lr``, ``gamma``, ``lambda_``, ``clip_param``, ``entropy_coeff``, ``vf_loss_coeff``,
            ``kl_coeff`` and ``grad_clip``.
    """

    def __init__(self, learners: Sequence[Any]) -> None:
        self.learners = list(learners)
        self.config = learners[0].config
        self._device: torch.device = learners[0]._device
        keep_freed_memory()
        self.critics = learners[0].plan.critics
        self.networks = {
            mid: Stacked([learner.module[mid].unwrapped() for learner in learners])
            for mid in learners[0].module.keys()  # noqa: SIM118 (it is no dict)
        }
        self.optimisers = {
            mid: StackedAdam(network, [learner.get_optimizer(mid) for learner in learners])
            for mid, network in self.networks.items()
        }
        self._gradients: dict[bool, Callable[..., tuple[Tensor, Parts]]] = {
            False: actor_gradient,
            True: critic_gradient,
        }
        if self.config.compiled:
            self._gradients = {
                is_critic: Compiled(function) for is_critic, function in self._gradients.items()
            }

    @torch.no_grad()
    def run(
        self,
        batches: Sequence[TeamBatch],
        minibatch_size: int | None = None,
        num_epochs: int = 1,
        num_total_minibatches: int = 0,
        shuffle: bool = False,
    ) -> list[dict[str, dict[str, float]]]:
        """Learns from one batch per learner, with equally many rows each.

        Args:
            minibatch_size: rows of a minibatch; None: all of them. An epoch's last minibatch takes
                the remainder, so that no row is left out.
            num_total_minibatches: how many, whatever ``num_epochs`` says; 0: as that says.

        Returns:
            for each learner the parts of the last minibatch's loss, by module id and name.
        """
        rows = self.rows(batches)
        for optimiser in self.optimisers.values():
            optimiser.begin()
        coefficients = {mid: self._coefficients(mid) for mid in rows}
        chosen = list(
            self.minibatches(
                batches,
                minibatch_size=minibatch_size,
                num_epochs=num_epochs,
                num_total_minibatches=num_total_minibatches,
                shuffle=shuffle,
            )
        )
        parts: dict[str, Parts] = {}
        with self.precision():
            for turn in self.turns(rows):
                flat = {
                    mid: {n: c.flatten(0, 1) for n, c in own.items()} for mid, own in turn.items()
                }
                for indices, is_last in chosen:
                    parts |= self._step(flat, indices, coefficients, is_last)
        for optimiser in self.optimisers.values():
            optimiser.end()
        self.track_observations(batches)
        return [
            {
                mid: {name: part[index].item() for name, part in own.items()}
                for mid, own in parts.items()
            }
            for index in range(len(self.learners))
        ]

    def rows(self, batches: Sequence[TeamBatch]) -> ModuleRows:
        """Returns what the networks learn from, see :func:`training_rows`."""
        for network in self.networks.values():
            network.refresh()
        with self.precision():
            return training_rows(self.learners, self.networks, batches)

    def turns(self, rows: ModuleRows) -> Iterator[ModuleRows]:
        """Returns the rows of the networks that step together, to be learned from turn by turn.

        With simultaneous updates there is one turn, of all; else see :func:`in_turns`. Each turn
        goes through the same minibatches, so that the first one learns what it would at once.

        Raises:
            InputError: learners of unlike numbers of updates, which would differ in their orders.
        """
        if self.config.update == "simultaneous":
            return iter([rows])
        numbers = {learner.num_updates for learner in self.learners}
        if len(numbers) > 1:
            raise InputError(
                "update = 'sequential': expected members of a stack with equally many updates, "
                f"got {sorted(numbers)}"
            )
        return in_turns(rows, order_of(self.learners[0].plan.team.agents, *numbers), self.networks)

    def track_observations(self, batches: Sequence[TeamBatch]) -> None:
        """Moves the actors' observation filters, if they have any."""
        track_observations(self.learners, self.networks, batches)

    def minibatches(
        self, batches: Sequence[TeamBatch], **settings: Any
    ) -> Iterator[tuple[Tensor, bool]]:
        """Yields indices into the learners' rows one behind the other, (S, m), and "the last".

        The settings are those of :meth:`run`. Sequences that are remembered stay whole.
        """
        generators = [learner.generator for learner in self.learners]
        if batches[0].memories:
            [batch], [generator] = batches, generators  # the configuration has seen to it
            most = self.learners[0].max_seq_len
            chosen = minibatches_of_sequences(batch.lengths, most, generator, **settings)
        else:
            chosen = minibatches_of_rows(len(batches[0]), generators, **settings)
        return ((indices.to(self._device), last) for indices, last in chosen)

    def precision(self) -> Any:
        """The context in which networks are run: bfloat16 products with ``mixed_precision``."""
        mixed = self.config.mixed_precision
        return torch.autocast(self._device.type, torch.bfloat16, enabled=mixed)

    def _step(
        self,
        rows: ModuleRows,
        chosen: Tensor,
        coefficients: dict[str, Coefficients],
        last: bool,
    ) -> dict[str, Parts]:
        """Takes a step of every network along the gradient of a minibatch.

        Args:
            rows: columns of the learners' rows one behind the other, (S * R, …).
            chosen: indices into them, (S, m).
        """
        gradients, parts = {}, {}
        size, indices = chosen.shape, chosen.flatten()
        for mid, columns in rows.items():
            minibatch = {
                name: column.index_select(0, indices).unflatten(0, size)
                for name, column in columns.items()
            }
            gradients[mid], parts[mid] = self._gradient(mid, minibatch, coefficients[mid], last)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            _average(list(gradients.values()))
        for mid, gradient in gradients.items():
            network = self.networks[mid]
            most = coefficients[mid].most
            if most is not None:
                by = self.learners[0].module_configs[mid].grad_clip_by
                norms = clip(gradient, most, by, network.sizes)
                if last:
                    parts[mid]["gradients_global_norm"] = norms
            self.optimisers[mid].step(gradient)
        return parts

    def _gradient(
        self, mid: str, minibatch: Rows, coefficients: Coefficients, last: bool
    ) -> tuple[Tensor, Parts]:
        network, is_critic = self.networks[mid], mid in self.critics
        if last:  # once per update, with the parts of the loss: not worth a compilation
            function = critic_gradient if is_critic else actor_gradient
            return function(network.module, network.values, minibatch, coefficients, True)  # type: ignore[arg-type]
        function = self._gradients[is_critic]
        return function(network.module, network.values, minibatch, coefficients)

    def _coefficients(self, mid: str) -> Coefficients:
        learners = self.learners
        configs = [learner.module_configs[mid] for learner in learners]

        def column(values: Sequence[Any]) -> Tensor:
            return torch.tensor([[float(value)] for value in values], device=self._device)

        entropy = kl = None
        if mid not in self.critics:
            weights = [
                learner.entropy_coeff_schedulers_per_module[mid].get_current_value()
                for learner in learners
            ]
            entropy = column(weights) if any(weights) else None
            if configs[0].use_kl_loss:
                kl = column([learner.curr_kl_coeffs_per_module[mid] for learner in learners])
        return Coefficients(
            clip=column([config.clip_param for config in configs]),
            entropy=entropy,
            kl=kl,
            value=column([config.vf_loss_coeff for config in configs]),
            most=None
            if configs[0].grad_clip is None
            else column([config.grad_clip for config in configs]),
        )


class Compiled:
    """A function by ``torch.compile``; as it is, with a message, where that does not work."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.plain = function
        self.function: Callable[..., Any] = torch.compile(function, dynamic=False)

    def __call__(self, *args: Any) -> Any:
        if self.function is self.plain:
            return self.plain(*args)
        try:
            return self.function(*args)
        except Exception as error:  # whatever is missing: a compiler, a header, an operator
            result = self.plain(*args)  # if this fails too, it was no matter of compilation
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            logger.warning("compiled = True: torch.compile failed, going on without: %s", reason)
            self.function = self.plain
            return result


def _average(tensors: Sequence[Tensor]) -> None:
    """Replaces tensors by their means over all learners' processes, in one message."""
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    torch.distributed.all_reduce(flat)
    flat /= torch.distributed.get_world_size()
    for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))
