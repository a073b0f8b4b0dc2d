"""Critics: what each one sees, whose baseline it is, and its network with normalised targets.

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
from typing import Any

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis.value_function_api import ValueFunctionAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor

from rllib_mec.errors import InputError, unknown_name
from rllib_mec.hmppo.images import Image, images_of_all
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


class Critic(TorchRLModule, ValueFunctionAPI):
    """A value network whose targets are normalised, on learners only.

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
