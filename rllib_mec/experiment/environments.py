"""What ``env`` may say, and whether such an environment can be made.

========================================  =========================================================
``mec``                                   a name of :data:`rllib_mec.registry.ENVIRONMENTS`
``CartPole-v1``                           a Gymnasium id; ``module:Id-v0`` imports the module first
``package.module:Class``                  a class or function that is called with the env_config
``package.module.Class``                  the same
``pettingzoo:mpe2.simple_spread_v3``      a module with ``parallel_env(**env_config)``, or else with
                                          ``env(**env_config)``, whose agents take turns
========================================  =========================================================
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

from rllib_mec.errors import InputError, did_you_mean
from rllib_mec.experiment import search_space
from rllib_mec.registry import ENVIRONMENTS
from rllib_mec.system import Scenario
from rllib_mec.system.fedpeat import FedPEATScenario
from rllib_mec.system.fields import plain
from rllib_mec.system.measured_part import read_quality

PETTINGZOO = "pettingzoo:"

_YAML = (".yaml", ".yml")

_SCENARIOS: dict[str, tuple[Any, str]] = {"fedpeat": (FedPEATScenario, "fedpeat")}
"""The class of an environment's scenario and the name of the default one, where not ``mec``'s."""


@dataclasses.dataclass(frozen=True)
class Environment:
    """An environment by name.

    name: what RLlib is told.
    make: maps an env_config to an environment.
    registers: whether Ray has to be told about the name; Gymnasium's own ids it knows.
    """

    name: str
    make: Callable[[Mapping[str, Any]], Any]
    registers: bool = True

    def register(self) -> None:
        """Tells Ray the name, for its workers too; doing so again changes nothing."""
        if self.registers:
            from ray.tune.registry import register_env

            register_env(self.name, self.make)

    def check(self, env_config: Mapping[str, Any], place: str = "env_config") -> Any:
        """Makes an environment, closes and returns it.

        Raises:
            InputError: it cannot be made with this env_config, or is no environment for RLlib.
        """
        import gymnasium
        from ray.rllib.env.multi_agent_env import MultiAgentEnv

        try:
            env = self.make(dict(env_config))
        except InputError:
            raise
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise InputError(
                f"{place} = {dict(env_config)!r}: env {self.name} cannot be made: {reason}"
            ) from error
        if not isinstance(env, gymnasium.Env | MultiAgentEnv):
            raise InputError(
                f"env {self.name} makes a {type(env).__name__}: expected a gymnasium.Env or a "
                "ray.rllib MultiAgentEnv"
            )
        env.close()
        return env


def resolve(name: str) -> Environment:
    """Returns the environment that ``name`` stands for.

    Raises:
        InputError: there is no such environment, with the nearest name.
    """
    if name in ENVIRONMENTS:
        return Environment(name, ENVIRONMENTS[name].load())
    if name.startswith(PETTINGZOO):
        return Environment(name, _pettingzoo(name.removeprefix(PETTINGZOO)))
    if name in gymnasium_ids():
        return Environment(name, _gymnasium(name), registers=False)
    module, separator, attribute = name.rpartition(":" if ":" in name else ".")
    if not separator:
        raise _unknown(name)
    if ":" in name and not attribute.isidentifier():  # Gymnasium's module:Id-v0
        import_module(module, name)
        if attribute in gymnasium_ids():
            return Environment(name, _gymnasium(name), registers=False)
        raise _unknown(name)
    if not module.split(".")[0].isidentifier():
        raise _unknown(name)
    found = import_attribute(name)
    if not callable(found):
        raise InputError(
            f"env {name!r} is a {type(found).__name__}: expected a class or function that makes an "
            "environment"
        )
    return Environment(name, found)


def scenario(name: str, env_config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns every constant of the system that an environment of this package simulates.

    None for all other environments.
    """
    if name not in ENVIRONMENTS:
        return None
    simulated = getattr(ENVIRONMENTS[name].load()(dict(env_config)), "scenario", None)
    return None if simulated is None else simulated.to_dict()


def names_a_file(scenario: Any) -> TypeGuard[str]:
    """Whether a scenario is given as the path of a YAML file."""
    return isinstance(scenario, str) and scenario.endswith(_YAML)


