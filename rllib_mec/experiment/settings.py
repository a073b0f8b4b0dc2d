"""The settings of an algorithm: their names, their types, and how they are set.

RLlib's ``AlgorithmConfig.from_dict`` takes any key and any value. Here, each key is a parameter of
one of the config's setter methods (``training``, ``env_runners``, …), is checked against that
parameter's annotation, and is set by that method.
"""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import functools
import inspect
import json
import reprlib
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

import pydantic

from rllib_mec.errors import InputError, did_you_mean
from rllib_mec.experiment import old_names
from rllib_mec.experiment.environments import import_attribute
from rllib_mec.experiment.spec import is_number
from rllib_mec.source import KeyPath

_SETTERS = (
    "resources",
    "environment",
    "env_runners",
    "learners",
    "training",
    "callbacks",
    "evaluation",
    "offline_data",
    "multi_agent",
    "reporting",
    "checkpointing",
    "debugging",
    "fault_tolerance",
    "rl_module",
    "experimental",
    "python_environment",
    "framework",
)
"""RLlib's setter methods. ``api_stack`` is none of them: only the new stack is run."""

_OVERRIDES = "algorithm_config_overrides_per_module"

_DEPRECATED = -1
"""The default of parameters that RLlib keeps only to say that they are gone."""

_Schedule = list[tuple[int | float, float]]
_ANNOTATIONS: dict[str, Any] = {
    _OVERRIDES: dict,
    "agent_groups": dict | str | None,
    "entropy_coeff": float | _Schedule,
    "num_cpus_per_env_runner": float,
    "num_cpus_for_main_process": float,
    "policies": list[str],
    "policies_to_train": list[str] | Callable | None,
    "policy_mapping_fn": Callable,
    "evaluation_config": dict | None,
    "env_config": dict,
}
"""Types of settings that are annotated more narrowly than they are used, or not usefully.

Of some, what is inside is checked by itself, and the message then is of that.
"""


@dataclasses.dataclass(frozen=True)
class Setting:
    """One setting: the method and the parameter that set it, and the type that it should have."""

    method: str
    parameter: str
    annotation: Any


@functools.cache
def settings_of(config_class: type) -> dict[str, Setting]:
    """Returns the settings of a config class by name; ``lambda_`` is called ``lambda`` too."""
    found: dict[str, Setting] = {}
    for method in (*_SETTERS, *_own_setters(config_class)):
        for owner in config_class.__mro__:
            function = vars(owner).get(method)
            if function is None:
                continue
            for parameter in list(inspect.signature(function).parameters.values())[1:]:
                name = parameter.name
                variadic = parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
                deprecated = parameter.default == _DEPRECATED
                if variadic or deprecated or name.startswith("_") or name in found:
                    continue
                annotation = _ANNOTATIONS.get(name, _annotation(function, parameter))
                found[name] = Setting(method, name, annotation)
    for name in [key for key in found if key.endswith("_")]:
        found[name.rstrip("_")] = found[name]
    # `env` and `framework` are not for `config`; see rllib_mec.experiment.old_names.
    return {name: setting for name, setting in found.items() if name not in ("env", "framework")}


def apply(
    config: Any,
    values: Mapping[str, Any],
    place: Callable[..., str] = lambda *keys: ".".join(map(str, keys)),
) -> None:
    """Sets ``values``, without search spaces, on an algorithm's config.

    Args:
        config: an ``AlgorithmConfig``; left half set when an error is raised.
        values: settings by name.
        place: names a value for error messages, given its keys.

    Raises:
        InputError: an unknown setting, a value of the wrong type, or one that RLlib refuses.
    """
    # `env_config:` with nothing below it is null in YAML.
    values = {k: v for k, v in values.items() if not (k == "env_config" and v is None)}
    calls = []
    names: dict[str, str] = {}
    for name, value in values.items():
        where = place("config", name)
        setting = check_name(config, name, f"{where} = {reprlib.repr(value)}")
        if (first := names.setdefault(setting.parameter, name)) != name:
            raise InputError(f"{where}: the same setting as {first}: expected one of them")
        argument = _checked(setting, value, where)
        calls.append((f"{where} = {value!r}", setting.method, {setting.parameter: argument}))
    _check_inside(config, values, place)
    _check_model(config, values, place)
    for where, method, argument in calls:
        with rllib_errors(where):
            getattr(config, method)(**argument)


def check_name(config: Any, name: Any, place: str) -> Setting:
    """Returns the setting ``name`` of a config.

    Raises:
        InputError: there is none, with its new name or the nearest one.
    """
    known = settings_of(config.__class__)
    kept = getattr(config, "settings_of_the_old_stack", ())
    if name not in kept and (new := old_names.SETTINGS.get(name)):
        raise InputError(f"{place}: {name!r} is a name of RLlib's old API stack: use {new}")
    if why := old_names.GONE.get(name):
        raise InputError(f"{place}: no such setting on RLlib's new API stack: {why}")
    if name not in known:
        algorithm = type(config).__name__.removesuffix("Config")
        hint = did_you_mean(str(name), known)
        raise InputError(f"{place}: unknown setting of {algorithm}:{hint or ' see its config'}")
    return known[name]


