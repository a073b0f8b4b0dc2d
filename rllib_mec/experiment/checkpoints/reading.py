"""Checkpoints of a user's, or of anybody's: their configuration and weights.

A checkpoint with a manifest is read without unpickling anything: its configuration is what a YAML
file would say, its weights are data. Two things ask for trust in whoever made it: one without a
manifest, which is read as RLlib does it, and a configuration that names code to import.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import pickle
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.core import (
    COMPONENT_ENV_RUNNER,
    COMPONENT_LEARNER,
    COMPONENT_LEARNER_GROUP,
    COMPONENT_RL_MODULE,
)

from rllib_mec.errors import InputError
from rllib_mec.experiment import environments, plan, search_space, spec
from rllib_mec.experiment.checkpoints import manifest, state
from rllib_mec.hmppo.stacked.trainable import INDEX, MEMBERS
from rllib_mec.registry import ALGORITHMS, ENVIRONMENTS
from rllib_mec.source import KeyPath

_CONSTRUCTOR = Algorithm.CLASS_AND_CTOR_ARGS_FILE_NAME
_MODULES = (COMPONENT_LEARNER_GROUP, COMPONENT_LEARNER, COMPONENT_RL_MODULE)

_DOTTED = re.compile(r"[A-Za-z_]\w*([.:][A-Za-z_][\w/-]*)+")
"""Texts that may be the name of a module, a class or a function."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint directory says about itself.

    path: of the directory.
    config: the algorithm's configuration, with the environment that is to be evaluated.
    env: that environment; ``env_config``: its configuration.
    trusted: whether it is read as RLlib does it, by unpickling.
    """

    path: Path
    config: Any
    env: environments.Environment
    env_config: Mapping[str, Any]
    trusted: bool

    @functools.cached_property
    def state(self) -> dict[str, Any]:
        """The algorithm's state."""
        data = manifest.check(self.path).read(state.STATE)
        return state.unpack(data, str(self.path / state.STATE))

    def load_weights(self, modules: Mapping[str, Any]) -> None:
        """Gives RLModules, by their ids, the checkpoint's weights.

        Raises:
            InputError: weights are missing, or of other shapes than this environment needs.
        """
        for module_id, module in modules.items():
            try:
                if self.trusted:
                    module.restore_from_path(self.path / Path(*_MODULES, module_id))
                else:
                    module.set_state(search_space.at(self.state, (*_MODULES, module_id)))
            except (KeyError, FileNotFoundError):
                raise InputError(f"{self.path}: no weights of {module_id}") from None
            except RuntimeError as error:
                raise InputError(
                    f"{self.path}: the weights of {module_id} do not fit env_config = "
                    f"{dict(self.env_config)!r} (trained with entity_shared: true, a policy fits "
                    f"any number of entities): {_shapes(error)}"
                ) from None

    def load_runner(self, runner: Any) -> None:
        """Gives an environment runner the state of the one in training, without weights."""
        if self.trusted:
            if (self.path / COMPONENT_ENV_RUNNER).is_dir():
                runner.restore_from_path(self.path / COMPONENT_ENV_RUNNER)
        elif COMPONENT_ENV_RUNNER in self.state:
            runner.set_state(self.state[COMPONENT_ENV_RUNNER])


