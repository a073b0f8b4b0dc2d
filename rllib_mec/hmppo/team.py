"""The team: which agents act, in which order, and what they see of each other's actions."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Container, Mapping
from typing import Any

import gymnasium as gym
import torch
from torch import Tensor

from rllib_mec.errors import InputError
from rllib_mec.hmppo.action_codec import ActionCodec
from rllib_mec.hmppo.entities import check_entities
from rllib_mec.hmppo.groups import AgentGroups, Members, at_entries, joined_space
from rllib_mec.hmppo.observation_codec import Floats, ObservationCodec
from rllib_mec.hmppo.slots import Slots, check_slots, decision_points, filled, undecided

RATIOS = ("joint", "entity", "branch")
"""What has a probability ratio and a clip of its own.

An agent's action, each entity's part of it, or each of its entries.
"""

Active = Mapping[str, Tensor]
"""Whether each member was there to act, (…, members) bool, of agents that were not always."""


@dataclasses.dataclass(frozen=True)
class Team:
    """Agents that act in the steps of an environment, for one shared reward.

    Not every agent need be there in every step: it may come late, leave, or take turns with others.

    An environment declares what is special about its agents by attributes, all optional:

    * ``agent_order``: the order in which the agents decide within a step (default: that of
      ``possible_agents``);
    * ``action_slots``: ``{observer: {earlier agent: positions}}``, where in the observer's flat
      observation the code of the earlier agent's action in the same step belongs. The
      environment leaves zeros there; see :meth:`ActionCodec.code` for the code;
    * ``num_entities``: observations and actions of all agents are sets of that many
      equal-shaped entities, laid out entity by entity;
    * ``entity_order``: ``{agent: index}``, by which of an entity's numbers in the agent's
      observation entities choose that choose one after the other: the largest first;
    * ``agent_groups``: ``{group: members}``, alike agents that decide at the same point, each from
      its own observation, and share one actor. What is said above of agents then holds for groups
      in place of their members: ``agent_order`` and ``action_slots`` name groups, and an
      environment's batched form takes and gives their arrays. Who trains may choose other groups,
      see :mod:`rllib_mec.hmppo.team_of_env`.

    An observation may come with a mask of the agent's action, see
    :mod:`rllib_mec.hmppo.action_mask`; positions are those in the flat observation, in which each
    member's mask follows its features.

    A group is an agent of the team. Its observation is that of its members, one after the other,
    its action laid out as :mod:`rllib_mec.hmppo.groups` says.

    Attributes:
        agents: ids of agents and groups, in the order they decide.
        observation_spaces: see :mod:`rllib_mec.hmppo.observation_codec`; of a group, that of one
            member.
        action_spaces: see :mod:`rllib_mec.hmppo.action_codec`; of a group, that of one member.
        slots: as ``action_slots``.
        num_entities: as above, or None.
        members: as ``agent_groups``.
        entity_order: as above.
        ratio: one of :data:`RATIOS`; each member of a group has its own in any case.
    """

    agents: tuple[str, ...]
    observation_spaces: Mapping[str, gym.Space]
    action_spaces: Mapping[str, gym.Space]
    slots: Slots = dataclasses.field(default_factory=dict)
    num_entities: int | None = None
    members: Members = dataclasses.field(default_factory=dict)
    ratio: str = "joint"
    entity_order: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for agent in self.agents:
            # RLlib's module ids are strings, and every actor goes by its agent's id.
            if not isinstance(agent, str):
                raise InputError(
                    f"agent {agent!r}: expected a string as the id of an agent that is in no group"
                )
        codecs = {
            a: ActionCodec(
                self._action_space(a), a, parts=self.num_parts(a), branches=self.branches(a)
            )
            for a in self.agents
        }
        object.__setattr__(self, "codecs", codecs)
        single = {a: ActionCodec(self.action_spaces[a], agent=a) for a in self.members}
        object.__setattr__(self, "member_codecs", single)
        observed = {
            a: ObservationCodec(self.observation_spaces[a], single.get(a, codecs[a]), a)
            for a in self.agents
        }
        object.__setattr__(self, "observation_codecs", observed)
        check_slots(
            self.slots,
            self.agents,
            {a: codec.code_size for a, codec in codecs.items()},
            {a: self._places(a) for a in self.agents},
        )
        for agent, index in self.entity_order.items():
            if agent not in self.agents:
                raise InputError(f"entity_order of {agent!r}: expected one of {self.agents}")
            numbers = self.num_features(agent) // (self.num_entities or 1)
            if not 0 <= index < numbers:
                raise InputError(
                    f"entity_order[{agent}] = {index!r}: expected an index of one of an entity's "
                    f"{numbers} numbers"
                )

    @classmethod
    def of_env(cls, env: Any, agent_groups: AgentGroups = None) -> Team:
        """The team of an environment; see :func:`~rllib_mec.hmppo.team_of_env.team_of`."""
        from rllib_mec.hmppo.team_of_env import team_of

        return team_of(env, agent_groups)

    codecs: Mapping[str, ActionCodec] = dataclasses.field(init=False, repr=False, compare=False)
    """The codec of each agent's actions."""

    member_codecs: Mapping[str, ActionCodec] = dataclasses.field(
        init=False, repr=False, compare=False
    )
    """The codec of one member's actions, for each group."""

    observation_codecs: Mapping[str, ObservationCodec] = dataclasses.field(
        init=False, repr=False, compare=False
    )
    """The codec of each agent's observations; of a group, that of one member's."""

    def observation_size(self, agent: str) -> int:
        """Entries of the agent's flat observation."""
        return self.observation_codecs[agent].size * self.num_members(agent)

    def num_features(self, agent: str) -> int:
        """Entries of the agent's flat observation that networks see: all but masks."""
        return self.observation_codecs[agent].num_features * self.num_members(agent)

    def features(self, agent: str, observation: Tensor) -> Tensor:
        """What networks see, (…, num_features), of flat observations, (…, observation_size)."""
        return self.observation_codecs[agent].split(observation)[0]

    def _places(self, agent: str) -> Container[int]:
        """Positions of what networks see in the agent's flat observation."""
        codec, every = self.observation_codecs[agent], range(self.observation_size(agent))
        if codec.mask is None:
            return every
        return {p for p in every if p % codec.size < codec.num_features}

    @functools.cached_property
    def masked(self) -> tuple[str, ...]:
        """The agents whose observations hold masks."""
        return tuple(a for a in self.agents if self.observation_codecs[a].mask is not None)

    def flatten(self, observations: Mapping[str, Any]) -> dict[str, Floats]:
        """Returns flat observations, (B, observation_size), of those (B, …) of each agent."""
        return {
            agent: self.observation_codecs[agent].flatten(
                observations[agent], self.num_members(agent)
            )
            for agent in self.agents
        }

    def ids(self, agent: str) -> tuple[str, ...]:
        """The environment's agents that ``agent`` stands for: a group's members, or itself."""
        return self.members.get(agent, (agent,))

    def num_members(self, agent: str) -> int:
        """How many of the environment's agents ``agent`` stands for."""
        return len(self.ids(agent))

    def branches(self, agent: str) -> bool:
        """Whether each entry of the agent's action has a probability ratio of its own."""
        return self.ratio == "branch" and agent not in self.members

    def num_parts(self, agent: str) -> int:
        """How many entities' or members' parts of its action have a probability ratio of their own.

        With branches it is the entries that do.
        """
        if agent in self.members:
            return self.num_members(agent)
        return (self._entities or 1) if self.ratio == "entity" else 1

    @property
    def _entities(self) -> int | None:
        """Members of groups are entities, also where the environment says nothing of entities."""
        sizes = [len(ids) for ids in self.members.values()]
        return self.num_entities or next(iter(sizes), None)

    def _action_space(self, agent: str) -> gym.Space:
        space = self.action_spaces[agent]
        return joined_space(space, self.num_members(agent)) if agent in self.members else space

    def require_entities(self) -> int:
        """Returns the number of entities, having checked that all sizes are multiples of it.

        Members of groups are entities.

        Raises:
            InputError: the environment declares no entities, or some size does not fit.
        """
        n = self._entities
        if n is None:
            raise InputError(
                "entity_shared = true: expected an environment that declares num_entities"
            )
        check_entities(self, n)
        return n

    def fill_slots(
        self,
        agent: str,
        observation: Tensor,
        flat_actions: Mapping[str, Tensor],
        active: Active | None = None,
    ) -> Tensor:
        """Returns the agent's observation with the codes of earlier actions in their slots.

        Args:
            observation: (…, observation_size), left as it is.
            flat_actions: flat actions of the agents that have decided, (…, size) each; slots of
                others stay as they are.
            active: who was there; who was not has decided nothing, which zeros stand for.
        """
        seen = {a: p for a, p in self.slots.get(agent, {}).items() if a in flat_actions}
        if not seen:
            return observation
        codes = []
        for other, positions in seen.items():
            codec, there = self.codecs[other], active.get(other) if active else None
            code = codec.code(flat_actions[other])
            if there is not None:
                widths = [leaf.num_logits for leaf in codec.leaves]
                code = torch.where(at_entries(there, widths), code, 0.0)
            codes.append((positions, code))
        return filled(observation, codes)

    def blanked(self, observations: Mapping[str, Tensor], active: Active) -> dict[str, Tensor]:
        """Returns observations, (…, observation_size), with zeros for who is not there."""
        return {
            agent: own
            if active.get(agent) is None
            else torch.where(at_entries(active[agent], [own.shape[-1]]), own, 0.0)
            for agent, own in observations.items()
        }

    def as_seen(
        self, observations: Mapping[str, Tensor], actions: Mapping[str, Tensor], active: Active
    ) -> dict[str, Tensor]:
        """Observations as critics see them: with slots filled in, and zeros for who is not there.

        Args:
            observations: (…, observation_size) of each agent.
            actions: flat ones, of those that have decided.
            active: who was there.
        """
        seen = {a: self.fill_slots(a, observations[a], actions, active) for a in self.agents}
        return self.blanked(seen, active) if active else seen

    @property
    def decision_points(self) -> dict[str, int]:
        """Index of the point at which each agent decides, see :func:`decision_points`."""
        return decision_points(self.agents, self.slots)

    def undecided_slots(self, point: int) -> dict[str, list[int]]:
        """Returns, for each observer, the positions of slots not yet decided at ``point``."""
        return undecided(self.slots, self.decision_points, point)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the spaces, as plain values (for a model_config)."""
        described: dict[str, Any] = {
            "agents": list(self.agents),
            "slots": {o: {a: list(p) for a, p in seen.items()} for o, seen in self.slots.items()},
            "num_entities": self.num_entities,
        }
        # Not where there is nothing to say: so recordings go on that know nothing of these.
        if self.members:
            described["members"] = {group: list(ids) for group, ids in self.members.items()}
        if self.ratio != "joint":
            described["ratio"] = self.ratio
        return described

    @classmethod
    def from_dict(
        cls,
        values: Mapping[str, Any],
        observation_spaces: Mapping[str, gym.Space],
        action_spaces: Mapping[str, gym.Space],
    ) -> Team:
        """The inverse of :meth:`to_dict`."""
        return cls(
            agents=tuple(values["agents"]),
            observation_spaces=observation_spaces,
            action_spaces=action_spaces,
            slots={o: {a: tuple(p) for a, p in s.items()} for o, s in values["slots"].items()},
            num_entities=values["num_entities"],
            members={group: tuple(ids) for group, ids in values.get("members", {}).items()},
            ratio=values.get("ratio", "joint"),
        )
