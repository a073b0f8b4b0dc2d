"""The team's joint policy: agents sampled in order, each seeing the earlier ones' actions."""

from __future__ import annotations

import math
from typing import Any

import torch
import tree
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModule
from torch import Tensor

from rllib_mec.hmppo.distributions import ActionDistribution, draw_noise
from rllib_mec.hmppo.groups import by_member
from rllib_mec.hmppo.modules.critic_plan import CriticPlan
from rllib_mec.hmppo.modules.deciding import Decision, Memories, decide, remember
from rllib_mec.hmppo.modules.recurrent import CARRIED, MEMORY_IN, OWN, Memory
from rllib_mec.hmppo.team import Active, Team


class JointPolicy(MultiRLModule):
    """All actors of a team (and critics, on learners or where they remember) as one RLlib module.

    Its ``model_config["team"]`` is a :meth:`Team.to_dict`; module ids of actors are those of agents
    and groups. Critics that remember look on while their team acts: ``model_config["critics"]`` is
    then what their :class:`CriticPlan` says.
    """

    def setup(self) -> None:
        super().setup()
        described = self.model_config["team"]
        specs = {agent: self.rl_module_specs[agent] for agent in described["agents"]}
        self.team = Team.from_dict(
            described,
            observation_spaces={a: spec.observation_space for a, spec in specs.items()},
            action_spaces={a: spec.action_space for a, spec in specs.items()},
        )
        critics = self.model_config.get("critics")
        self.plan: CriticPlan | None = None
        if critics is not None:
            self.plan = CriticPlan(team=self.team, **critics)

    generator: torch.Generator | None = None
    """The random stream to explore with, on the CPU; None: torch's own."""

    marks_absent: bool = False
    """Whether observations may be NaN, which says that the agent is not there."""

    @torch.no_grad()
    def act(
        self,
        observations: dict[str, Tensor],
        *,
        explore: bool,
        generator: torch.Generator | None = None,
        active: Active | None = None,
        memories: Memories | None = None,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
        """Lets every agent of the team decide once.

        Args:
            observations: (B, observation_size) of each agent, slots empty.
            explore: True to sample, False for the most probable actions.
            generator: another random stream than the policy's own.
            active: who is there; what is returned of others means nothing.
            memories: (B, memory_size) of recurrent modules, in place of which those after the step
                are put; those of all actors that have one, see :meth:`initial_memories`.

        Returns:
            flat actions (B, size), the log probabilities of their parts (B, A) and the
            distribution parameters (B, num_parameters), of each agent.
        """
        team = self.team
        # float(): RLlib hands on observations of the environment's own type, such as bytes.
        flat = {agent: observations[agent].flatten(1).float() for agent in team.agents}
        noise = None
        if explore:
            rows, device = flat[team.agents[0]].shape[:1], flat[team.agents[0]].device
            noise = {
                agent: draw_noise(team.codecs[agent], rows, generator or self.generator).to(device)
                for agent in team.agents
            }
        filtered = self.filtered(flat)
        actions, parameters = decide(team, self._decide, filtered, noise, active, memories)
        if self.plan is not None and memories:
            remember(self.plan, self._remember, filtered, actions, active, memories)
        log_probs = {
            agent: ActionDistribution(team.codecs[agent], parameters[agent]).log_probs(own)
            for agent, own in actions.items()
        }
        return actions, log_probs, parameters

    def _decide(
        self, agent: str, observations: Tensor, noise: Tensor | None, memory: Memory | None
    ) -> Decision:
        # Learners wrap modules for data-parallel training; acting needs the bare one.
        of_one = None if memory is None else memory.of_one()
        return self[agent].unwrapped().decide_alone(observations, noise, of_one)

    def _remember(self, critic_id: str, inputs: Tensor, before: Tensor) -> Tensor:
        critic = self[critic_id].unwrapped()
        values = [value[None] for value in critic.network.parameters()]
        return critic.remember(values, inputs[None], before[None])[0]

    def initial_memories(self, num_envs: int, critics: bool = True) -> Memories:
        """Memories at the start of episodes, (B, memory_size) of each module that has one."""
        agents = self.team.agents
        return {
            mid: torch.zeros(num_envs, size)
            for mid, module in self.items()
            if (size := module.unwrapped().memory_size) and (critics or mid in agents)
        }

    def filtered(self, observations: dict[str, Tensor]) -> dict[str, Tensor]:
        """Observations (B, observation_size) through the actors' filters, if they have any."""
        filters = {agent: self[agent].unwrapped().filter for agent in observations}
        return {
            agent: observed if filters[agent] is None else filters[agent](observed)
            for agent, observed in observations.items()
        }

    def _forward_inference(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return self._forward_acting(batch, explore=False)

    def _forward_exploration(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return self._forward_acting(batch, explore=True)

    def _forward_acting(self, batch: dict[str, Any], *, explore: bool) -> dict[str, Any]:
        # An agent can also be missing in some of a runner's environments only.
        team = self.team
        rows = {
            a: len(batch[a][Columns.OBS]) / team.num_members(a) if a in batch else 0
            for a in team.agents
        }
        # Of a group, which lacks a member somewhere, not even a whole number of rows is left.
        whole = math.ceil(max(rows.values()))
        missing = [agent for agent in rows if rows[agent] < whole]
        if missing:
            others = [agent for agent in rows if agent not in missing] or ["others of them"]
            raise ValueError(
                f"{', '.join(missing)} did not observe in a step in which "
                f"{', '.join(others)} did: expected env runners that are subclasses of "
                "EpisodeEnvRunner, which fill in for agents that are not there"
            )
        observations = {
            # The members' rows of an environment come together, see OrderMembers.
            agent: batch[agent][Columns.OBS].reshape(whole, -1)
            for agent in team.agents
        }
        active = None
        if self.marks_absent:
            active = {
                agent: ~own.unflatten(-1, (team.num_members(agent), -1))[..., 0].isnan()
                for agent, own in observations.items()
            }
            observations = {agent: own.float().nan_to_num() for agent, own in observations.items()}
        before = self._memories_of(batch, whole)
        memories = dict(before)
        actions, log_probs, parameters = self.act(
            observations, explore=explore, active=active, memories=memories
        )
        outputs = {
            agent: self._outputs(agent, actions[agent], log_probs[agent], parameters[agent])
            for agent in team.agents
        }
        for agent in memories.keys() & outputs.keys():
            # RLlib's episodes have these steps as sequences of one.
            outputs[agent] = tree.map_structure(lambda own: own[:, None], outputs[agent])
            outputs[agent][MEMORY_IN] = tree.map_structure(
                lambda own: own[:, None], self._states_of(agent, before, whole)
            )
            outputs[agent][Columns.STATE_OUT] = self._states_of(agent, memories, whole)
        return outputs

    def _memories_of(self, batch: dict[str, Any], rows: int) -> Memories:
        """The memories, (rows, memory_size), in what RLlib's episodes have kept."""
        memories = {}
        for agent in self.team.agents:
            if not self[agent].unwrapped().memory_size:
                continue
            state = batch[agent][Columns.STATE_IN]
            memories[agent] = state[OWN].reshape(rows, -1)
            if CARRIED in state:
                # Each member has them.
                carried = state[CARRIED].unflatten(0, (rows, -1))[:, 0]
                parts = carried.split(list(self.carried_memories.values()), dim=-1)
                memories |= dict(zip(self.carried_memories, parts, strict=True))
        return memories

    def _states_of(self, agent: str, memories: Memories, rows: int) -> dict[str, Tensor]:
        """The inverse, of one agent: (rows * members, …)."""
        members = self.team.num_members(agent)
        states = {OWN: memories[agent].unflatten(-1, (members, -1)).flatten(0, 1)}
        if agent == self.team.agents[0] and self.carried_memories:
            carried = torch.cat([memories[mid] for mid in self.carried_memories], dim=-1)
            states[CARRIED] = carried.repeat_interleave(members, dim=0)
        return states

    @property
    def carried_memories(self) -> dict[str, int]:
        """Sizes of the critics' memories, which are kept with those of the first agent."""
        critics = self.plan.critics if self.plan is not None else ()
        return {mid: self[mid].unwrapped().memory_size for mid in critics}

    def _outputs(
        self, agent: str, actions: Tensor, log_probs: Tensor, parameters: Tensor
    ) -> dict[str, Any]:
        """What RLlib's runner is given for each of its agents that ``agent`` stands for."""
        codec, count = self.team.codecs[agent], self.team.num_members(agent)
        if agent in self.team.members:
            actions = by_member(actions, codec.action_widths, count).flatten(0, 1)
            parameters = by_member(parameters, codec.parameter_widths, count).flatten(0, 1)
            log_probs = log_probs.flatten()
            codec = self.team.member_codecs[agent]
        elif codec.parts == 1:
            log_probs = log_probs.squeeze(-1)  # as RLlib has it
        return {
            Columns.ACTIONS: codec.unflatten(actions),
            Columns.ACTION_LOGP: log_probs,
            Columns.ACTION_DIST_INPUTS: parameters,
        }