def read(path: Path, env: str | None, env_config: Mapping[str, Any], trust: bool) -> Checkpoint:
    """Reads the configuration of a checkpoint.

    Args:
        env: the name of the environment to evaluate, None for the one it was trained on.
        env_config: for another environment, its configuration; for the same, what to change.
        trust: whether code that is in the checkpoint, or named by it, may run.

    Raises:
        InputError: no checkpoint, a damaged one, one that asks for trust, or no such environment.
    """
    _check_is_one(path)
    if not (path / manifest.MANIFEST).is_file():
        if not trust:
            raise InputError(
                f"{path}: has no {manifest.MANIFEST}, so that it can only be read by unpickling, "
                "which runs whatever code is in it: if you trust whoever made it, add --trust"
            )
        config = _unpickled(path)
        name = env or config.env
        if name == config.env:
            env_config = {**config.env_config, **env_config}
        environment = environments.resolve(name)
        environment.check(env_config)
        environment.register()
        config.environment(name, env_config=dict(env_config))
        return Checkpoint(path, config, environment, env_config, trusted=True)
    experiment = manifest.read(path).experiment
    form = {key: experiment[key] for key in ("run", "env", "config")}
    given = {"env": env, "env_config": env_config}
    if env is None or env == form["env"]:
        env_config = {**(form["config"].get("env_config") or {}), **env_config}
    form |= {
        "env": env or form["env"],
        "config": form["config"] | {"env_config": dict(env_config)},
    }
    if not trust:
        _refuse_code(path, form, given)
    with _of(path):
        prepared = plan.prepare(spec.make("checkpoint", form))
    return Checkpoint(
        path, prepared.configs[0], prepared.environment, dict(env_config), trusted=False
    )


def experiment_of(path: Path, trust: bool) -> dict[str, Any]:
    """Returns what a checkpoint was trained on and with: ``run``, ``env`` and ``config``.

    Raises:
        InputError: no checkpoint with a manifest, or it names code to import, without ``trust``.
    """
    _check_is_one(path)
    experiment = manifest.read(path).experiment
    form = {key: experiment[key] for key in ("run", "env", "config")}
    if not trust:
        _refuse_code(path, form, {})
    return form


def _check_is_one(path: Path) -> None:
    if (path / INDEX).is_file():
        try:
            members = json.loads((path / INDEX).read_text())[MEMBERS]
        except (ValueError, KeyError):
            members = ["…"]
        raise InputError(f"{path}: expected a member of the stack, such as {path / members[0]}")
    if not any((path / name).is_file() for name in (manifest.MANIFEST, _CONSTRUCTOR)):
        nested = sorted(path.glob(f"**/checkpoint_*/{manifest.MANIFEST}"))
        hint = f", perhaps {nested[-1].parent}" if nested else ""
        raise InputError(f"{path}: expected a checkpoint, with {manifest.MANIFEST}{hint}")


def _unpickled(path: Path) -> Any:
    """Returns the configuration of a checkpoint as RLlib writes it."""
    try:
        stored = pickle.loads((path / _CONSTRUCTOR).read_bytes())
        arguments, _ = stored["ctor_args_and_kwargs"]
        config = stored["class"].get_default_config().from_state(arguments[0])
    except Exception as error:  # whatever a damaged pickle may raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{path}: the checkpoint cannot be read: {reason}") from error
    return config.copy(copy_frozen=False)


def _refuse_code(path: Path, form: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuses a manifest that names what would be imported, but for what the user has given."""
    named = []
    if form["run"] not in ALGORITHMS:
        named.append(("run", form["run"]))
    if form["env"] != given.get("env") and not _is_known(form["env"]):
        named.append(("env", form["env"]))
    named += [
        (".".join(("config", *map(str, keys))), text)
        for keys, text in _texts(form["config"])
        if _DOTTED.fullmatch(text) and keys[:1] != ("env_config",)
    ]
    own = {text for _, text in _texts(given.get("env_config"))}
    named += [
        (".".join(("config.env_config", *map(str, keys))), text)
        for keys, text in _texts(form["config"].get("env_config") or {})
        if _DOTTED.fullmatch(text) and text not in own
    ]
    if named:
        place, text = named[0]
        raise InputError(
            f"{path}: {place} is {text!r}, code that would be imported and run: if you trust "
            "whoever made the checkpoint, add --trust"
        )


def _is_known(env: Any) -> bool:
    return env in ENVIRONMENTS or env in environments.gymnasium_ids()


def _texts(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Yields all texts in nested mappings and lists, with where they are."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts(inner, (*path, number))


@contextlib.contextmanager
def _of(path: Path) -> Iterator[None]:
    """Says of which checkpoint an error is."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _shapes(error: RuntimeError) -> str:
    """The first line of torch's message that names a shape."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if "size mismatch" in line), lines[0])
