"""The form of an experiment, in a YAML file or as command-line flags.

A file holds one experiment or several, which are run one after the other::

    cartpole-ppo:                 # the name: results go to storage_path/cartpole-ppo
      run: PPO                    # a name of `rllib list algorithms`, or package.module:ConfigClass
      env: CartPole-v1            # see rllib_mec.experiment.environments
      stop:                       # whichever comes first; left out: until Ctrl-C
        num_env_steps_sampled_lifetime: 200000
      config:                     # settings of the algorithm, flat, and search spaces
        lr: {grid_search: [1e-4, 3e-4]}
        env_config: {}
        model_config: {fcnet_hiddens: [64, 64]}
      num_samples: 1              # trials for each point of the grid
      seeds: null                 # [0, 1, 2]: these seeds as one trial, their networks stacked
      stack: null                 # [{lr: 1e-3}, {lr: 3e-4}]: the same with other settings
      storage_path: ./results     # a directory, or a URI such as s3://bucket/folder
      env_runners_per_node: null  # so many rollout workers of a trial on each node of a cluster
      max_failures: 0             # restarts of a trial that fails, from its last checkpoint;
                                  # -1: any number; left out: 0, on a cluster 3
      checkpoint_config:
        checkpoint_frequency: 0   # in iterations, 0: none; left out: 0, on a cluster 20
        checkpoint_at_end: true
        num_to_keep: null         # null: all
        checkpoint_score_attribute: null   # keep the best by this result, not the newest
        checkpoint_score_order: max
      tune_config:
        metric: null              # which result makes a trial the best
        mode: max
        scheduler: null           # a name, or {type: async_hyperband, grace_period: 5}
        search_alg: null          # optuna, or {type: optuna, seed: 0}; null: independent draws
        max_concurrent_trials: null
        time_budget_s: null       # for all trials together

The values above are the defaults, except for `run`, `env`, `stop` and `config`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from rllib_mec.errors import InputError, did_you_mean
from rllib_mec.experiment import forms, old_names
from rllib_mec.experiment.forms import Form
from rllib_mec.source import Source, read_yaml

RESULT_KEYS = {
    "iterations_since_restore",
    "num_env_steps_sampled_lifetime",
    "time_since_restore",
    "time_total_s",
    "training_iteration",
}
"""Results of a training iteration that every algorithm reports as a number."""

RESULT_GROUPS = ("env_runners/", "evaluation/", "learners/")
"""What the other results start with."""


class CheckpointForm(Form):
    """``checkpoint_config`` of an experiment."""

    checkpoint_frequency: Annotated[int, pydantic.Field(ge=0)] | None = None
    checkpoint_at_end: bool = True
    num_to_keep: Annotated[int, pydantic.Field(ge=1)] | None = None
    checkpoint_score_attribute: str | None = None
    checkpoint_score_order: Literal["max", "min"] = "max"


class TuneForm(Form):
    """``tune_config`` of an experiment."""

    metric: str | None = None
    mode: Literal["max", "min"] = "max"
    scheduler: str | dict[str, Any] | None = None
    search_alg: str | dict[str, Any] | None = None
    max_concurrent_trials: Annotated[int, pydantic.Field(ge=1)] | None = None
    time_budget_s: Annotated[float, pydantic.Field(gt=0)] | None = None


class ExperimentForm(Form):
    """An experiment; see the module's docstring."""

    run: str
    env: str
    stop: dict[str, Any] = pydantic.Field({})
    config: dict[str, Any] = pydantic.Field({})
    num_samples: Annotated[int, pydantic.Field(ge=1)] = 1
    seeds: Annotated[list[int], pydantic.Field(min_length=1)] | None = None
    stack: Annotated[list[dict[str, Any]], pydantic.Field(min_length=1)] | None = None
    storage_path: str = "./results"
    env_runners_per_node: Annotated[int, pydantic.Field(ge=1)] | None = None
    max_failures: Annotated[int, pydantic.Field(ge=-1)] | None = None
    checkpoint_config: CheckpointForm = CheckpointForm()
    tune_config: TuneForm = TuneForm()


