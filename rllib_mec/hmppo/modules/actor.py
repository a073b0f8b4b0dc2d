"""An actor: one agent's policy network, from its observation to its action distribution.

That of a group is one network that each member asks for itself.
"""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor, nn

from rllib_mec.hmppo.action_codec import ActionCodec
from rllib_mec.hmppo.distributions import ActionDistribution
from rllib_mec.hmppo.groups import joined_space
from rllib_mec.hmppo.modules.asked_alone import AskedAlone
from rllib_mec.hmppo.modules.autoregressive import AutoregressiveHeads, choices_per_entity
from rllib_mec.hmppo.modules.images import plain_network
from rllib_mec.hmppo.modules.leaf_parameters import LeafParameters
from rllib_mec.hmppo.modules.networks import (
    EntityHeads,
    MemberHeads,
    Network,
    Tape,
    Values,
)
from rllib_mec.hmppo.modules.observation_filter import ObservationFilter
from rllib_mec.hmppo.modules.recurrent import (
    Memory,
    Recurrent,
    advance_members,
    pull_members,
    trace_members,
)
from rllib_mec.hmppo.observation_codec import ObservationCodec


class Actor(AskedAlone, TorchRLModule):
    """Maps observations (B, observation_size) to distribution parameters (B, num_parameters).

    Its ``model_config`` holds ``fcnet_hiddens``, ``fcnet_activation``, ``initial_log_std``,
    ``num_entities`` (None for a plain MLP), ``num_parts`` and ``branches`` (see
    :class:`~rllib_mec.hmppo.action_codec.ActionCodec`), ``num_members`` (None for an agent that is
    no group) and ``observation_filter``. Standard deviations do not depend on the observation; all
    entities or members share them, so that no weight depends on how many there are.

    The spaces of a group's actor are those of one member; observations and parameters may be those
    of one member, or of all, laid out as :mod:`rllib_mec.hmppo.groups` says. What it makes of a
    member depends on that member's observation alone.

    Where observations hold a mask, choices that it forbids have the probability 0, whatever the
    network says; see :mod:`rllib_mec.hmppo.action_mask`.

    With ``autoregressive`` in it, entities choose one after the other: parameters are then those
    at the choices that were made, and need the actions; see
    :mod:`rllib_mec.hmppo.modules.autoregressive`.

    Images in observations are seen by convolutions, see :mod:`rllib_mec.hmppo.modules.images`. With
    ``recurrent_layer``, an actor remembers the steps before, each member its own; see
    :mod:`rllib_mec.hmppo.modules.recurrent`.

    For ``trace`` and ``pull`` see :mod:`rllib_mec.hmppo.modules.networks`.

    Attributes:
        memory_size: numbers of all members' memories; 0 without any.
    """

    def setup(self) -> None:
        config = self.model_config
        members: int | None = config.get("num_members")
        space = joined_space(self.action_space, members) if members else self.action_space
        # Of one member, where there are several.
        self.member_codec = ActionCodec(self.action_space)
        self.observation_codec = ObservationCodec(self.observation_space, self.member_codec)
        self.codec = ActionCodec(
            space,
            parts=config.get("num_parts", 1),
            branches=config.get("branches", False),
            masked=self.observation_codec.mask is not None,
        )
        # Members are entities that know nothing of each other.
        self.num_entities: int | None = members or config["num_entities"]
        n = self.num_entities or 1
        num_inputs = self.observation_codec.num_features // (1 if members else n)
        self.num_inputs = num_inputs
        num_outputs = self.codec.num_logits // n
        hidden, activation = config["fcnet_hiddens"], config["fcnet_activation"]
        # Checkpoints of earlier versions have no such entry.
        self.autoregressive: bool = config.get("autoregressive", False)
        if self.autoregressive:
            choices = choices_per_entity(self.codec, n)
            assert choices is not None, "the configuration asks for this where it can be"
            self.network: Network = AutoregressiveHeads(
                num_inputs,
                hidden,
                choices,
                activation,
                0.01,
                order_by=config.get("entity_order"),
                masked=self.observation_codec.mask is not None,
            )
        else:
            self.network = self.make_network(num_inputs, num_outputs)
        self.memory_size = 0
        if isinstance(self.network, Recurrent):
            self.memory_size = self.network.memory_size * (members or 1)
        self.leaves = LeafParameters(self.codec, self.member_codec, n)
        # An empty parameter gets no gradient, which data-parallel learners do not accept.
        if self.leaves.num_stds:
            initial = float(config["initial_log_std"])
            self.log_std = nn.Parameter(torch.full((self.leaves.num_stds,), initial))
        self.filter = None
        if config["observation_filter"]:
            self.filter = ObservationFilter(num_inputs, self.observation_codec)

    def make_network(self, num_inputs: int, num_outputs: int) -> Network:
        """Returns the network that gives all outputs at once, of an entity or of the whole."""
        config = self.model_config
        hidden = config["fcnet_hiddens"]
        if self.num_entities and not config.get("num_members"):
            return EntityHeads(num_inputs, hidden, num_outputs, config["fcnet_activation"], 0.01)
        images = self.observation_codec.images
        if config.get("recurrent_layer"):
            return Recurrent(num_inputs, num_outputs, 0.01, config, images)
        plain = plain_network(num_inputs, [*hidden, num_outputs], 0.01, config, images)
        return MemberHeads(plain) if self.num_entities else plain

    def trace(
        self,
        values: Values,
        observations: Tensor,
        actions: Tensor | None = None,
        memory: Memory | None = None,
    ) -> tuple[Tensor, Tape]:
        """Distribution parameters of S actors, (S, R, num_parameters), and a tape.

        Args:
            observations: (S, R, observation_size), filtered.
            actions: flat ones, (S, R, size), that were taken; an autoregressive head needs them,
                to others they make no difference.
            memory: that of a recurrent actor.
        """
        network, log_std = self._split(values)
        features, masks = self.observation_codec.split(observations)
        if isinstance(self.network, Recurrent):
            assert memory is not None, "rows of recurrent actors come with their memories"
            members = features.unflatten(-1, (-1, self.num_inputs))
            outputs, tape = trace_members(self.network, network, members, memory)
        else:
            # Members may also be asked one at a time.
            sets = (-1, self.num_inputs)
            inputs = features.unflatten(-1, sets) if self.num_entities else features
            if isinstance(self.network, AutoregressiveHeads):
                outputs, tape = self.network.trace(network, inputs, actions)
            else:
                outputs, tape = self.network.trace(network, inputs)
            outputs = outputs if self.num_entities else outputs.unflatten(2, (1, -1))
        return self.leaves.join(outputs, log_std, masks), tape

    def pull(self, values: Values, tape: Tape, gradient: Tensor) -> list[Tensor]:
        """Gradients of ``values`` from that of the distribution parameters."""
        outputs, stds = self.leaves.part(gradient)
        network, _ = self._split(values)
        if isinstance(self.network, Recurrent):
            of_network = pull_members(self.network, network, tape, outputs)
        else:
            of_network = self.network.pull(
                network, tape, outputs if self.num_entities else outputs.flatten(2)
            )
        return of_network if stds is None else [stds, *of_network]

    def _split(self, values: Values) -> tuple[Values, Any]:
        """The network's values, and the standard deviations, which come first of all."""
        return (values[1:], values[0]) if self.leaves.num_stds else (values, None)

    def decide(
        self,
        values: Values,
        observations: Tensor,
        noise: Tensor | None,
        memory: Memory | None = None,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Lets S actors decide.

        Args:
            observations: (S, R, observation_size), filtered.
            noise: (S, R, size), see :func:`draw_noise`; None for the most probable actions.
            memory: that of a recurrent actor.

        Returns:
            flat actions, (S, R, size); the parameters they are drawn from; and memories after the
            step, (S, R, memory_size), None without any.
        """
        if isinstance(self.network, AutoregressiveHeads):
            features, masks = self.observation_codec.split(observations)
            entities = features.unflatten(-1, (self.codec.size, -1))
            allowed = (
                None if masks is None else masks.flatten(-2).unflatten(-1, (self.codec.size, -1))
            )
            actions, logits = self.network.decide(values, entities, noise, allowed)
            return actions, logits.flatten(2), None
        parameters, after = self.advance(values, observations, memory)
        distribution = ActionDistribution(self.codec, parameters)
        actions = distribution.mode() if noise is None else distribution.sample(noise)
        return actions, parameters, after

    def advance(
        self, values: Values, observations: Tensor, memory: Memory | None
    ) -> tuple[Tensor, Tensor | None]:
        """Distribution parameters of S actors, and memories after the step, None without any."""
        if not isinstance(self.network, Recurrent):
            return self.trace(values, observations)[0], None
        assert memory is not None, "a recurrent actor is asked with its memory"
        network, log_std = self._split(values)
        features, masks = self.observation_codec.split(observations)
        members = features.unflatten(-1, (-1, self.num_inputs))
        outputs, after = advance_members(self.network, network, members, memory)
        return self.leaves.join(outputs, log_std, masks), after

    def decide_alone(
        self, observations: Tensor, noise: Tensor | None, memory: Memory | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """The same of this actor, from observations (B, observation_size).

        Args:
            memory: of one actor, (1, B, …).
        """
        values = [value[None] for value in self.parameters()]
        drawn = None if noise is None else noise[None]
        actions, parameters, after = self.decide(values, observations[None], drawn, memory)
        return actions[0], parameters[0], None if after is None else after[0]

    def parameters_of(
        self, observations: Tensor, actions: Tensor | None = None, memory: Memory | None = None
    ) -> Tensor:
        """Distribution parameters, (B, num_parameters), of observations (B, observation_size).

        Args:
            actions: (B, size), see :meth:`trace`.
            memory: of one actor, (1, B, …).
        """
        values = [value[None] for value in self.parameters()]
        taken = None if actions is None else actions[None]
        return self.trace(values, observations[None], taken, memory)[0][0]

    def distribution(
        self, observations: Tensor, actions: Tensor | None = None
    ) -> ActionDistribution:
        """The action distribution at observations (B, observation_size)."""
        return ActionDistribution(self.codec, self.parameters_of(observations, actions))
