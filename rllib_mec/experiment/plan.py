"""From an experiment's form to what Ray Tune runs, with everything checked on the way."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rllib_mec import registry
from rllib_mec.errors import InputError
from rllib_mec.experiment import (
    environments,
    placement,
    search_space,
    searchers,
    settings,
    stacking,
)
from rllib_mec.experiment.checkpoints import manifest
from rllib_mec.experiment.checkpoints.trial import Recipe, saving
from rllib_mec.experiment.spec import Experiment
from rllib_mec.hmppo.config import module_of_agent
from rllib_mec.hmppo.groups import ModuleOfMember
from rllib_mec.hmppo.sampling.callbacks import EpisodeMetrics
from rllib_mec.hmppo.stacked.trainable import CONFIG_CLASS, MEMBERS, StackedTrial
from rllib_mec.source import KeyPath

_STORED_AS = {"lambda_": "lambda", "input_": "input", "callbacks_class": "callbacks"}
"""Settings that RLlib keeps in a config's dictionary under another name."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """An experiment whose algorithm can be built.

    configs: the config with the first value of each search space, then one for each other value.
    param_space: the config as Tune takes it, with the search spaces.
    num_trials: how many trials there will be.
    searched: where in ``param_space`` trials differ, or come to differ by mutations.
    scheduler: Tune's, or None for first come, first served.
    search_alg: Tune's, or None for independent draws and grids.
    members: of each trial, what they set besides; none: a trial is one run of the algorithm.
    recipe: what checkpoints say of themselves.
    begin_at: a checkpoint that trials go on from, or None.
    """

    experiment: Experiment
    environment: environments.Environment
    configs: list[Any]
    param_space: dict[str, Any]
    num_trials: int
    searched: list[KeyPath]
    scheduler: Any
    search_alg: Any
    members: list[dict[str, Any]]
    recipe: Recipe
    begin_at: str | None = None

    @functools.cached_property
    def trainable(self) -> Any:
        """What Tune runs: the ``Algorithm`` class, or a stack of them."""
        kind = StackedTrial if self.members else self.configs[0].algo_class
        trainable = saving(kind, self.recipe, self.begin_at)
        per_node = self.experiment.form.env_runners_per_node
        return trainable if per_node is None else placement.grouped(trainable, per_node)


def prepare(experiment: Experiment) -> Plan:
    """Checks an experiment's algorithm, environment, settings and search spaces.

    Raises:
        InputError: the first thing that cannot work.
    """
    own = experiment.form.config
    with settings.rllib_errors(experiment.place("run")):
        config_class = _config_class(experiment.form.run)
    mutations = searchers.mutations(experiment, config_class)
    starts = {name: {s.kind: s.arguments} for name, s in mutations.items() if name not in own}
    values = {**own, **starts}
    if isinstance(values.get("env_config"), Mapping):
        with settings.rllib_errors(experiment.place("config", "env_config")):
            env_config = environments.without_files(experiment.form.env, values["env_config"])
        values["env_config"] = env_config
    spaces = search_space.find(values)
    if () in spaces:
        raise InputError(f"{experiment.place('config')}: a search space stands below a setting")
    for path, space in spaces.items():
        space.check(experiment.place("config", *path))
    with settings.rllib_errors(experiment.place("env")):
        environment = environments.resolve(experiment.form.env)
    # Configs that look at their environment find it by name; Ray itself is told when it runs.
    environment.register()
    first, *others = search_space.variants(spaces)
    checks = [(filling, experiment.place) for filling in (first, *others)]
    checks += [
        ({**first, (name,): value}, searchers.place_of(experiment, name))
        for name in mutations.keys() & own.keys()
        for value in mutations[name].candidates()
    ]
    configs = [
        _config(place, config_class, environment, search_space.fill(values, filling))
        for filling, place in checks
    ]
    per_node = experiment.form.env_runners_per_node
    for config in configs:
        placement.check(config, values, per_node, experiment.place)
    members = stacking.members(experiment, configs, values)
    stored = {path: _stored(experiment, configs[0], path) for path in spaces}
    mutated = {_stored(experiment, configs[0], (n,))[0]: s for n, s in mutations.items()}
    param_space = _param_space(configs[0], values, spaces, stored)
    if members:
        param_space |= {CONFIG_CLASS: config_class, MEMBERS: members}
    num_trials = search_space.grid_size(spaces) * experiment.form.num_samples
    return Plan(
        experiment,
        environment,
        configs,
        param_space,
        num_trials,
        list(dict.fromkeys([*stored.values(), *((key,) for key in mutated)])),
        searchers.scheduler(experiment, mutated, num_trials),
        searchers.search_alg(experiment, spaces, stored),
        members,
        Recipe(
            experiment.form.run,
            experiment.form.env,
            search_space.fill(values, first),
            {**stored, **{(name,): _stored(experiment, configs[0], (name,)) for name in mutations}},
        ),
    )


def begin_at(plan: Plan, checkpoint: Path) -> Plan:
    """Returns a plan whose trials go on from a checkpoint, with the plan's own settings.

    Raises:
        InputError: the checkpoint is not whole, or none of this algorithm.
    """
    saved = manifest.check(checkpoint).experiment
    if saved["run"] != plan.experiment.form.run or plan.members:
        ours = f"a stack of {len(plan.members)}" if plan.members else plan.experiment.form.run
        raise InputError(f"--restore {checkpoint}: is of {saved['run']}: expected one of {ours}")
    return dataclasses.replace(plan, begin_at=str(checkpoint))


def _config_class(name: str) -> Any:
    if ":" not in name:
        return registry.algorithm(name)
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

    found = environments.import_attribute(name)
    if not (isinstance(found, type) and issubclass(found, AlgorithmConfig)):
        raise InputError(f"{name!r}: expected a subclass of RLlib's AlgorithmConfig")
    return found


def _config(
    place: Callable[..., str],
    config_class: Any,
    environment: environments.Environment,
    values: Mapping[str, Any],
) -> Any:
    """Returns a config with ``values``, which hold no search spaces, after RLlib's own checks."""
    config = config_class()
    config.environment(env=environment.name)
    settings.apply(config, values, place)
    with settings.rllib_errors(place("config", "env_config")):
        env = environment.check(config.env_config)
    if "policy_mapping_fn" not in values:
        _map_modules(config, env, values.get("policies"))
    _report_episode_metrics(config)
    with settings.rllib_errors(place("config"), lambda *keys: place("config", *keys)):
        config.copy(copy_frozen=False).validate()
    return config


