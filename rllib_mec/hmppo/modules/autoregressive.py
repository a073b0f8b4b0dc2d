"""Choices that are made entity after entity, each seeing those made before it.

Independent choices cannot balance: what all entities alike should not do at once, they either all
do or leave to chance. Here the logits of entity i depend on the choices z_j of all j < i,

    x_i = act(W h_i + (1/N) · sum_{j<i} A_{z_j} h_j + b),    logits_i = V x_i + c,

with h the entities' encodings, and the joint probability is the product of the conditional ones.
Where the choices are known, as in training, one pass gives the logits of all entities; to make
them takes N short steps. No weight depends on N.

Unlike independent choices, these depend on the order of choosing. By default it is that in which
the environment lays out the entities; where the environment says by which of their numbers
(``entity_order``, see :class:`~rllib_mec.hmppo.team.Team`), entities choose by its falling value,
so that the order means something and the layout nothing.

A row's entropy and divergence are the sums of those of its conditional distributions, at the
choices that were made. Over rows as the old policy draws them, the mean of the divergence from it
is that of the joint distributions; the entropy's gradient takes the earlier choices as given.
"""

from __future__ import annotations

from collections.abc import Sequence

import gymnasium as gym
import torch
from torch import Tensor, nn
from torch.nn import functional

from rllib_mec.errors import InputError
from rllib_mec.hmppo.action_codec import ActionCodec
from rllib_mec.hmppo.action_mask import forbid
from rllib_mec.hmppo.distributions import ActionDistribution
from rllib_mec.hmppo.leaf_distributions import FORBIDDEN
from rllib_mec.hmppo.modules.dense import ACTIVATIONS, activate, product
from rllib_mec.hmppo.modules.networks import MLP, EntityEncoder, Network, Tape, Values
from rllib_mec.hmppo.team import Team

CASE_HEADS = ("factorised", "autoregressive")
"""Independent choices given the observation, or each given those of earlier entities as well."""


def choices_per_entity(codec: ActionCodec, num_entities: int) -> int | None:
    """Among how many each entity chooses, or None if the action is not one such choice per entity.

    The action must be a single leaf of coins or equal choices, with one entry for each entity.
    """
    if len(codec.leaves) != 1:
        return None
    leaf = codec.leaves[0]
    if leaf.size != num_entities or len(set(leaf.choices)) != 1:  # a number has no choices
        return None
    return leaf.choices[0]


def choosing_in_turn(team: Team) -> list[str]:
    """The agents whose entities can choose one after the other.

    Raises:
        InputError: there are none.
    """
    n = team.require_entities()
    agents = [
        agent
        for agent in team.agents
        # Members of a group do not see each other's choices.
        if agent not in team.members and choices_per_entity(team.codecs[agent], n) is not None
    ]
    if not agents:
        raise InputError(
            "case_head = 'autoregressive': expected an agent whose action is a MultiDiscrete of "
            f"one choice for each of the {n} entities, found none among {', '.join(team.agents)}"
        )
    return agents


