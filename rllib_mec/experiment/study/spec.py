"""The form of a study, in a YAML file.

A file holds one study or several, which are run together::

    my-study:                     # the name: results go to OUT/my-study
      env: mec
      num_ues: [6, 9]             # each is trained, and evaluated, on its own; left out: the
                                  # environment has no UEs, and is what env_config says
      test_num_ues: null          # numbers of UEs to evaluate on; left out: as trained
      seeds: [0, 1, 2]
      steps: 300000               # of each seed
      evaluation: {episodes: 500, seed: 1000}
      baselines: [random, hold]   # what `rllib evaluate` takes, on the same episodes
      base: ../my-experiment.yaml # an experiment whose settings all variants share; may be left out
      config:                     # further ones, which go on top; the word "steps" stands for the
        lr: [[0, 1e-3], [steps, 1e-5]]     # number of steps
      variants:
        HMPPO: {run: HMPPO}
        no-horizon: {run: HMPPO, config: {gamma: 0.0}}   # goes on top of the shared settings
        DQN: {run: DQN, env: mec-case-decision, base: ../dqn.yaml, seeds: [0, 1], steps: 50000}
      published:                  # what others report, beside which the report puts ours
        metric: reward            # in whose units
        returns: [{algorithm: MAPPO, value: -7.5, steps: 300000, source: "a paper, a figure"}]

A variant with a ``base`` of its own shares nothing but ``env_config``, nor does one with ``shared:
false``. The values of ``evaluation`` above are its defaults; ``test_num_ues``, ``baselines`` and
``published`` may be left out. Seeds are trained as one stack where that is possible, and share its
time; ``stacked: false`` trains each alone, for a time of its own. Metrics are those that the
environment says it has (``metric_names``), the same of all variants. With ``explored: true`` in
``evaluation``, what is trained is evaluated twice: with its most probable actions, and with actions
drawn as in training, as the variant "NAME, explored".
"""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pydantic

from rllib_mec.errors import InputError
from rllib_mec.experiment import forms
from rllib_mec.experiment.forms import Form, Whole
from rllib_mec.experiment.spec import read_file as read_experiments
from rllib_mec.experiment.study.results import EXPLORED
from rllib_mec.source import KeyPath, Source, read_yaml

STEPS = "steps"
"""The word in a study's ``config`` that stands for the number of steps."""

_Positive = Annotated[Whole, pydantic.Field(ge=1)]
_Positives = Annotated[list[_Positive], pydantic.Field(min_length=1)]
_Seed = Annotated[Whole, pydantic.Field(ge=0)]
_Seeds = Annotated[list[_Seed], pydantic.Field(min_length=1)]


class EvaluationForm(Form):
    """``evaluation`` of a study: which episodes all are evaluated on."""

    episodes: Annotated[Whole, pydantic.Field(ge=2)] = 500
    seed: _Seed = 1000
    explored: bool | None = None


class VariantForm(Form):
    """A variant: an algorithm with settings of its own."""

    run: str
    env: str | None = None
    base: str | None = None
    config: dict[str, Any] = pydantic.Field({})
    shared: bool = True
    seeds: _Seeds | None = None
    steps: _Positive | None = None


class PublishedReturnForm(Form):
    """A return that others report: of which algorithm, after how many steps, and where."""

    algorithm: str
    value: float
    steps: _Positive
    source: str


class PublishedForm(Form):
    """``published`` of a study: returns of others, in the units of one of its metrics."""

    metric: str = "reward"
    returns: Annotated[list[PublishedReturnForm], pydantic.Field(min_length=1)]


class StudyForm(Form):
    """A study; see the module's docstring."""

    env: str
    num_ues: _Positives | None = None
    test_num_ues: _Positives | None = None
    seeds: _Seeds
    steps: _Positive
    evaluation: EvaluationForm = EvaluationForm()
    baselines: list[str] = pydantic.Field([])
    base: str | None = None
    config: dict[str, Any] = pydantic.Field({})
    stacked: bool | None = None
    published: PublishedForm | None = None
    variants: Annotated[dict[str, VariantForm], pydantic.Field(min_length=1)]


@dataclasses.dataclass(frozen=True)
class Study:
    """A named study whose form is in order."""

    name: str
    form: StudyForm
    source: Source


def read_file(path: Path, seeds: int | None = None, steps: int | None = None) -> list[Study]:
    """Reads the studies of a YAML file.

    Args:
        seeds: how many of each list of seeds to take; None: all.
        steps: of every seed, instead of the file's.

    Raises:
        InputError: a value that is none, with its place in the file.
    """
    content, source = read_yaml(path)
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path}: expected a mapping of studies, {{name: {{env, variants, …}}}}")
    if "variants" in content:
        raise InputError(f"{path}:1: the study has no name: expected {{name: {{env, …}}}}")
    return [
        shortened(
            make(str(name), form, dataclasses.replace(source, root=(str(name),))), seeds, steps
        )
        for name, form in content.items()
    ]


