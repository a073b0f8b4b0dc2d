"""Means over the rows in which an agent was there to act.

Where agents are not always there, their rows have one more column, ``active``: (S, R, members), 1
where the member acted. All sums are then over active members, and means over the rows in which one
member at least was: what an agent learns from is what it would be if the other rows were not there.
"""

from __future__ import annotations

from torch import Tensor

from rllib_mec.hmppo.action_codec import ActionCodec
from rllib_mec.hmppo.distributions import ActionDistribution
from rllib_mec.hmppo.groups import at_entries, by_member
from rllib_mec.hmppo.modules.actor import Actor
from rllib_mec.hmppo.modules.recurrent import ACTIVE

__all__ = ["ACTIVE", "at_parameters", "mean", "mean_entropy", "mean_kl", "weights"]


def weights(active: Tensor) -> Tensor:
    """The weight of each member in each row, (…, R, members): those of rows add up to 1.

    That is for one member; with several, each active one has the weight of its row.
    """
    rows = active.amax(dim=-1).sum(dim=-1).clamp_min(1.0)
    return active / rows[..., None, None]


def mean(values: Tensor, active: Tensor) -> Tensor:
    """The mean over active rows, (…), of sums over active members of values (…, R, members)."""
    return (values * weights(active)).sum(dim=(-2, -1))


def at_parameters(codec: ActionCodec, of_members: Tensor) -> Tensor:
    """Numbers of members, (…, members), at each parameter of their distributions, (…, P)."""
    if of_members.shape[-1] == 1:
        return of_members
    return at_entries(of_members, codec.parameter_widths)


def mean_entropy(actor: Actor, of: ActionDistribution, active: Tensor | None) -> Tensor:
    """The mean entropy, (…), of distributions (…, R), those of an actor."""
    if active is None:
        return of.entropy().mean(dim=-1)
    [own] = _by_member(actor, active, of)
    return mean(own.entropy().view_as(active), active)


def mean_kl(
    actor: Actor, old: ActionDistribution, new: ActionDistribution, active: Tensor | None
) -> Tensor:
    """The mean divergence, (…), from ``old`` to ``new``, see :func:`mean_entropy`."""
    if active is None:
        return old.kl(new).mean(dim=-1)
    before, after = _by_member(actor, active, old, new)
    return mean(before.kl(after).view_as(active), active)


def _by_member(
    actor: Actor, active: Tensor, *distributions: ActionDistribution
) -> list[ActionDistribution]:
    """Distributions of each member's actions, (…, R, members); of a single agent's, (…, R)."""
    members = active.shape[-1]
    if members == 1:
        return list(distributions)
    return [
        ActionDistribution(
            actor.member_codec, by_member(own.parameters, own.codec.parameter_widths, members)
        )
        for own in distributions
    ]
