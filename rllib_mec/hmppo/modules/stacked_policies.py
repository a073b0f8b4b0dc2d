"""Joint policies that act together: one forward pass per decision for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from rllib_mec.hmppo.distributions import draw_noise
from rllib_mec.hmppo.modules.deciding import Decision, Memories, decide, remember
from rllib_mec.hmppo.modules.joint_policy import JointPolicy
from rllib_mec.hmppo.modules.observation_filter import filter_stacked
from rllib_mec.hmppo.modules.recurrent import Memory
from rllib_mec.hmppo.modules.stacked import Stacked
from rllib_mec.hmppo.team import Active


class StackedPolicies:
    """S joint policies of the same team, whose actors' parameters are stacked.

    Args:
        policies: the policies; they stay usable and may be loaded into.
        seeds: of each policy's random stream; None: a random one.
        networks: the policies' modules, if they have been stacked already: a module can be in one
            stack only.
    """

    def __init__(
        self,
        policies: Sequence[JointPolicy],
        seeds: Sequence[int | None],
        networks: Mapping[str, Stacked] | None = None,
    ) -> None:
        self.team = policies[0].team
        self._actors = {
            agent: networks[agent]
            if networks is not None
            else Stacked([policy[agent].unwrapped() for policy in policies])
            for agent in self.team.agents
        }
        self._plan = policies[0].plan
        self._initial = policies[0].initial_memories(1)
        self._critics = {
            mid: Stacked([policy[mid].unwrapped() for policy in policies])
            for mid in self._initial
            if mid not in self._actors
        }
        self._generators = [torch.Generator() for _ in policies]
        for generator, seed in zip(self._generators, seeds, strict=True):
            generator.seed() if seed is None else generator.manual_seed(seed)

    def __len__(self) -> int:
        return len(self._generators)

    def refresh(self) -> None:
        """Takes the parameters up again if something has replaced the policies' tensors."""
        for networks in (*self._actors.values(), *self._critics.values()):
            networks.refresh()

    def initial_memories(self, num_envs: int) -> Memories:
        """Memories at the start of episodes, (S, B, memory_size) of each module that has one."""
        return {
            mid: own.expand(len(self), num_envs, -1).clone() for mid, own in self._initial.items()
        }

    @torch.no_grad()
    def act(
        self,
        observations: dict[str, Tensor],
        *,
        explore: bool,
        active: Active | None = None,
        memories: Memories | None = None,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Lets every agent of the S teams decide once.

        Args:
            observations: (S, B, observation_size) of each agent, slots empty.
            explore: True to sample, False for the most probable actions.
            active: who is there, (S, B, members); what is returned of others means nothing.
            memories: see :meth:`initial_memories`; those after the step are put in place of them.

        Returns:
            flat actions, (S, B, size), and the distributions' parameters, (S, B, num_parameters),
            of each agent.
        """
        filtered = {
            agent: filter_stacked([actor.filter for actor in self._actors[agent].modules], observed)
            for agent, observed in observations.items()
        }
        noise = self._noise(observations[self.team.agents[0]].shape[1]) if explore else None
        actions, parameters = decide(self.team, self._decide, filtered, noise, active, memories)
        if self._plan is not None and memories:
            remember(self._plan, self._remember, filtered, actions, active, memories)
        return actions, parameters

    def _decide(
        self, agent: str, observations: Tensor, noise: Tensor | None, memory: Memory | None
    ) -> Decision:
        actors = self._actors[agent]
        return actors.module.decide(actors.values, observations, noise, memory)

    def _remember(self, critic_id: str, inputs: Tensor, before: Tensor) -> Tensor:
        critics = self._critics[critic_id]
        return critics.module.remember(critics.values, inputs, before)

    def _noise(self, num_envs: int) -> dict[str, Tensor]:
        noise = {}
        for agent in self.team.agents:
            codec = self.team.codecs[agent]
            own = [draw_noise(codec, (num_envs,), generator) for generator in self._generators]
            noise[agent] = own[0].unsqueeze(0) if len(own) == 1 else torch.stack(own)
        return noise
