"""From an experiment's form to what Ray Tune runs, with everything checked on the way."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

from rllib_mec import registry
from rllib_mec.errors import InputError, did_you_mean
from rllib_mec.experiment import environments, search_space, settings, stacking
from rllib_mec.experiment.spec import Experiment
from rllib_mec.hmppo.config import module_of_agent
from rllib_mec.hmppo.sampling.callbacks import EpisodeMetrics
from rllib_mec.hmppo.stacked.trainable import CONFIG_CLASS, MEMBERS, StackedTrial

_STORED_AS = {"lambda_": "lambda", "input_": "input", "callbacks_class": "callbacks"}
"""Settings that RLlib keeps in a config's dictionary under another name."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """An experiment whose algorithm can be built.

    configs: the config with the first value of each search space, then one for each other value.
    param_space: the config as Tune takes it, with the search spaces.
    num_trials: how many trials there will be.
    scheduler: Tune's, or None for first come, first served.
    members: of each trial, what they set besides; none: a trial is one run of the algorithm.
    """

    experiment: Experiment
    environment: environments.Environment
    configs: list[Any]
    param_space: dict[str, Any]
    num_trials: int
    scheduler: Any
    members: list[dict[str, Any]]

    @property
    def trainable(self) -> Any:
        """What Tune runs: the ``Algorithm`` class, or a stack of them."""
        return StackedTrial if self.members else self.configs[0].algo_class


def prepare(experiment: Experiment) -> Plan:
    """Checks an experiment's algorithm, environment, settings and search spaces.

    Raises:
        InputError: the first thing that cannot work.
    """
    form = experiment.form
    spaces = search_space.find(form.config)
    if () in spaces:
        raise InputError(f"{experiment.place('config')}: a search space stands below a setting")
    for path, space in spaces.items():
        space.check(experiment.place("config", *path))
    with settings.rllib_errors(experiment.place("run")):
        config_class = _config_class(form.run)
    with settings.rllib_errors(experiment.place("env")):
        environment = environments.resolve(form.env)
    # Configs that look at their environment find it by name; Ray itself is told when it runs.
    environment.register()
    fillings = search_space.variants(spaces)
    configs = [
        _config(experiment, config_class, environment, search_space.fill(form.config, filling))
        for filling in fillings
    ]
    members = stacking.members(experiment, configs)
    param_space = _param_space(experiment, configs[0], spaces)
    if members:
        param_space |= {CONFIG_CLASS: config_class, MEMBERS: members}
    return Plan(
        experiment,
        environment,
        configs,
        param_space,
        search_space.grid_size(spaces) * form.num_samples,
        _scheduler(experiment),
        members,
    )


def _config_class(name: str) -> Any:
    if ":" not in name:
        return registry.algorithm(name)
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

    found = environments.import_attribute(name)
    if not (isinstance(found, type) and issubclass(found, AlgorithmConfig)):
        raise InputError(f"{name!r}: expected a subclass of RLlib's AlgorithmConfig")
    return found


def _config(
    experiment: Experiment,
    config_class: Any,
    environment: environments.Environment,
    values: Mapping[str, Any],
) -> Any:
    """Returns a config with ``values``, which hold no search spaces, after RLlib's own checks."""
    config = config_class()
    config.environment(env=environment.name)
    settings.apply(config, values, experiment.place)
    with settings.rllib_errors(experiment.place("config", "env_config")):
        env = environment.check(config.env_config)
    if not {"policies", "policy_mapping_fn"} & values.keys():
        _one_module_per_agent(config, env)
    _report_episode_metrics(config)
    with settings.rllib_errors(experiment.place("config")):
        config.copy(copy_frozen=False).validate()
    return config


def _one_module_per_agent(config: Any, env: Any) -> None:
    """Gives each agent a module of its own, where RLlib would give all the same one."""
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
    from ray.rllib.env.multi_agent_env import MultiAgentEnv

    if isinstance(env, MultiAgentEnv) and config.policies == AlgorithmConfig().policies:
        config.multi_agent(policies=set(env.possible_agents), policy_mapping_fn=module_of_agent)


def _report_episode_metrics(config: Any) -> None:
    """Puts what the environment says about its episodes into the results of any algorithm."""
    from ray.rllib.callbacks.callbacks import RLlibCallback
    from ray.rllib.utils import force_list

    own = [c for c in force_list(config.callbacks_class) if c is not RLlibCallback]
    if not any(issubclass(c, EpisodeMetrics) for c in own):
        config.callbacks([*own, EpisodeMetrics])


def _param_space(
    experiment: Experiment,
    config: Any,
    spaces: Mapping[search_space.KeyPath, search_space.Space],
) -> dict[str, Any]:
    """Returns the config as a dictionary with Tune's search spaces in it.

    The setters get the first candidate, never the spaces: some compute with what they are given.
    """
    stored = config.to_dict()
    for name in {path[0] for path in spaces}:
        parameter = settings.settings_of(config.__class__)[name].parameter
        keys = (_STORED_AS.get(parameter, parameter), f"_{parameter}")
        key = next((key for key in keys if key in stored), None)
        if key is None:
            raise InputError(f"{experiment.place('config', name)}: cannot be searched over")
        tune_objects = {
            path[1:]: space.to_tune() for path, space in spaces.items() if path[0] == name
        }
        value = experiment.form.config[name]
        stored[key] = search_space.fill(value, tune_objects)
    return stored


def _scheduler(experiment: Experiment) -> Any:
    form = experiment.form.tune_config.scheduler
    if form is None:
        return None
    from ray.tune.schedulers import SCHEDULER_IMPORT

    place = experiment.place("tune_config", "scheduler")
    arguments = {"type": form} if isinstance(form, str) else dict(form)
    kind: Any = arguments.pop("type", None)
    kind = {"asha": "async_hyperband"}.get(kind, kind)
    if kind not in SCHEDULER_IMPORT:
        hint = did_you_mean(str(kind), SCHEDULER_IMPORT)
        raise InputError(
            f"{place}: unknown type {kind!r}:{hint} (known: {', '.join(sorted(SCHEDULER_IMPORT))})"
        )
    if kind != "fifo" and experiment.form.tune_config.metric is None:
        raise InputError(f"{place} = {kind!r}: tune_config.metric is missing")
    scheduler_class: Any = SCHEDULER_IMPORT[kind]
    with settings.rllib_errors(place):
        if inspect.isfunction(scheduler_class):  # a late import
            scheduler_class = scheduler_class()
        # Not Tune's create_scheduler: it drops arguments that it does not know.
        return scheduler_class(**arguments)
