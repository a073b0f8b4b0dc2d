"""A critic's network, with normalised targets; :mod:`.critic_plan` says which critics there are."""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis.value_function_api import ValueFunctionAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor

from rllib_mec.hmppo.images import Image
from rllib_mec.hmppo.modules.images import plain_network
from rllib_mec.hmppo.modules.networks import EntityValue, Network, Tape, Values
from rllib_mec.hmppo.modules.recurrent import (
    MEMORY,
    Memory,
    Recurrent,
    advance_members,
    memory_of,
    pull_members,
    trace_members,
)


class Critic(TorchRLModule, ValueFunctionAPI):
    """A value network whose targets are normalised, on learners; also on runners if it remembers.

    It outputs normalised values; :meth:`compute_values` gives them in units of the return. When the
    statistics of the targets move, the last layer moves with them so that no value changes
    (PopArt, van Hasselt et al., 2016).

    Its ``model_config`` holds ``fcnet_hiddens``, ``fcnet_activation``, ``num_entities``, and the
    ``images`` among its inputs, each as the fields of an :class:`~rllib_mec.hmppo.images.Image`.
    For ``trace`` and ``pull`` see :mod:`rllib_mec.hmppo.modules.networks`.

    A recurrent critic has one memory, which goes from point to point and from step to step, or,
    ``by_member``, one for each member.

    Attributes:
        memory_size: numbers of all its memories; 0 without any.
    """

    DECAY = 0.99
    """Of the running moments, per training batch."""

    def setup(self) -> None:
        config = self.model_config
        self.network = self.make_network(self.observation_space.shape[-1])
        self._members: int | None = config.get("num_members")
        self.memory_size = 0
        if isinstance(self.network, Recurrent):
            self.memory_size = self.network.memory_size * (self._members or 1)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))
        # Exponential moments of the targets; their common weight undoes the start at zero.
        self.register_buffer("moments", torch.zeros(3))

    def make_network(self, num_inputs: int) -> Network:
        """Returns the network that gives values, (R, 1), of inputs (R, num_inputs).

        Critics of another kind have another one here, whose ``last`` layer is linear; one for
        which torch is to find the gradient is a
        :class:`~rllib_mec.hmppo.modules.by_autograd.ByAutograd`.
        """
        config = self.model_config
        hidden = config["fcnet_hiddens"]
        if config["num_entities"]:
            return EntityValue(num_inputs, hidden, config["fcnet_activation"])
        images = [Image(own[0], tuple(own[1]), own[2]) for own in config.get("images", ())]
        if config.get("recurrent_layer"):
            return Recurrent(num_inputs, 1, 1.0, config, images)
        return plain_network(num_inputs, [*hidden, 1], 1.0, config, images)

    def trace(
        self, values: Values, inputs: Tensor, memory: Memory | None = None
    ) -> tuple[Tensor, Tape]:
        """Normalised values of S critics, (S, R, K), and a tape.

        Args:
            inputs: (S, R, K, …), see :meth:`CriticPlan.inputs`.
            memory: that of a recurrent critic.
        """
        if isinstance(self.network, Recurrent):
            assert memory is not None, "rows of recurrent critics come with their memories"
            if self._members:
                outputs, tape = trace_members(self.network, values, inputs, memory)
            else:
                points = self._point_by_point(memory, inputs.shape[2])
                rows = inputs.flatten(1, 2)[:, :, None]
                outputs, tape = trace_members(self.network, values, rows, points)
        else:
            outputs, tape = self.network.trace(values, inputs.flatten(1, 2))
        return outputs.reshape(inputs.shape[:3]), tape

    def pull(self, values: Values, tape: Tape, gradient: Tensor) -> list[Tensor]:
        """Gradients of ``values`` from that of the normalised values, (S, R, K)."""
        if isinstance(self.network, Recurrent):
            by_member = gradient if self._members else gradient.flatten(1)[..., None]
            return pull_members(self.network, values, tape, by_member[..., None])
        return self.network.pull(values, tape, gradient.flatten(1)[..., None])

    def remember(self, values: Values, inputs: Tensor, before: Tensor) -> Tensor:
        """Memories of S recurrent critics after a step, (S, R, memory_size), from those before.

        Args:
            inputs: (S, R, K, …), of the step.
        """
        assert isinstance(self.network, Recurrent), "others have no memory"
        if self._members:
            return advance_members(self.network, values, inputs, Memory(before))[1]
        for point in inputs.split(1, dim=2):
            _, before = advance_members(self.network, values, point, Memory(before))
        return before

    def _point_by_point(self, memory: Memory, points: int) -> Memory:
        """The memory of a step's points, one behind the other, of rows (S, R)."""
        before = memory.before.repeat_interleave(points, dim=1)
        starts = memory.starts
        if starts is None:
            starts = torch.ones(memory.before.shape[:2], dtype=torch.bool, device=before.device)
        first = torch.zeros(points, dtype=torch.bool, device=before.device)
        first[0] = True
        return Memory(before, (starts.bool()[..., None] & first).flatten(1))

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        values = [value[None] for value in self.network.parameters()]
        memory = memory_of({name: own[None] for name, own in batch.items() if name in MEMORY})
        return {Columns.VF_PREDS: self.trace(values, batch[Columns.OBS][None], memory)[0][0]}

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        # RLlib's own would switch all submodules to training mode: none of them has another.
        return self._forward(batch)

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> Tensor:
        """Values in units of the return, (R, K), of inputs (R, K, …) under "obs"."""
        return self._forward(batch)[Columns.VF_PREDS] * self.std + self.mean

    def normalise(self, targets: Tensor) -> Tensor:
        """Targets in the units of the network's output."""
        return (targets - self.mean) / self.std

    @torch.no_grad()
    def track(self, targets: Tensor) -> None:
        """Moves the statistics towards those of ``targets``; the values stay as they are."""
        batch = torch.stack(
            [torch.ones((), device=targets.device), targets.mean(), targets.square().mean()]
        )
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(batch)
            batch /= torch.distributed.get_world_size()
        self.moments.mul_(self.DECAY).add_(batch, alpha=1 - self.DECAY)
        weight, first, second = self.moments
        mean = first / weight
        std = (second / weight - mean.square()).clamp_min(1e-4).sqrt()
        head = self.network.last
        head.weight.mul_(self.std / std)
        head.bias.mul_(self.std).add_(self.mean - mean).div_(std)
        self.mean.copy_(mean)
        self.std.copy_(std)