def _map_modules(config: Any, env: Any, policies: Any) -> None:
    """Says which agent is which module, where ``policies`` leave no choice.

    Args:
        policies: of the user's settings. None: each agent has a module of its own, where RLlib
            would give all the same one. A single name: all agents share that module.
    """
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
    from ray.rllib.env.multi_agent_env import MultiAgentEnv

    if not isinstance(env, MultiAgentEnv):
        return
    agents = env.possible_agents
    if policies is None and config.policies == AlgorithmConfig().policies:
        config.multi_agent(policies=set(agents), policy_mapping_fn=module_of_agent)
    elif policies is not None and len(policies) == 1:
        config.multi_agent(policy_mapping_fn=ModuleOfMember({policies[0]: tuple(agents)}))


def _report_episode_metrics(config: Any) -> None:
    """Puts what the environment says about its episodes into the results of any algorithm."""
    from ray.rllib.callbacks.callbacks import RLlibCallback
    from ray.rllib.utils import force_list

    own = [c for c in force_list(config.callbacks_class) if c is not RLlibCallback]
    if not any(issubclass(c, EpisodeMetrics) for c in own):
        config.callbacks([*own, EpisodeMetrics])


def _stored(experiment: Experiment, config: Any, path: KeyPath) -> KeyPath:
    """Returns where a config's dictionary has what the user's ``config`` has at ``path``."""
    name, *below = path
    parameter = settings.settings_of(config.__class__)[name].parameter
    keys, present = (_STORED_AS.get(parameter, parameter), f"_{parameter}"), config.to_dict()
    for key in keys:
        if key in present:
            return (key, *below)
    raise InputError(f"{experiment.place('config', name)}: cannot be searched over")


def _param_space(
    config: Any,
    values: Mapping[str, Any],
    spaces: Mapping[KeyPath, search_space.Space],
    stored: Mapping[KeyPath, KeyPath],
) -> dict[str, Any]:
    """Returns the config as a dictionary with Tune's search spaces in it.

    The setters get the first candidate, never the spaces: some compute with what they are given.
    """
    dictionary = config.to_dict()
    for path in spaces:
        name = path[0]
        tune_objects = {
            other[1:]: space.to_tune() for other, space in spaces.items() if other[0] == name
        }
        dictionary[stored[path][0]] = search_space.fill(values[name], tune_objects)
    return dictionary