@contextlib.contextmanager
def rllib_errors(place: str, within: Callable[..., str] | None = None) -> typing.Iterator[None]:
    """Turns what RLlib raises for bad settings into one line that starts with ``place``.

    Args:
        within: names the place of what an error says that it is about, given its keys.
    """
    try:
        yield
    except InputError as error:
        if within is not None and error.at:
            place = within(*error.at)
        raise InputError(f"{place}: {error}" if place else str(error)) from error
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        AssertionError,
        ImportError,
        NotImplementedError,
    ) as error:
        message = str(error).split("\nTo suppress all validation errors")[0]
        line = " ".join(message.split()) or type(error).__name__
        raise InputError(f"{place}: {line}" if place else line) from error


def _own_setters(config_class: type) -> list[str]:
    """Returns setter methods that subclasses of ``AlgorithmConfig`` add: they return the config."""
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

    own = []
    for owner in config_class.__mro__:
        if owner is AlgorithmConfig:
            break
        for name, function in vars(owner).items():
            if name.startswith("_") or hasattr(AlgorithmConfig, name):
                continue
            if inspect.isfunction(function):
                returned = inspect.signature(function).return_annotation
                if "Self" in str(returned) or str(returned).strip("'\"") == owner.__name__:
                    own.append(name)
    return own


def _annotation(function: Any, parameter: inspect.Parameter) -> Any:
    annotation = parameter.annotation
    if annotation is parameter.empty:
        return Any
    if isinstance(annotation, str):
        try:
            return eval(annotation, function.__globals__)  # the annotation is source code
        except (NameError, AttributeError, TypeError):
            return Any
    return annotation


def _checked(setting: Setting, value: Any, place: str) -> Any:
    """Returns ``value``, imported if it names an object, as whole number if it should be one."""
    members = _members(setting.annotation)
    objects = [member for member in members if _is_object(member)]
    if isinstance(value, str) and str not in members and objects:
        if ":" not in value:
            raise InputError(f"{place} = {value!r}: expected package.module:name")
        with rllib_errors(place):
            return import_attribute(value)
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):
        raise InputError(f"{place} = {value!r}: expected {_words(members)}") from None
    for member in set(members) - set(objects):
        with contextlib.suppress(pydantic.ValidationError):
            _adapter(member).validate_json(text, strict=True)
            return value
    if int in members and isinstance(value, float) and value.is_integer():
        return int(value)
    hint = ", without quotes" if isinstance(value, str) and is_number(value) else ""
    raise InputError(f"{place} = {value!r}: expected {_words(members)}{hint}")


def _members(annotation: Any) -> tuple[Any, ...]:
    """Returns the alternatives of a union, or the one type."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return tuple(m for arg in typing.get_args(annotation) for m in _members(arg))
    return (annotation,)


def _is_object(member: Any) -> bool:
    """Tells whether a file can only name such values: classes, functions, RLlib's own objects."""
    origin = typing.get_origin(member) or member
    return origin in (type, collections.abc.Callable, typing.Callable) or _adapter(member) is None


@functools.cache
def _adapter(member: Any) -> Any:
    """Returns pydantic's checker of a type, or None for a type that it cannot check."""
    try:
        adapter = pydantic.TypeAdapter(member)
    except pydantic.errors.PydanticUserError:
        return None
    return adapter if adapter.pydantic_complete else None


_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    dict: "a mapping",
    type(None): "null",
}


def _words(members: tuple[Any, ...]) -> str:
    """Returns types in plain words: "a number, a list or null"."""
    words: list[str] = []
    for member in members:
        origin = typing.get_origin(member) or member
        word = _WORDS.get(origin)
        if word is None and isinstance(origin, type):
            if issubclass(origin, collections.abc.Mapping):
                word = "a mapping"
            elif issubclass(origin, collections.abc.Collection):
                word = "a list"
        if word is None and _is_object(member):
            word = "package.module:name"
        words.append(str(word or getattr(origin, "__name__", origin)))
    if "a number" in words:
        words = [w for w in words if w != "a whole number"]
    unique = list(dict.fromkeys(words))
    return " or ".join(unique) if len(unique) < 3 else f"{', '.join(unique[:-1])} or {unique[-1]}"


def _check_inside(config: Any, values: Mapping[str, Any], place: Callable[..., str]) -> None:
    """Checks names and types of settings inside settings: of evaluation, of single modules."""
    inside: dict[KeyPath, Any] = {("evaluation_config",): values.get("evaluation_config") or {}}
    for module_id, own in (values.get(_OVERRIDES) or {}).items():
        inside[_OVERRIDES, module_id] = own
    for path, own in inside.items():
        if not isinstance(own, Mapping):
            raise InputError(f"{place('config', *path)} = {own!r}: expected a mapping of settings")
        for name, value in own.items():
            where = place("config", *path, name)
            setting = check_name(config, name, f"{where} = {reprlib.repr(value)}")
            _checked(setting, value, where)


def _check_model(config: Any, values: Mapping[str, Any], place: Callable[..., str]) -> None:
    """Refuses keys that RLlib's own models would ignore; other algorithms know theirs."""
    model = values.get("model_config")
    if not model or values.get("rl_module_spec") or not type(config).__module__.startswith("ray."):
        return
    from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

    fields = {field.name for field in dataclasses.fields(DefaultModelConfig)}
    known = fields | set(config.model_config)
    for name in model:
        if name not in known:
            where = place("config", "model_config", name)
            hint = did_you_mean(str(name), known) or f" expected {', '.join(sorted(known))}"
            raise InputError(f"{where}: unknown key of model_config:{hint}")
