"""What would fail in the middle of a study, or after hours of it, and is refused beforehand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from rllib_mec.baselines.algorithm import BaselineConfig
from rllib_mec.errors import InputError
from rllib_mec.experiment import environments, search_space, settings
from rllib_mec.experiment.plan import Plan, prepare
from rllib_mec.experiment.spec import make as make_experiment
from rllib_mec.experiment.study.spec import Study, with_ues
from rllib_mec.hmppo import HMPPOConfig
from rllib_mec.source import KeyPath


def check_environments(study: Study) -> None:
    """Refuses environments that there are not.

    Raises:
        InputError: with the place of the name.
    """
    form = study.form
    named = {("env",): form.env}
    named |= {("variants", label, "env"): each.env or "" for label, each in form.variants.items()}
    for keys, env in named.items():
        if env:
            with settings.rllib_errors(study.source.place(keys)):
                environments.resolve(env)


def check_variant(study: Study, label: str, experiment: Mapping[str, Any]) -> Plan:
    """Returns the plan of a variant on a number of UEs.

    Raises:
        InputError: what cannot work, or a search, with its place in the study's file.
    """
    for path in search_space.find(experiment["config"]):
        place = _place_of_setting(study, label, path)
        raise InputError(f"{place}: a search space: expected a value in a study")
    try:
        return prepare(make_experiment(study.name, experiment))
    except InputError as error:
        raise InputError(f"{study.source.place(('variants', label))}: {error}") from error


def check_tested(
    study: Study, label: str, experiment: Mapping[str, Any], plan: Plan, tested: Iterable[int]
) -> None:
    """Refuses to evaluate a policy on numbers of UEs that its networks cannot take.

    Args:
        experiment: the variant's, on the number of UEs that it is trained on. plan: its plan.

    Raises:
        InputError: its weights would have other shapes, or there is no such environment.
    """
    if isinstance(plan.configs[0], BaselineConfig):
        return
    config = experiment["config"]
    trained = config["env_config"].get("num_ues")
    place = study.source.place(("test_num_ues",))
    for num_ues in tested:
        if num_ues == trained:
            continue
        other = {**config, "env_config": with_ues(config["env_config"], num_ues)}
        with settings.rllib_errors(f"{place}: {label} with {num_ues} UEs"):
            found = _shapes(prepare(make_experiment(study.name, {**experiment, "config": other})))
        if found != _shapes(plan):
            raise InputError(
                f"{place}: {num_ues}: expected {trained}, as {label} is trained: its policy fits "
                "no other number of UEs (with entity_shared: true, HMPPO's and IPPO's fit any)"
            )


def _shapes(plan: Plan) -> dict[str, dict[str, tuple[int, ...]]]:
    """The shapes of all weights that are evaluated, by module."""
    config = plan.configs[0].copy(copy_frozen=False)
    config.validate()
    # As an evaluation builds them; HMPPO's know their environment.
    given: dict[str, Any] = {}
    if not isinstance(config, HMPPOConfig):
        given["env"] = plan.environment.check(config.env_config)
    modules = config.get_multi_rl_module_spec(inference_only=True, **given).build()
    return {
        name: {key: np.shape(value) for key, value in module.get_state(inference_only=True).items()}
        for name, module in modules.items()
    }


def _place_of_setting(study: Study, label: str, path: KeyPath) -> str:
    """The place of a setting: the variant's own, one that is shared, or else of the variant."""
    source = study.source
    places = [("variants", label, "config", *path)]
    if study.form.variants[label].shared or path[0] == "env_config":
        places.append(("config", *path))
    for keys in places:
        if (*source.root, *keys) in source.lines:
            return source.place(keys)
    return f"{source.place(('variants', label))}: {'.'.join(map(str, ('config', *path)))}"
