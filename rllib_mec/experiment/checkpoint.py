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

from rllib_mec.errors import InputError
from rllib_mec.experiment import environments
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


class TrainedPolicy:
    """A trained team that acts deterministically; the interface of the baselines' policies."""

    def __init__(self, module: JointPolicy) -> None:
        self.module = module

    def act(self, env: BatchedEnv, observations: Mapping[str, Any]) -> dict[str, Any]:
        tensors = {agent: torch.as_tensor(value) for agent, value in observations.items()}
        actions, _, _ = self.module.act(tensors, explore=False)
        codecs = self.module.team.codecs
        return {agent: codecs[agent].to_env(flat.numpy()) for agent, flat in actions.items()}


def trained_policy(checkpoint: Checkpoint) -> TrainedPolicy:
    """Builds the actors of an HMPPO or IPPO checkpoint for its environment.

    Raises:
        InputError: the weights do not fit.
    """
    config = checkpoint.config
    config.validate()
    module = config.get_multi_rl_module_spec(inference_only=True).build()
    checkpoint.load_weights(dict(module.items()))
    return TrainedPolicy(module)


def _shapes(error: RuntimeError) -> str:
    """The first line of torch's message that names a shape."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if "size mismatch" in line), lines[0])
