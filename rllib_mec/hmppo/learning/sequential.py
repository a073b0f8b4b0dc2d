"""Agents that learn one after the other: HAPPO's scheme, Kuba et al. 2021, arXiv 2109.11251.

Which agent learns first is drawn anew for each update. An agent goes through all its epochs
before the next one begins, and each weights its advantages by the ratios at which those before it
have arrived,

    M_1 = A,    M_{k+1} = M_k · pi_new(a | s) / pi_old(a | s) of the k-th agent,

so that it improves on what the team has become, not on what it was. PPO's clipped surrogate takes
M for the advantage; the ratios within M are not clipped, and are those of whole actions, also
where an action has several parts with a clip each. pi_old is the policy that has sampled.

In two things our teams are not those of that paper, whose agents decide at once and share A:

- An agent may observe what others have decided in the same step: the joint policy is
  pi(a_1 | s_1) · pi(a_2 | s_2, a_1) · …. Its ratio is still the product of the agents' ratios,
  each at the observation that was acted on, so that agents may learn in any order, whatever the
  order in which they decide.
- Each agent has an advantage of its own, from the baseline at its point of decision, and it is
  that one which is multiplied. A baseline that does not depend on its agent's action adds nothing
  to the mean of the gradient, with these weights or without: earlier decisions' ratios do not
  depend on that action either, and those of later decisions have mean 1 given all before them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing
from torch import Tensor

from rllib_mec.hmppo.distributions import ActionDistribution
from rllib_mec.hmppo.learning.active_rows import ACTIVE
from rllib_mec.hmppo.learning.training_rows import ModuleRows
from rllib_mec.hmppo.modules.recurrent import memory_of
from rllib_mec.hmppo.modules.stacked import Stacked

UPDATES = ("simultaneous", "sequential")
"""All networks take each step together, or the agents learn one after the other."""


def order_of(agents: Sequence[str], number: int) -> list[str]:
    """The order in which agents learn in the ``number``-th update.

    It is a random permutation that depends on the number alone: learners that train together,
    members of a stack and a run that goes on from a checkpoint all draw the same one.
    """
    return [agents[i] for i in np.random.default_rng(number).permutation(len(agents))]


def in_turns(
    rows: ModuleRows, order: Sequence[str], networks: Mapping[str, Stacked]
) -> Iterator[ModuleRows]:
    """Yields the rows that are learned from together, turn after turn.

    Critics learn in the first agent's turn: nothing of theirs depends on when, and learners that
    average their gradients have one message less to send than with a turn for them alone.

    Args:
        rows: of all modules that are to be trained.
        order: of the agents; who is not to be trained stays as it was, with ratio 1.
        networks: the modules by id; to be trained on what is yielded before the next is asked for.
    """
    agents = [agent for agent in order if agent in rows]
    yield {mid: own for mid, own in rows.items() if mid not in agents[1:]}
    weights: Any = 1.0
    for before, agent in itertools.pairwise(agents):
        weights = weights * ratios(networks[before], rows[before])[..., None]
        own = rows[agent]
        weighted = weights * own[Postprocessing.ADVANTAGES]
        yield {agent: {**own, Postprocessing.ADVANTAGES: weighted}}


@torch.no_grad()
def ratios(actors: Stacked, rows: Mapping[str, Tensor]) -> Tensor:
    """pi_new(a | s) / pi_old(a | s) of S actors in all their rows, (S, R)."""
    observations, actions = rows[Columns.OBS], rows[Columns.ACTIONS]
    # In full precision, as that of the recorded probabilities.
    with torch.autocast(observations.device.type, enabled=False):
        outputs = actors.outputs(observations, actions, memory=memory_of(rows))
        new = ActionDistribution(actors.module.codec, outputs)
        if ACTIVE in rows:  # who was not there has changed nothing
            change = new.log_probs(actions) - rows[Columns.ACTION_LOGP]
            return torch.where(rows[ACTIVE] > 0, change, 0.0).sum(dim=-1).exp()
        old = rows[Columns.ACTION_LOGP].sum(dim=-1)
        return (new.log_prob(actions) - old).exp()