def make(name: str, form: Any, source: Source | None = None) -> Study:
    """Checks the form of one study.

    Raises:
        InputError: an unknown key or a value of the wrong kind.
    """
    source = source or Source()
    if not re.fullmatch(r"[\w.+-]+", name) or set(name) == {"."}:
        raise InputError(f"study name {name!r}: expected letters, digits, '_', '.', '+' or '-'")
    if not isinstance(form, Mapping):
        raise InputError(f"{source.place(()) or name} = {form!r}: expected {{env, variants, …}}")
    if "run" in form and "variants" not in form:
        raise InputError(f"{source.place(()) or name}: is an experiment: use `rllib train file`")
    checked = forms.checked(StudyForm, form, source)
    for key in ("num_ues", "test_num_ues", "seeds", "baselines"):
        _check_distinct(getattr(checked, key) or [], source.place((key,)))
    parts: dict[KeyPath, StudyForm | VariantForm] = {(): checked}
    parts |= {("variants", label): variant for label, variant in checked.variants.items()}
    for keys, part in parts.items():
        own = _checked_env_config(part.config, source.place((*keys, "config", "env_config")))
        if "num_ues" in own and checked.num_ues is not None:
            place = source.place((*keys, "config", "env_config", "num_ues"))
            raise InputError(f"{place}: is set by num_ues of the study")
        if part.base is not None:
            place = source.place((*keys, "base"))
            part.config = _merged(_base(part.base, source, place), part.config)
    for label, variant in checked.variants.items():
        if checked.evaluation.explored and label + EXPLORED in checked.variants:
            place = source.place(("variants", label + EXPLORED))
            raise InputError(f"{place}: is the name of {label} with drawn actions, too")
        if variant.base is not None:
            variant.shared = False
        _check_distinct(variant.seeds or [], source.place(("variants", label, "seeds")))
    if checked.num_ues is None and checked.test_num_ues is not None:
        place = source.place(("test_num_ues",))
        raise InputError(f"{place} = {checked.test_num_ues!r}: expected num_ues, too")
    return Study(name, checked, source)


def shortened(study: Study, seeds: int | None, steps: int | None) -> Study:
    """Returns a study with the first ``seeds`` seeds of each list, and ``steps`` steps."""
    form = study.form.model_copy(deep=True)
    parts: list[StudyForm | VariantForm] = [form, *form.variants.values()]
    for part in parts:
        if seeds is not None and part.seeds is not None:
            part.seeds = part.seeds[:seeds]
        if steps is not None and part.steps is not None:
            part.steps = steps
    return dataclasses.replace(study, form=form)


def config_of(form: StudyForm, variant: VariantForm, num_ues: int | None) -> dict[str, Any]:
    """Returns a variant's settings: the shared ones, its own on top, and its ``env_config``."""
    config = _merged(form.config if variant.shared else {}, variant.config)
    config["env_config"] = with_ues(env_config_of(form, variant), num_ues)
    return _with_steps(config, variant.steps or form.steps)


def with_ues(env_config: Mapping[str, Any], num_ues: int | None) -> dict[str, Any]:
    """Returns an ``env_config`` with a number of UEs; None: as it is."""
    return {**env_config, **({} if num_ues is None else {"num_ues": num_ues})}


def env_config_of(form: StudyForm, variant: VariantForm | None) -> dict[str, Any]:
    """Returns the ``env_config`` of a variant, or that of the baselines, without ``num_ues``."""
    own = variant.config.get("env_config", {}) if variant is not None else {}
    return {**form.config.get("env_config", {}), **own}


def _base(path: str, source: Source, place: str) -> dict[str, Any]:
    """Returns the settings of the experiment in a file, without its seed and number of UEs."""
    try:
        experiments = read_experiments(Path(source.name).parent / path)
        if len(experiments) != 1:
            raise InputError("expected a file of one experiment")
        config = copy.deepcopy(experiments[0].form.config)
        _checked_env_config(config, experiments[0].place("config", "env_config")).pop(
            "num_ues", None
        )
    except InputError as error:
        raise InputError(f"{place} = {path!r}: {error}") from None
    config.pop("seed", None)
    return config


def _checked_env_config(config: dict[str, Any], place: str) -> dict[str, Any]:
    """Returns the ``env_config`` of settings, which is a mapping from now on.

    ``env_config:`` with nothing below it is null in YAML.
    """
    if config.get("env_config", ...) is None:
        config["env_config"] = {}
    own = config.get("env_config", {})
    if not isinstance(own, dict):
        raise InputError(f"{place} = {own!r}: expected a mapping")
    return own


def _check_distinct(values: Sequence[Any], place: str) -> None:
    for value in values:
        if values.count(value) > 1:
            raise InputError(f"{place} = {list(values)!r}: {value!r} comes twice")


def _merged(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Returns ``shared`` with ``own`` on top, mappings inside joined in the same way."""
    merged = copy.deepcopy(dict(shared))
    for key, value in own.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merged(merged[key], value) if both else copy.deepcopy(value)
    return merged


def _with_steps(value: Any, steps: int) -> Any:
    """Returns ``value`` with the number of steps wherever the word stands."""
    if isinstance(value, Mapping):
        return {key: _with_steps(item, steps) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_steps(item, steps) for item in value]
    return steps if value == STEPS else value
