"""Checkpoints as policies: what a training run has learned, ready to act.

Reading a checkpoint unpickles its configuration, as RLlib does: read none that you do not trust.
"""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModule
from ray.rllib.utils.numpy import convert_to_numpy
from ray.rllib.utils.spaces.space_utils import get_base_struct_from_space, unsquash_action

from rllib_mec.errors import InputError
from rllib_mec.experiment import environments
from rllib_mec.hmppo import HMPPOConfig
from rllib_mec.hmppo.config import module_of_agent
from rllib_mec.hmppo.modules.joint_policy import JointPolicy
from rllib_mec.hmppo.sampling.batched_env import BatchedEnv
from rllib_mec.hmppo.stacked.trainable import INDEX, MEMBERS

_CONSTRUCTOR = "class_and_ctor_args.pkl"
_MODULES = Path("learner_group", "learner", "rl_module")


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint directory says about itself.

    path: of the directory.
    config: the algorithm's configuration, with the environment that is to be evaluated.
    env: that environment; ``env_config``: its configuration.
    """

    path: Path
    config: Any
    env: environments.Environment
    env_config: Mapping[str, Any]

    def load_weights(self, modules: Mapping[str, Any]) -> None:
        """Gives RLModules, by their ids, the checkpoint's weights.

        Raises:
            InputError: weights are missing, or of other shapes than this environment needs.
        """
        for module_id, module in modules.items():
            path = self.path / _MODULES / module_id
            if not path.is_dir():
                raise InputError(f"{self.path}: no weights of {module_id} ({path} is missing)")
            try:
                module.restore_from_path(path)
            except RuntimeError as error:
                raise InputError(
                    f"{self.path}: the weights of {module_id} do not fit env_config = "
                    f"{dict(self.env_config)!r} (trained with entity_shared: true, a policy fits "
                    f"any number of entities): {_shapes(error)}"
                ) from None


def read(path: Path, env: str | None, env_config: Mapping[str, Any]) -> Checkpoint:
    """Reads the configuration of a checkpoint.

    Args:
        env: the name of the environment to evaluate, None for the one it was trained on.
        env_config: for another environment, its configuration; for the same, what to change.

    Raises:
        InputError: no checkpoint, a damaged one, or no such environment.
    """
    if not (path / _CONSTRUCTOR).is_file():
        if (path / INDEX).is_file():
            members = json.loads((path / INDEX).read_text())[MEMBERS]
            raise InputError(f"{path}: expected a member of the stack, such as {path / members[0]}")
        nested = sorted(path.glob(f"**/checkpoint_*/{_CONSTRUCTOR}"))
        hint = f", perhaps {nested[-1].parent}" if nested else ""
        raise InputError(f"{path}: expected a checkpoint directory (with {_CONSTRUCTOR}){hint}")
    try:
        stored = pickle.loads((path / _CONSTRUCTOR).read_bytes())
        arguments, _ = stored["ctor_args_and_kwargs"]
        config = stored["class"].get_default_config().from_state(arguments[0])
    except Exception as error:  # whatever a damaged pickle may raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{path}: the checkpoint cannot be read: {reason}") from error
    config = config.copy(copy_frozen=False)
    name = env or config.env
    if name == config.env:
        env_config = {**config.env_config, **env_config}
    environment = environments.resolve(name)
    environment.check(env_config)
    environment.register()
    config.environment(name, env_config=dict(env_config))
    return Checkpoint(path, config, environment, env_config)


class TeamPolicy:
    """A team of HMPPO or IPPO that acts deterministically."""

    def __init__(self, module: JointPolicy) -> None:
        self.module = module

    def act(self, env: BatchedEnv, observations: Mapping[str, Any]) -> dict[str, Any]:
        tensors = {agent: torch.as_tensor(value) for agent, value in observations.items()}
        actions, _, _ = self.module.act(tensors, explore=False)
        codecs = self.module.team.codecs
        return {agent: codecs[agent].to_env(flat.numpy()) for agent, flat in actions.items()}


class ModulesPolicy:
    """RLModules of RLlib's other algorithms that act deterministically, each agent for itself.

    Args:
        modules: the module of each agent.
    """

    def __init__(self, modules: Mapping[str, RLModule]) -> None:
        self.modules = modules

    def act(self, env: BatchedEnv, observations: Mapping[str, Any]) -> dict[str, Any]:
        return {
            agent: self._action(self.modules[agent], observation, env.action_spaces[agent])
            for agent, observation in observations.items()
        }

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


def trained_policy(checkpoint: Checkpoint, env: Any) -> TeamPolicy | ModulesPolicy | None:
    """Builds what a checkpoint has learned for its environment, to act in batches of it.

    Args:
        env: one environment.

    Returns:
        None for what RLlib itself has to ask step by step: modules with a memory, and agents
        that are mapped to modules in a way of their own.

    Raises:
        InputError: the weights do not fit.
    """
    config = checkpoint.config
    config.validate()
    if isinstance(config, HMPPOConfig):
        team = config.get_multi_rl_module_spec(inference_only=True).build()
        checkpoint.load_weights(dict(team.items()))
        return TeamPolicy(team)
    modules = dict(config.get_multi_rl_module_spec(env=env, inference_only=True).build().items())
    own_mapping = config.is_multi_agent and config.policy_mapping_fn is not module_of_agent
    if own_mapping or any(module.is_stateful() for module in modules.values()):
        return None
    checkpoint.load_weights(modules)
    if not config.is_multi_agent:
        modules = dict.fromkeys(env.batched(1).action_spaces, modules[DEFAULT_MODULE_ID])
    return ModulesPolicy(modules)


def _shapes(error: RuntimeError) -> str:
    """The first line of torch's message that names a shape."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if "size mismatch" in line), lines[0])
