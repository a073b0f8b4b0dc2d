"""Which critics there are, what each one sees, and whose baseline it is.

A :class:`CriticPlan` is one of three arrangements:

* ``decision_point`` (default): one central network, evaluated at each agent's decision point. At
  a point it sees the joint state with the actions that are known by then and no others, so that
  no agent's baseline depends on its own action; point 0, where no action is known, is also the
  value that returns bootstrap from.
* ``joint_state``: one central network over {s1; s2} as printed in eq. (22) of the paper. If s2
  holds agent 1's action, the baseline of agent 1 depends on that action.
* ``separate``: a network for each agent over its own observation: independent PPO. That of a
  group is applied to each member's own observation alone, and gives each member its own value.

A central critic sees what all agents observe, or some of them, or the state of the environment in
place of it: then one value serves all points of a step. Who is not there observes zeros.

A recurrent critic remembers what it has seen, point after point; one that sees the environment's
state needs no memory and has none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from torch import Tensor

from rllib_mec.errors import InputError, unknown_name
from rllib_mec.hmppo.images import Image, images_of_all
from rllib_mec.hmppo.team import Team

CRITICS = ("decision_point", "joint_state", "separate")
CENTRAL_CRITIC = "central_critic"

STATE = "state()"
"""Under which observations hold the environment's state, which no agent's id can be."""


@dataclasses.dataclass(frozen=True)
class CriticPlan:
    """Which critics there are and what each is evaluated on; see the module's docstring.

    Attributes:
        kind: one of :data:`CRITICS`.
        team: the team.
        entity_shared: whether inputs keep the entities apart, (…, N, F) instead of (…, N * F). The
            members of groups are entities.
        seen: the agents whose observations a central critic sees; None: all.
        state_size: numbers of the environment's state, if a central critic sees that instead.
    """

    kind: str
    team: Team
    entity_shared: bool
    seen: tuple[str, ...] | None = None
    state_size: int | None = None

    def __post_init__(self) -> None:
        if self.kind == "separate" and (self.seen is not None or self.state_size is not None):
            raise InputError(
                "critic_input: expected 'observations' with critic = 'separate', whose critics see "
                "what their agents do"
            )
        for agent in self.seen or ():
            if agent not in self.team.agents:
                raise unknown_name("agent in critic_input", agent, self.team.agents)
        if (self.seen is not None and len(set(self.seen)) != len(self.seen)) or self.seen == ():
            raise InputError(
                f"critic_input = {list(self.seen or ())}: expected one agent or more, each once"
            )

    @property
    def critics(self) -> dict[str, tuple[str, ...]]:
        """The agents that each critic serves, by the critic's module id."""
        if self.kind == "separate":
            return {f"{agent}_critic": (agent,) for agent in self.team.agents}
        return {CENTRAL_CRITIC: self.team.agents}

    def sees(self, critic_id: str) -> tuple[str, ...]:
        """The agents whose observations a critic sees."""
        return self.critics[critic_id] if self.seen is None else self.seen

    def takes_entities(self, critic_id: str) -> bool:
        """Whether a critic's inputs keep the entities apart."""
        return self.entity_shared and self.state_size is None and not self.is_by_member(critic_id)

    @property
    def num_points(self) -> int:
        """K, how many times a critic is evaluated on a step (by member, once for each)."""
        if self.kind == "decision_point" and self.state_size is None:
            return max(self.team.decision_points.values()) + 1
        return 1

    def baseline_point(self, agent: str) -> int:
        """The point whose value is the agent's baseline; a state knows no actions of its step."""
        return self.team.decision_points[agent] if self.num_points > 1 else 0

    def is_by_member(self, critic_id: str) -> bool:
        """Whether a critic sees the members of a group one by one."""
        return self.kind == "separate" and self.critics[critic_id][0] in self.team.members

    def baselines(self, agent: str, values: Tensor) -> Tensor:
        """The agent's baseline, (…, 1), or one for each member, of a critic's values (…, K)."""
        if self.kind == "separate":
            return values
        point = self.baseline_point(agent)
        return values[..., point : point + 1]

    def state_values(self, values: Tensor) -> Tensor:
        """What returns bootstrap from, (…, 1), or one for each member, of values (…, K)."""
        return values if self.kind == "separate" else values[..., :1]

    @property
    def bootstraps_from_actions(self) -> bool:
        """Whether the value of a state needs the actions that would be taken in it."""
        return self.kind != "decision_point" and self.state_size is None and bool(self.team.slots)

    @property
    def num_markers(self) -> int:
        """Inputs that tell the points apart: one-hot, none if there is only one point."""
        return self.num_points if self.num_points > 1 else 0

    def input_shape(self, critic_id: str) -> tuple[int, ...]:
        """Shape of a critic's input at one point: (S,), or (N, F) if ``entity_shared``."""
        if self.state_size is not None:
            return (self.state_size,)
        size = sum(self.team.num_features(agent) for agent in self.sees(critic_id))
        if self.is_by_member(critic_id):
            return (size // self.team.num_members(self.critics[critic_id][0]),)
        if not self.entity_shared:
            return (size + self.num_markers,)
        n = self.team.require_entities()
        return (n, size // n + self.num_markers)

    def images(self, critic_id: str) -> tuple[Image, ...]:
        """The images in a critic's input at one point."""
        if self.state_size is not None:
            return ()
        team, codecs = self.team, self.team.observation_codecs
        by_member = self.is_by_member(critic_id)
        return images_of_all(
            (codecs[a].num_features, 1 if by_member else team.num_members(a), codecs[a].images)
            for a in self.sees(critic_id)
        )

    def inputs(self, critic_id: str, observations: Mapping[str, Tensor]) -> Tensor:
        """Returns a critic's inputs, (…, K, *input_shape).

        Args:
            observations: (…, observation_size) of each agent, slots filled in; under
                :data:`STATE` the environment's state, (…, S), if critics see that.
        """
        if self.state_size is not None:
            return observations[STATE].unsqueeze(-2)
        if self.is_by_member(critic_id):
            [group] = self.critics[critic_id]
            features = self.team.features(group, observations[group])
            return features.unflatten(-1, (-1, *self.input_shape(critic_id)))
        points = [self._point_input(critic_id, observations, k) for k in range(self.num_points)]
        return torch.stack(points, dim=-1 - len(self.input_shape(critic_id)))

    def _point_input(
        self, critic_id: str, observations: Mapping[str, Tensor], point: int
    ) -> Tensor:
        undecided = self.team.undecided_slots(point) if self.kind == "decision_point" else {}
        parts = []
        for agent in self.sees(critic_id):
            part = observations[agent]
            if undecided.get(agent):
                part = part.clone()
                part[..., undecided[agent]] = 0.0
            parts.append(self.team.features(agent, part))
        if self.entity_shared:
            n = self.team.require_entities()
            parts = [part.unflatten(-1, (n, -1)) for part in parts]
        if self.num_markers:
            marker = parts[0].new_zeros(*parts[0].shape[:-1], self.num_markers)
            marker[..., point] = 1.0
            parts.append(marker)
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)