class AutoregressiveHeads(Network):
    """Entity encoder and a choice of each entity: (S, R, N, F) to logits (S, R, N, L).

    Args:
        num_choices: K; a choice among two has a single logit, L = 1, others have L = K.
        output_gain: scale of the last layer's weights, V.
        order_by: index of the feature by whose falling value entities choose; None: as they lie.
        masked: whether some of the choices may be forbidden.
    """

    def __init__(
        self,
        num_features: int,
        hidden: Sequence[int],
        num_choices: int,
        activation: str,
        output_gain: float,
        order_by: int | None = None,
        masked: bool = False,
    ) -> None:
        super().__init__()
        self.num_choices = num_choices
        self.order_by = order_by
        self.one = ActionCodec(gym.spaces.Discrete(num_choices), masked=masked)
        self.activation = ACTIVATIONS[activation]
        self.encoder = EntityEncoder(num_features, hidden, activation)
        width = self.encoder.num_outputs
        # The first layer is [W, A_0, …, A_{K-1}], as those of the encodings and their sums.
        self.head = MLP(
            (1 + num_choices) * width, [width, self.one.num_logits], activation, output_gain
        )

    @property
    def last(self) -> nn.Linear:
        return self.head.last

    def trace(
        self, values: Values, x: Tensor, actions: Tensor | None = None
    ) -> tuple[Tensor, Tape]:
        """Logits at the choices that were made.

        Args:
            x: (S, R, N, F).
            actions: the choices, (S, R, N).
        """
        if actions is None:
            raise ValueError(
                "an autoregressive head gives no logits without actions: each entity's depend on "
                "the choices of those before it"
            )
        order = self._order(x)
        x, actions = _arranged(x, order), _arranged(actions, order)
        h, encoder_tape = self.encoder.trace(values[:-4], x)
        made = self._made(actions) / x.shape[2]
        terms = made[:, :, :-1, :, None] * h[:, :, :-1, None]
        # Exclusive: shifted by an entity, so that nothing of an entity's own choice is left over.
        earlier = functional.pad(terms.cumsum(dim=2), (0, 0, 0, 0, 1, 0))
        joined = torch.cat([h, earlier.flatten(3)], dim=-1)
        y, head_tape = self.head.trace(values[-4:], joined.flatten(1, 2))
        logits = _arranged(y.unflatten(1, x.shape[1:3]), _inverse(order))
        return logits, (encoder_tape, head_tape, made, order)

    def pull(self, values: Values, tape: Tape, gradient: Tensor) -> list[Tensor]:
        encoder_tape, head_tape, made, order = tape
        gradient = _arranged(gradient, order)
        to_joined, head = self.head.pull_to_input(values[-4:], head_tape, gradient.flatten(1, 2))
        to_joined = to_joined.unflatten(1, gradient.shape[1:3])
        width = to_joined.shape[-1] // (1 + self.num_choices)
        to_earlier = to_joined[..., width:].unflatten(-1, (self.num_choices, width))
        # An encoding has gone into the sums of all entities after its own.
        later = to_earlier.sum(dim=2, keepdim=True) - to_earlier.cumsum(dim=2)
        to_h = to_joined[..., :width] + (made[..., None] * later).sum(dim=3)
        return [*self.encoder.pull(values[:-4], encoder_tape, to_h), *head]

    @torch.no_grad()
    def decide(
        self,
        values: Values,
        x: Tensor,
        noise: Tensor | None,
        allowed: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Makes the choices; returns them, (S, R, N), and their logits, (S, R, N, L).

        Args:
            x: (S, R, N, F).
            noise: (S, R, N), uniform on [0, 1); None for each entity's most probable choice.
            allowed: which choices each entity has, (S, R, N, K); None: all.
        """
        order = self._order(x)
        x = _arranged(x, order)
        noise = None if noise is None else _arranged(noise, order)
        left = None if allowed is None else _arranged(allowed, order).unbind(dim=2)
        entities, is_coin = x.shape[2], self.num_choices == 2
        own, *by_choice = self._projected(values, x)
        weight, bias = values[-2].mT, values[-1][:, None]
        logits = x.new_empty(entities, *x.shape[:2], self.one.num_logits)
        choices = x.new_empty(entities, *x.shape[:2], 1)
        draws = None if noise is None else noise.movedim(-1, 0)[..., None]
        # A coin is 1 where the noise is below sigmoid(logit): where its logit is below the logit.
        thresholds = torch.zeros_like(choices) if draws is None else draws.logit()
        if left is not None:
            thresholds = thresholds.clamp_min(FORBIDDEN / 2)  # that of a noise of 0 is -inf
        earlier = torch.zeros_like(own[0])
        for i, made in enumerate(choices):
            joined = torch.add(own[i], earlier, alpha=1 / entities)
            encoded, _ = activate(joined, self.activation)
            of_entity = torch.baddbmm(bias, encoded, weight, out=logits[i])
            if left is not None:
                of_entity.copy_(forbid(self.one.leaves[0], of_entity, left[i]))
            if is_coin:
                torch.lt(thresholds[i], of_entity, out=made)
                earlier.add_(torch.lerp(by_choice[0][i], by_choice[1][i], made))
                continue
            distribution = ActionDistribution(self.one, of_entity)
            made.copy_(distribution.mode() if draws is None else distribution.sample(draws[i]))
            for k, term in enumerate(by_choice):
                earlier.addcmul_((made == k).to(earlier.dtype), term[i])
        back = _inverse(order)
        return _arranged(choices[..., 0].movedim(0, -1), back), _arranged(
            logits.movedim(0, 2), back
        )

    def _order(self, x: Tensor) -> Tensor | None:
        """Which entity chooses when, (S, R, N); None: as they lie."""
        if self.order_by is None:
            return None
        return x[..., self.order_by].argsort(dim=2, descending=True, stable=True)

    def _projected(self, values: Values, x: Tensor) -> list[Sequence[Tensor]]:
        """What the steps of :meth:`decide` add up, (S, R, H) for each entity of each.

        Returns:
            W h + b, and then A_k h of each choice k.
        """
        h, _ = self.encoder.trace(values[:-4], x)
        weight, bias = values[-4:-2]
        matrices = weight.unflatten(-1, (1 + self.num_choices, -1)).transpose(1, 2).flatten(1, 2)
        # Entities before rows, so that what a step reads lies together.
        products = product(h.transpose(1, 2).flatten(1, 2), matrices.mT)
        own, *by_choice = products.unflatten(1, (x.shape[2], -1)).split(bias.shape[-1], dim=-1)
        own.add_(bias[:, None, None])
        return [part.unbind(dim=1) for part in (own, *by_choice)]

    def _made(self, actions: Tensor) -> Tensor:
        """Which choices were made, one-hot, (S, R, N, K)."""
        numbers = torch.arange(self.num_choices, device=actions.device)
        return (actions.round()[..., None] == numbers).to(actions.dtype)


def _arranged(values: Tensor, order: Tensor | None) -> Tensor:
    """Entities' values, (S, R, N) or (S, R, N, F), in an order, (S, R, N)."""
    if order is None:
        return values
    if values.dim() == order.dim():
        return values.gather(2, order)
    return values.gather(2, order[..., None].expand(*order.shape, values.shape[-1]))


def _inverse(order: Tensor | None) -> Tensor | None:
    return None if order is None else order.argsort(dim=2)
