"""Settings that modules have of their own: actors, of agents or groups, and critics.

RLlib's ``algorithm_config_overrides_per_module`` (a parameter of ``rl_module()``, and a setting of
YAML files) maps the ids of modules to settings in which they differ from the others::

    algorithm_config_overrides_per_module:
      scouts: {lr: 1e-4, entropy_coeff: 0.02}   # the actor of an agent or group, under its id
      central_critic: {lr: 1e-3}                # or, with critic: separate, scouts_critic

Networks differ by ``per_module`` in ``model_config``, whose other keys then hold for all others::

    model_config:
      fcnet_hiddens: [64, 64]
      per_module: {scouts: {fcnet_hiddens: [32]}, central_critic: {fcnet_hiddens: [128, 128]}}

Returns are those of critics: so ``gamma`` and ``lambda_`` can differ where there are several.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ray.rllib.utils.schedules.scheduler import Scheduler

from rllib_mec.errors import InputError, did_you_mean
from rllib_mec.hmppo.config_checks import check_bounds
from rllib_mec.hmppo.model_settings import PER_MODULE, RECURRENT
from rllib_mec.hmppo.modules.critic_plan import CriticPlan

OF_ALL = ("lr", "grad_clip", "grad_clip_by")
OF_ACTORS = (*OF_ALL, "clip_param", "entropy_coeff", "kl_coeff", "kl_target")
OF_CRITICS = (*OF_ALL, "vf_loss_coeff", "gamma", "lambda_")
"""Settings that a module may have of its own."""

OVERRIDES = "algorithm_config_overrides_per_module"
_TRAINED = "policies_to_train"
_CLIPS = ("global_norm", "norm", "value")
_SCHEDULED = {"lr": "learning rate", "entropy_coeff": "entropy coefficient"}


def check_overrides(config: Any, plan: CriticPlan) -> None:
    """Checks the settings that single modules have of their own, and which are to be trained.

    Args:
        plan: the critics, and the team whose actors there are.

    Raises:
        InputError: no such module, a setting that it does not have, or a value that makes no sense.
    """
    trained = config.policies_to_train
    if trained is not None and not callable(trained):
        check_modules(_TRAINED, {module_id: {} for module_id in trained}, plan, (_TRAINED,))
    overrides = config.algorithm_config_overrides_per_module
    check_modules(OVERRIDES, overrides, plan, (OVERRIDES,))
    for module_id, own in overrides.items():
        is_critic = module_id in plan.critics
        known = OF_CRITICS if is_critic else OF_ACTORS
        for given, value in own.items():
            name = "lambda_" if given == "lambda" else given
            here = (OVERRIDES, module_id, given)
            if name not in known:
                raise InputError(_not_of(given, module_id, plan, known), here)
            try:
                _check_value(name, value)
            except (ValueError, TypeError) as error:  # which RLlib raises for schedules
                raise InputError(f"{OVERRIDES}[{module_id}]: {error}", here) from error


def own_networks(config: Any, plan: CriticPlan) -> dict[str, dict[str, Any]]:
    """Returns what ``model_config`` says of the networks of single modules.

    Raises:
        InputError: no such module, or an unknown key or value of its network.
    """
    given = config._model_config if isinstance(config._model_config, dict) else {}
    at = ("model_config", PER_MODULE)
    own = check_modules(".".join(at), given.get(PER_MODULE) or {}, plan, at)
    for module_id, networks in own.items():
        where = f"model_config.{PER_MODULE}[{module_id}]"
        if PER_MODULE in networks:
            raise InputError(f"{where}: expected no {PER_MODULE} inside", (*at, module_id))
        for key in networks.keys() & set(RECURRENT):
            raise InputError(
                f"{where}: {key}: expected the same memory in all modules, in model_config itself",
                (*at, module_id, key),
            )
        try:
            config._checked_networks({**given, **networks})
        except InputError as error:
            raise InputError(f"{where}: {error}", (*at, module_id, *error.at[1:])) from error
    return {module_id: dict(networks) for module_id, networks in own.items()}


def check_modules(
    where: str, per_module: Any, plan: CriticPlan, at: Iterable[str]
) -> Mapping[str, Mapping[str, Any]]:
    """Returns ``{module id: settings}`` if it is that.

    Raises:
        InputError: it is none, or there is no such module.
    """
    every = (*plan.team.agents, *plan.critics)
    if not isinstance(per_module, Mapping):
        raise InputError(f"{where} = {per_module!r}: expected {{module id: settings}}", at)
    for module_id, own in per_module.items():
        here = (*at, module_id)
        for group, ids in plan.team.members.items():
            if module_id in ids:
                raise InputError(
                    f"{where} of {module_id!r}: expected its group's name, {group!r}", here
                )
        if module_id not in every:
            hint = did_you_mean(str(module_id), every)
            raise InputError(
                f"{where} of {module_id!r}: expected one of {', '.join(every)}{hint and ','}{hint}",
                here,
            )
        if not isinstance(own, Mapping):
            raise InputError(f"{where} of {module_id!r} = {own!r}: expected settings", here)
    return per_module


def _not_of(name: str, module_id: str, plan: CriticPlan, known: Iterable[str]) -> str:
    """Says why a module has no setting ``name`` of its own."""
    kind = "critic" if module_id in plan.critics else "actor"
    message = f"{name} of {module_id!r}: expected a setting that can differ for a single {kind}, "
    if name == "model_config":
        return f"{message}networks do by model_config.per_module"
    is_other = name in OF_ACTORS or name in OF_CRITICS or name == "lambda"
    if is_other and kind == "actor":
        [critic] = [mid for mid, agents in plan.critics.items() if module_id in agents]
        return f"{message}this one is the critic's, {critic!r}"
    return f"{message}one of {', '.join(known)}"


def _check_value(name: str, value: Any) -> None:
    """Refuses a value that makes no sense, by itself."""
    if name == "grad_clip_by":
        if value not in _CLIPS:
            raise InputError(f"{name} = {value!r}: expected one of {', '.join(_CLIPS)}")
        return
    if name in _SCHEDULED and isinstance(value, list | tuple):
        Scheduler.validate(
            fixed_value_or_schedule=value, setting_name=name, description=_SCHEDULED[name]
        )
        return
    if value is None and name == "grad_clip":
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{name} = {value!r}: expected a number")
    if name == "lr" and not value >= 0:
        raise InputError(f"{name} = {value!r}: expected a number >= 0")
    check_bounds(name, value)