_OLD_NAMES: forms.OldNames = {
    ExperimentForm: old_names.EXPERIMENT,
    CheckpointForm: old_names.CHECKPOINT,
}


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A named experiment whose form is in order; its ``config`` is not checked yet.

    stop: the criteria of the form, flat: "env_runners/episode_return_mean".
    """

    name: str
    form: ExperimentForm
    stop: dict[str, float]
    source: Source

    def place(self, *keys: Any) -> str:
        """Returns the name of a value for error messages, with file and line if it has them."""
        return self.source.place(keys)

    @property
    def directory(self) -> str:
        """Where results go: an absolute path, or a URI."""
        return f"{self.storage_path.rstrip('/')}/{self.name}"

    @property
    def storage_path(self) -> str:
        """The form's ``storage_path``, absolute unless it is a URI."""
        path = self.form.storage_path
        return path if "://" in path else str(Path(path).expanduser().resolve())


def read_file(path: Path, flags: Mapping[str, Any] | None = None) -> list[Experiment]:
    """Reads the experiments of a YAML file.

    Args:
        path: the file.
        flags: values that go before the file's, by dotted key ("checkpoint_config.num_to_keep").

    Raises:
        InputError: a value that is none, with its place in the file.
    """
    content, source = read_yaml(path)
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: expected a mapping of experiments, {{name: {{run, env, …}}}}")
    if content.keys() & {"run", "env", "config"}:
        raise InputError(
            f"{path}:1: the experiment has no name: expected {{name: {{run, env, …}}}}"
        )
    return [
        make(str(name), form, dataclasses.replace(source, root=(str(name),)), flags)
        for name, form in content.items()
    ]


def make(
    name: str, form: Any, source: Source | None = None, flags: Mapping[str, Any] | None = None
) -> Experiment:
    """Checks the form of one experiment.

    Raises:
        InputError: an unknown key or a value of the wrong kind.
    """
    source = source or Source()
    if not name or name in (".", "..") or set(name) & set('/\\:*?"<>|'):
        raise InputError(f"experiment name {name!r}: expected a name that a directory can have")
    if not isinstance(form, Mapping):
        raise InputError(f"{source.place(()) or name} = {form!r}: expected {{run, env, …}}")
    if "variants" in form:
        raise InputError(f"{source.place(()) or name}: is a study: use `rllib study`")
    checked = forms.checked(ExperimentForm, _with_flags(form, flags or {}), source, _OLD_NAMES)
    experiment = Experiment(name, checked, {}, source)
    stop = _checked_stop(experiment, checked.stop, ("stop",))
    for keys in (("tune_config", "metric"), ("checkpoint_config", "checkpoint_score_attribute")):
        if (key := getattr(getattr(checked, keys[0]), keys[1])) is not None:
            check_result_key(key, experiment.place(*keys))
    return dataclasses.replace(experiment, stop=stop)


def check_result_key(key: str, place: str) -> None:
    """Refuses a key that no training result has.

    Raises:
        InputError: with the new name, or the nearest one.
    """
    if key in RESULT_KEYS or key.startswith(RESULT_GROUPS):
        return
    if new := old_names.RESULTS.get(key.removeprefix("min-")):
        raise InputError(f"{place}: {key!r} is a name of RLlib's old API stack: use {new}")
    expected = f"expected {', '.join(sorted(RESULT_KEYS))}, or a key below " + ", ".join(
        RESULT_GROUPS
    )
    raise InputError(f"{place}: unknown result {key!r}:{did_you_mean(key, RESULT_KEYS)} {expected}")


def _with_flags(form: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, Any]:
    merged = {key: value for key, value in form.items() if value is not None}
    for dotted, value in flags.items():
        *parents, key = dotted.split(".")
        inner = merged
        for parent in parents:
            below = inner.get(parent) or {}
            if not isinstance(below, Mapping):
                return merged  # which will be refused
            inner[parent] = dict(below)
            inner = inner[parent]
        inner[key] = value
    return merged


def _checked_stop(
    experiment: Experiment, stop: Mapping[str, Any], path: tuple[str, ...]
) -> dict[str, float]:
    flat: dict[str, float] = {}
    for name, value in stop.items():
        here = (*path, name)
        if isinstance(value, Mapping):
            flat |= _checked_stop(experiment, value, here)
            continue
        key = "/".join(str(part) for part in here[1:])
        check_result_key(key, experiment.place(*here))
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            quotes = ", without quotes" if isinstance(value, str) and is_number(value) else ""
            raise InputError(f"{experiment.place(*here)} = {value!r}: expected a number{quotes}")
        if "/" not in key and not 0 < value < math.inf:
            raise InputError(
                f"{experiment.place(*here)} = {value!r}: expected a number > 0, which is reached"
            )
        flat[key] = value
    return flat


def is_number(text: str) -> bool:
    """Tells whether a text reads as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