def without_files(name: str, env_config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an env_config with the scenario itself in place of the file that holds it.

    The same with measured curves in place of their profile. Other machines, and whoever gets a
    checkpoint, need not have these files. The path of a trace becomes absolute: workers have other
    working directories, but must reach it.
    """
    found = dict(env_config)
    if name not in ENVIRONMENTS:
        return found
    if isinstance(found.get("trace"), str):
        found["trace"] = os.path.abspath(found["trace"])
    kind, base = _SCENARIOS.get(name, (Scenario, "published"))
    given = found.get("scenario", base)
    if names_a_file(given):
        found["scenario"] = given = kind.of(given).to_dict()
    if isinstance(given, Mapping) and isinstance(given.get("quality"), Mapping):
        quality = _with_curves(given["quality"], given.get("base", base), kind)
        found["scenario"] = given = {**given, "quality": quality}
    if isinstance(found.get("quality"), Mapping):
        found["quality"] = _with_curves(found["quality"], given, kind)
    return found


def _with_curves(quality: Mapping[str, Any], scenario: Any, kind: Any) -> dict[str, Any]:
    """Returns a scenario's ``quality`` with the curves of its profile.

    Where a search is over some of it, each trial reads the profile, by an absolute path.

    Args:
        scenario: the one that it goes on top of. kind: its class.
    """
    if search_space.find(quality):
        return _absolute(quality)
    if isinstance(scenario, Mapping):
        value = scenario.get("quality")
        base = None if search_space.find(value) else read_quality(value, None)
    else:
        base = kind.of(scenario).quality
    read = read_quality(quality, base)
    assert read is not None
    return plain(dataclasses.asdict(read))


def _absolute(value: Any, key: str = "") -> Any:
    """The same with absolute paths of profiles, inside search spaces, too."""
    if isinstance(value, Mapping):
        return {k: _absolute(v, key if k in search_space.KINDS else k) for k, v in value.items()}
    if isinstance(value, list):
        return [_absolute(each, key) for each in value]
    return os.path.abspath(value) if key == "profile" and isinstance(value, str) else value


def import_attribute(name: str) -> Any:
    """Imports "package.module:attribute" or "package.module.attribute".

    Raises:
        InputError: there is no such module or attribute.
    """
    module, _, attribute = name.rpartition(":" if ":" in name else ".")
    found = import_module(module, name)
    if not hasattr(found, attribute):
        public = [key for key in vars(found) if not key.startswith("_")]
        raise InputError(
            f"{name!r}: {module} has no {attribute!r}{did_you_mean(attribute, public)}"
        )
    return getattr(found, attribute)


def import_module(module: str, name: str) -> Any:
    """Imports a module, looking in the current directory too; ``name`` is for the message.

    Raises:
        InputError: the module is not there or cannot be imported.
    """
    if (here := os.getcwd()) not in sys.path:
        sys.path.append(here)
    try:
        return importlib.import_module(module)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{name!r}: cannot import {module!r}: {reason}") from error


def _gymnasium(name: str) -> Callable[[Mapping[str, Any]], Any]:
    def make(env_config: Mapping[str, Any]) -> Any:
        import gymnasium

        return gymnasium.make(name, **env_config)

    return make


def gymnasium_ids() -> Mapping[str, Any]:
    """Returns what Gymnasium has registered, by id."""
    import gymnasium

    return gymnasium.registry


def _pettingzoo(module: str) -> Callable[[Mapping[str, Any]], Any]:
    found = import_module(module, f"{module}:parallel_env")
    turns = hasattr(found, "env") and not hasattr(found, "parallel_env")
    make_env = import_attribute(f"{module}:{'env' if turns else 'parallel_env'}")

    def make(env_config: Mapping[str, Any]) -> Any:
        from ray.rllib.env.wrappers.pettingzoo_env import PettingZooEnv

        from rllib_mec.envs.pettingzoo_parallel import PettingZooParallelEnv

        env = make_env(**env_config)
        wrapped: Any = (PettingZooEnv if turns else PettingZooParallelEnv)(env)
        # RLlib takes those that are there at first, in an order that differs between processes.
        agents = list(env.possible_agents)
        wrapped.possible_agents, wrapped.agents = agents, list(agents)
        wrapped.observation_spaces = {agent: env.observation_space(agent) for agent in agents}
        wrapped.action_spaces = {agent: env.action_space(agent) for agent in agents}
        return wrapped

    return make


def _unknown(name: str) -> InputError:
    hint = did_you_mean(name, [*ENVIRONMENTS, *gymnasium_ids()])
    return InputError(
        f"unknown env {name!r}:{hint} expected {', '.join(ENVIRONMENTS)}, a Gymnasium id, "
        f"package.module:Class or {PETTINGZOO}module"
    )
