"""What checkpoints have learned, ready to act in batches of environments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModule
from ray.rllib.utils.numpy import convert_to_numpy
from ray.rllib.utils.spaces.space_utils import get_base_struct_from_space, unsquash_action

from rllib_mec.experiment.checkpoints.reading import Checkpoint
from rllib_mec.hmppo import HMPPOConfig
from rllib_mec.hmppo.config import module_of_agent
from rllib_mec.hmppo.groups import Members, ModuleOfMember
from rllib_mec.hmppo.modules.deciding import Memories
from rllib_mec.hmppo.modules.joint_policy import JointPolicy
from rllib_mec.hmppo.sampling.activity import activity_of
from rllib_mec.hmppo.sampling.batched_env import BatchedEnv


class TeamPolicy:
    """A team of HMPPO, IPPO or SABPPO.

    Args:
        seed: of the actions' draws; None: the team acts deterministically.
    """

    def __init__(self, module: JointPolicy, seed: int | None = None) -> None:
        self.module = module
        self._memories: Memories = {}
        self._generator = None
        if seed is not None:
            self._generator = torch.Generator()
            self._generator.manual_seed(seed)

    def begin(self, num_envs: int) -> None:
        """Episodes begin: nothing of those before is remembered."""
        self._memories = self.module.initial_memories(num_envs, critics=False)

    def act(self, env: BatchedEnv, observations: Mapping[str, Any]) -> dict[str, Any]:
        flat = self.module.team.flatten(observations)
        tensors = {agent: torch.from_numpy(value) for agent, value in flat.items()}
        active = None
        if (active_of := getattr(env, "active", None)) is not None:
            active = {
                agent: torch.from_numpy(own)
                for agent, own in activity_of(self.module.team, active_of()).items()
            }
        actions, _, _ = self.module.act(
            tensors,
            explore=self._generator is not None,
            generator=self._generator,
            active=active,
            memories=self._memories,
        )
        codecs = self.module.team.codecs
        return {agent: codecs[agent].to_env(flat.numpy()) for agent, flat in actions.items()}


class ModulesPolicy:
    """RLModules of RLlib's other algorithms that act deterministically, each agent for itself.

    Args:
        modules: the module of each agent. spaces: the action space of each.
        groups: ``agent_groups`` of the environment.
    """

    def __init__(
        self,
        modules: Mapping[str, RLModule],
        spaces: Mapping[str, Any],
        groups: Members | None = None,
    ) -> None:
        self.modules = modules
        self._spaces = spaces
        self._groups = groups or {}

    def act(self, env: BatchedEnv, observations: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: self._of_group(self._groups[name], observation)
            if name in self._groups
            else self._action(self.modules[name], observation, self._spaces[name])
            for name, observation in observations.items()
        }

    def _of_group(self, members: Sequence[str], observations: Any) -> Any:
        """Actions of all members, (B, A), from their observations side by side, (B, A F)."""
        own = np.split(observations, len(members), axis=1)
        actions = [
            self._action(self.modules[agent], observation, self._spaces[agent])
            for agent, observation in zip(members, own, strict=True)
        ]
        rows = len(observations)
        return np.concatenate([action.reshape(rows, -1) for action in actions], axis=1)

    @staticmethod
    def _action(module: RLModule, observation: Any, space: Any) -> Any:
        with torch.no_grad():
            out = module.forward_inference({Columns.OBS: torch.as_tensor(observation)})
        # Some modules decide, as DQN's; others leave that to whoever asks.
        actions = out.get(Columns.ACTIONS)
        if actions is None:
            form = module.get_inference_action_dist_cls()
            actions = form.from_logits(out[Columns.ACTION_DIST_INPUTS]).to_deterministic().sample()
        return unsquash_action(convert_to_numpy(actions), get_base_struct_from_space(space))


def trained_policy(
    checkpoint: Checkpoint, env: Any, seed: int | None = None
) -> TeamPolicy | ModulesPolicy | None:
    """Builds what a checkpoint has learned for its environment, to act in batches of it.

    Args:
        env: one environment.
        seed: of the actions' draws; None: deterministic actions.

    Returns:
        None for what RLlib itself has to ask step by step: modules with a memory, agents that are
        mapped to modules in a way of their own, and other algorithms whose actions are drawn.

    Raises:
        InputError: the weights do not fit.
    """
    config = checkpoint.config
    config.validate()
    if isinstance(config, HMPPOConfig):
        team = config.get_multi_rl_module_spec(inference_only=True).build()
        checkpoint.load_weights(dict(team.items()))
        return TeamPolicy(team, seed)
    if seed is not None:
        return None
    modules = dict(config.get_multi_rl_module_spec(env=env, inference_only=True).build().items())
    mapping = config.policy_mapping_fn
    ours = mapping is module_of_agent or isinstance(mapping, ModuleOfMember)
    if config.is_multi_agent and not ours:
        return None
    if any(module.is_stateful() for module in modules.values()):
        return None
    checkpoint.load_weights(modules)
    if not config.is_multi_agent:
        spaces = env.batched(1).action_spaces
        return ModulesPolicy(dict.fromkeys(spaces, modules[DEFAULT_MODULE_ID]), spaces)
    spaces = env.action_spaces
    of_agents = {agent: modules[mapping(agent)] for agent in spaces}
    return ModulesPolicy(of_agents, spaces, getattr(env, "agent_groups", None))
