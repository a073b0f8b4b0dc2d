"""The members of a stack: in what they may differ, their names, and what cannot be stacked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rllib_mec.errors import InputError, unknown_name
from rllib_mec.hmppo.sampling.batched_env_runner import BatchedEnvRunner

Settings = Mapping[str, Any]

STACKABLE = (
    "seed",
    "lr",
    "gamma",
    "lambda_",
    "clip_param",
    "entropy_coeff",
    "vf_loss_coeff",
    "kl_coeff",
    "grad_clip",
)
"""Settings in which members may differ: none of them changes which operations are done."""


def names_of(members: Sequence[Settings]) -> list[str]:
    """Returns a name for each member, made of its settings.

    >>> names_of([{"seed": 0}, {"lr": 0.001, "seed": 0}])
    ['seed_0', 'lr_0.001-seed_0']
    """
    return ["-".join(f"{key.rstrip('_')}_{own[key]}" for key in own) for own in members]


def check_members(members: Sequence[Settings]) -> None:
    """Refuses members that are no members.

    Raises:
        InputError: none at all, two that are the same, or a setting that is not for members.
    """
    if not members:
        raise InputError("[]: expected one member at least")
    for own in members:
        if not own:
            raise InputError("{}: expected settings of the member")
        for name, value in own.items():
            if name not in STACKABLE:
                raise unknown_name("setting of a stack's members", name, STACKABLE)
            # A member without a limit of its gradient does other operations than one with.
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise InputError(f"{name} = {value!r}: expected a number for each member")
        if own.keys() != members[0].keys():
            raise InputError(f"{dict(own)!r}: expected the same settings in each member")
    names = names_of(members)
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{name} comes twice: expected members that differ")


def configured(config: Any, own: Settings) -> Any:
    """Returns a copy of ``config`` with a member's settings."""
    copy = config.copy(copy_frozen=False)
    settings = dict(own)
    if "seed" in settings:
        copy.debugging(seed=settings.pop("seed"))
    return copy.training(**settings)


def check_stackable(config: Any) -> None:
    """Refuses a configuration of HMPPO that cannot be trained as a stack.

    Args:
        config: validated.

    Raises:
        InputError: naming the first setting that is in the way.
    """
    for name in ("num_env_runners", "num_learners"):
        if getattr(config, name):
            raise InputError(f"{name} = {getattr(config, name)}: expected 0 in a stack")
    if config.is_recurrent:
        raise InputError("model_config.recurrent_layer: expected null in a stack")
    if config.output is not None:
        raise InputError(f"output = {config.output!r}: expected none in a stack")
    if config.restart_failed_sub_environments:
        raise InputError("restart_failed_sub_environments = True: expected false in a stack")
    if config.env_runner_cls is not BatchedEnvRunner:
        raise InputError("a stack needs an environment and settings that are sampled in batches")
