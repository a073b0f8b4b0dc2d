"""`seeds` and `stack` of an experiment: several runs as one trial, checked before it begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rllib_mec.errors import InputError
from rllib_mec.experiment import settings
from rllib_mec.experiment.spec import Experiment
from rllib_mec.hmppo import HMPPOConfig
from rllib_mec.hmppo.stacked.members import check_members, check_stackable, configured


def members(
    experiment: Experiment, configs: Sequence[Any], values: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Returns what each member of a stack sets: every entry of `stack` with every one of `seeds`.

    Args:
        configs: the configurations of the trials, without the members' settings.
        values: what sets them: `config`, with what is mutated.

    Returns:
        none, if the experiment asks for no stack.

    Raises:
        InputError: what cannot be stacked.
    """
    form = experiment.form
    if form.seeds is None and form.stack is None:
        return []
    place = experiment.place("stack" if form.stack is not None else "seeds")
    if not isinstance(configs[0], HMPPOConfig):
        raise InputError(f"{place}: expected run: HMPPO, IPPO or SABPPO, not {form.run}")
    seeds = [{"seed": seed} for seed in form.seeds] if form.seeds is not None else [{}]
    every = [
        {_attribute(name): value for name, value in {**own, **seed}.items()}
        for own in form.stack or [{}]
        for seed in seeds
    ]
    for name in (name for own in form.stack or [] for name in own):
        if name == "seed" and form.seeds is not None:
            raise InputError(f"{place}: seed is set by seeds, too")
    with settings.rllib_errors(place):
        check_members(every)
    for name in every[0]:
        given = {name, name.rstrip("_")} & values.keys()
        if given:
            raise InputError(f"{experiment.place('config', given.pop())}: is set by {place}, too")
    for config in configs:
        for own in every:
            with settings.rllib_errors(place):
                member = configured(config, own)
                member.validate()
                check_stackable(member)
    return every


def _attribute(name: str) -> str:
    """The name that a setting has in Python."""
    return "lambda_" if name == "lambda" else name
