"""`tune_config` as objects of Ray Tune: schedulers, which end or change trials, and searchers.

Population based training starts its trials from ``hyperparam_mutations`` where ``config`` says
nothing, and later changes them within the same spaces. A searcher draws each trial's settings by
what the trials before it have reached.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from rllib_mec.errors import InputError, did_you_mean, unknown_name
from rllib_mec.experiment import settings
from rllib_mec.experiment.search_space import KINDS, Space, find
from rllib_mec.experiment.spec import Experiment, check_result_key
from rllib_mec.hmppo import HMPPOConfig
from rllib_mec.hmppo.algorithm import CHANGEABLE
from rllib_mec.source import KeyPath

MUTATIONS = ("tune_config", "scheduler", "hyperparam_mutations")
"""Where population based training says what it mutates."""

_SHORT = {"asha": "async_hyperband"}

_UNBOUNDED = ("randn", "qrandn")
_NOT_MUTATED = ("grid_search", *_UNBOUNDED)
_NOT_SEARCHED = ("grid_search", *_UNBOUNDED, "qloguniform", "qlograndint")
"""Kinds of spaces that Optuna does not know, or of which Tune tells it only a part."""

_SEARCHERS = {"optuna": ("seed", "points_to_evaluate")}
"""Searchers and their arguments."""


@dataclasses.dataclass(frozen=True)
class WithinBounds:
    """Keeps mutated settings in their spaces, which a perturbation may leave: gamma 0.95 * 1.2.

    bounds: lowest and highest value of each setting.
    """

    bounds: Mapping[str, tuple[float, float]]

    def __call__(self, config: dict[str, Any]) -> dict[str, Any]:
        for name, (low, high) in self.bounds.items():
            config[name] = min(max(config[name], low), high)
        return config


def place_of(experiment: Experiment, name: str) -> Callable[..., str]:
    """Returns what names a mutated setting for error messages, wherever its value came to be."""
    return lambda *keys: experiment.place(*MUTATIONS, name)


def mutations(experiment: Experiment, config_class: Any) -> dict[str, Space]:
    """Returns the spaces of `hyperparam_mutations`, by the names that `config` uses.

    Raises:
        InputError: no settings, no spaces, or what a restored algorithm of HMPPO cannot change.
    """
    kind, arguments = _type_and_arguments(experiment, "scheduler")
    if kind != "pbt":
        return {}
    given = arguments.get("hyperparam_mutations")
    if not isinstance(given, Mapping) or not given:
        raise InputError(
            f"{experiment.place(*MUTATIONS)} = {given!r}: expected settings and their spaces, "
            "{lr: {loguniform: [1.0e-4, 1.0e-2]}, num_epochs: [5, 10]}"
        )
    found = {}
    for name, value in given.items():
        place = experiment.place(*MUTATIONS, name)
        settings.check_name(config_class(), name, f"{place} = {value!r}")
        if issubclass(config_class, HMPPOConfig) and name.rstrip("_") not in CHANGEABLE:
            raise InputError(
                f"{place}: cannot be changed when weights are taken over: expected one of "
                f"{', '.join(CHANGEABLE)}"
            )
        space = Space("choice", value) if isinstance(value, list) else find(value).get(())
        if space is None or space.kind in _NOT_MUTATED:
            kinds = ", ".join(kind for kind in KINDS if kind not in _NOT_MUTATED)
            raise InputError(f"{place} = {value!r}: expected a list of values, or one of {kinds}")
        space.check(place)
        for candidate in space.candidates():
            settings.apply(config_class(), {name: candidate}, place_of(experiment, name))
        bare = name.rstrip("_")
        found[next((n for n in experiment.form.config if n.rstrip("_") == bare), name)] = space
    return found


def scheduler(experiment: Experiment, mutated: Mapping[str, Space], num_trials: int) -> Any:
    """Returns Tune's scheduler, or None for first come, first served.

    Args:
        mutated: the spaces of :func:`mutations`, by the keys of Tune's configuration.

    Raises:
        InputError: no such scheduler, or arguments that it does not take.
    """
    kind, arguments = _type_and_arguments(experiment, "scheduler")
    if kind is None:
        return None
    from ray.tune.schedulers import SCHEDULER_IMPORT

    place = experiment.place("tune_config", "scheduler")
    if kind not in SCHEDULER_IMPORT:
        known = sorted({*SCHEDULER_IMPORT, *_SHORT})
        hint = did_you_mean(str(kind), known)
        raise InputError(f"{place}: unknown type {kind!r}:{hint} (known: {', '.join(known)})")
    if kind != "fifo":
        _require_metric(experiment, "scheduler", kind)
    if (key := arguments.get("time_attr")) is not None:
        check_result_key(key, experiment.place("tune_config", "scheduler", "time_attr"))
    if kind == "pbt":
        if num_trials < 2:
            raise InputError(f"{place} = 'pbt': expected num_samples >= 2, a population")
        ranges = {key: s.candidates() for key, s in mutated.items() if s.kind != "choice"}
        arguments["hyperparam_mutations"] = {
            # Of a list it takes the neighbour; tune.choice it would multiply.
            key: space.arguments if space.kind == "choice" else space.to_tune()
            for key, space in mutated.items()
        }
        bounds = {key: (values[0], values[-1]) for key, values in ranges.items()}
        arguments.setdefault("custom_explore_fn", WithinBounds(bounds))
    scheduler_class: Any = SCHEDULER_IMPORT[kind]
    with settings.rllib_errors(place):
        if inspect.isfunction(scheduler_class):  # a late import
            scheduler_class = scheduler_class()
        # Not Tune's create_scheduler: it drops arguments that it does not know.
        return scheduler_class(**arguments)


def search_alg(
    experiment: Experiment, spaces: Mapping[KeyPath, Space], stored: Mapping[KeyPath, KeyPath]
) -> Any:
    """Returns Tune's searcher, or None for independent draws and grids.

    Args:
        spaces: the search spaces in `config`.
        stored: where Tune's configuration has them.

    Raises:
        InputError: no such searcher, arguments or spaces that it does not take, or its package is
            not installed.
    """
    kind, arguments = _type_and_arguments(experiment, "search_alg")
    if kind is None:
        return None
    place = experiment.place("tune_config", "search_alg")
    if kind not in _SEARCHERS:
        raise InputError(f"{place}: {unknown_name('type', kind, _SEARCHERS)}")
    for name in arguments:
        if name not in _SEARCHERS[kind]:
            where = experiment.place("tune_config", "search_alg", name)
            raise InputError(f"{where}: {unknown_name('argument', name, _SEARCHERS[kind])}")
    _require_metric(experiment, "search_alg", kind)
    if _type_and_arguments(experiment, "scheduler")[0] == "pbt":
        raise InputError(f"{place} = {kind!r}: pbt searches itself: leave out one of them")
    if not spaces:
        raise InputError(f"{place} = {kind!r}: expected search spaces in config, got none")
    for path, space in spaces.items():
        if space.kind in _NOT_SEARCHED or any(isinstance(key, int) for key in path):
            kinds = ", ".join(known for known in KINDS if known not in _NOT_SEARCHED)
            where = experiment.place("config", *path)
            raise InputError(
                f"{where}.{space.kind}: {kind} searches {kinds}, and none of them in a list"
            )
    seed = arguments.get("seed")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or seed < 0):
        where = experiment.place("tune_config", "search_alg", "seed")
        raise InputError(f"{where} = {seed!r}: expected a whole number >= 0")
    points = _points(experiment, arguments.get("points_to_evaluate", []), spaces, stored)
    if importlib.util.find_spec("optuna") is None:
        raise InputError(f"{place} = {kind!r}: not installed: pip install 'rllib_mec[tune]'")
    import optuna
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return OptunaSearch(seed=seed, points_to_evaluate=points)


def _type_and_arguments(experiment: Experiment, name: str) -> tuple[Any, dict[str, Any]]:
    """Returns what `scheduler` or `search_alg` is of, and what else it says."""
    form = getattr(experiment.form.tune_config, name)
    arguments = dict(form) if isinstance(form, Mapping) else {"type": form}
    kind = arguments.pop("type", None)
    if isinstance(form, Mapping) and kind is None:
        raise InputError(f"{experiment.place('tune_config', name)} = {form!r}: type is missing")
    for key in ("metric", "mode"):
        if key in arguments:
            where = experiment.place("tune_config", name, key)
            raise InputError(f"{where}: use tune_config.{key} instead")
    return _SHORT.get(kind, kind), arguments


def _require_metric(experiment: Experiment, name: str, kind: str) -> None:
    if experiment.form.tune_config.metric is None:
        place = experiment.place("tune_config", name)
        raise InputError(f"{place} = {kind!r}: tune_config.metric is missing")


def _points(
    experiment: Experiment,
    points: Any,
    spaces: Mapping[KeyPath, Space],
    stored: Mapping[KeyPath, KeyPath],
) -> list[dict[str, Any]]:
    """Returns the settings to try first by the names that Optuna has for them."""
    keys = ("tune_config", "search_alg", "points_to_evaluate")
    if not isinstance(points, list):
        raise InputError(f"{experiment.place(*keys)} = {points!r}: expected a list of settings")
    named = []
    for number, point in enumerate(points):
        place = experiment.place(*keys, number)
        values = dict(_leaves(point, spaces))
        if values.keys() != spaces.keys():
            names = ", ".join(".".join(map(str, path)) for path in spaces)
            raise InputError(f"{place} = {point!r}: expected a value for each of {names}")
        for path, value in values.items():
            candidates = spaces[path].candidates()
            if not (
                value in candidates
                if spaces[path].kind == "choice"
                else isinstance(value, int | float) and candidates[0] <= value <= candidates[-1]
            ):
                where = experiment.place(*keys, number, *path)
                space = spaces[path]
                raise InputError(
                    f"{where} = {value!r}: expected a value of {space.kind} {space.arguments}"
                )
        named.append({"/".join(map(str, stored[p])): value for p, value in values.items()})
    return named


def _leaves(value: Any, spaces: Mapping[KeyPath, Space], path: KeyPath = ()) -> Any:
    """Yields the paths and values of a point; mappings below a space are values."""
    if path in spaces or not isinstance(value, Mapping):
        yield path, value
    else:
        for key, inner in value.items():
            yield from _leaves(inner, spaces, (*path, key))
