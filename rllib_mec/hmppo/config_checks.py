"""Which settings of HMPPO make sense, by themselves and with each other."""

from __future__ import annotations

import itertools
import math
import numbers
from typing import Any

from rllib_mec.errors import InputError, unknown_name
from rllib_mec.hmppo.groups import ModuleOfMember
from rllib_mec.hmppo.learning.sequential import UPDATES
from rllib_mec.hmppo.modules.autoregressive import CASE_HEADS
from rllib_mec.hmppo.modules.critic_plan import CRITICS
from rllib_mec.hmppo.modules.joint_policy import JointPolicy
from rllib_mec.hmppo.team import RATIOS, Team

OBSERVATION_FILTERS = ("NoFilter", "MeanStdFilter")
"""RLlib's names, see :class:`~rllib_mec.hmppo.modules.observation_filter.ObservationFilter`."""

CRITIC_INPUTS = ("observations", "state")
"""What a central critic sees, if it is not the observations of some agents."""

REWARDS = ("shared", "individual")
"""Whose reward an agent learns from: the team's or its own."""

_NAMES = {
    "critic": CRITICS,
    "rewards": REWARDS,
    "update": UPDATES,
    "ratio": RATIOS,
    "case_head": CASE_HEADS,
    "observation_filter": OBSERVATION_FILTERS,
}
"""Settings that are one of some names."""

_BOUNDS = {
    "gamma": (0.0, 1.0),
    "lambda_": (0.0, 1.0),
    "clip_param": (0.0, math.inf),
    "grad_clip": (0.0, math.inf),
    "vf_loss_coeff": (0.0, math.inf),
    "kl_coeff": (0.0, math.inf),
    "kl_target": (0.0, math.inf),
    "num_epochs": (1, math.inf),
    "minibatch_size": (1, math.inf),
    "train_batch_size_per_learner": (1, math.inf),
    "num_learners": (0, math.inf),
    "num_env_runners": (0, math.inf),
    "seed": (0, 2**32 - 1),
    "lr": (0.0, math.inf),
    "entropy_coeff": (0.0, math.inf),
}
"""Settings whose values RLlib does not check, and where they make sense."""


def check_settings(config: Any) -> None:
    """Checks settings by themselves and with each other.

    Raises:
        InputError: naming the first one that makes no sense.
    """
    for name, known in _NAMES.items():
        if getattr(config, name) not in known:
            raise unknown_name(name, getattr(config, name), known)
    if config.update == "sequential" and config._torch_grad_scaler_class is not None:
        raise InputError(
            "update = 'sequential': expected no _torch_grad_scaler_class: torch's scalers "
            "refuse steps in which only some networks learn"
        )
    seen = config.critic_input
    if isinstance(seen, str) and seen not in CRITIC_INPUTS:
        raise unknown_name("critic_input", seen, CRITIC_INPUTS)
    if not isinstance(seen, str | list | tuple):
        raise InputError(
            f"critic_input = {seen!r}: expected one of {', '.join(CRITIC_INPUTS)}, or a list of "
            "agents"
        )
    for name in ("entity_shared", "compiled", "mixed_precision"):
        if not isinstance(getattr(config, name), bool):
            raise InputError(f"{name} = {getattr(config, name)!r}: expected true or false")
    if config.rewards == "individual" and config.critic != "separate":
        raise InputError(
            f"rewards = 'individual': expected critic = 'separate', got {config.critic!r}"
        )
    if config.ratio == "entity" and not config.entity_shared:
        raise InputError("ratio = 'entity': expected entity_shared = true, got false")
    if config.case_head == "autoregressive" and not config.entity_shared:
        raise InputError("case_head = 'autoregressive': expected entity_shared = true, got false")
    if not config.use_critic:
        raise InputError(f"use_critic = {config.use_critic!r}: expected true, HMPPO learns by one")
    for name in _BOUNDS:
        check_bounds(name, getattr(config, name))


def check_bounds(name: str, value: Any) -> None:
    """Checks a number, or a schedule of numbers, if RLlib does not.

    Raises:
        InputError: it makes no sense for the setting ``name``.
    """
    if name not in _BOUNDS or value is None:
        return
    low, high = _BOUNDS[name]
    if isinstance(value, list | tuple):
        _check_schedule(name, value, low)
    elif not _is_in(value, low, high):
        raise InputError(f"{name} = {value!r}: expected a number in [{low:g}, {high:g}]")


def _check_schedule(name: str, pairs: Any, low: float) -> None:
    """Checks ``[[0, value], [steps, value], ...]``."""
    right = len(pairs) > 1 and all(
        isinstance(pair, list | tuple)
        and len(pair) == 2
        and _is_in(pair[0], 0, math.inf)
        and _is_in(pair[1], low, math.inf)
        for pair in pairs
    )
    steps = [pair[0] for pair in pairs] if right else []
    if not right or steps[0] != 0 or any(a >= b for a, b in itertools.pairwise(steps)):
        raise InputError(
            f"{name} = {pairs!r}: expected [[0, number >= {low:g}], [steps, number >= {low:g}], "
            "...], with steps that rise from 0"
        )


def _is_in(value: Any, low: float, high: float) -> bool:
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return is_number and bool(low <= value <= high)


def check_modules_are_ours(config: Any, team: Team) -> None:
    """Refuses modules that are not made from the environment and the settings, as HMPPO's are.

    Raises:
        InputError: naming the setting that would otherwise have no effect.
    """
    spec = config._rl_module_spec
    if spec is not None and not issubclass(_class_of(spec), JointPolicy):
        raise InputError(
            "rl_module_spec: expected none, HMPPO makes its modules; their networks are told by "
            "model_config, of single ones by model_config.per_module",
            ("rl_module_spec",),
        )
    mapping = config.policy_mapping_fn
    if isinstance(mapping, ModuleOfMember):  # from an earlier check
        return
    if mapping is type(config).DEFAULT_POLICY_MAPPING_FN:
        return
    agents = [agent for name in team.agents for agent in team.ids(name)]
    ours = ModuleOfMember(team.members)
    try:
        mapped = {agent: mapping(agent, None) for agent in agents}
    except Exception as error:  # whatever a user's function makes of an episode that is None
        raise InputError(
            "policy_mapping_fn: expected none, agents share an actor by agent_groups; "
            f"of agents alone it makes {type(error).__name__}: {error}",
            ("policy_mapping_fn",),
        ) from None
    if mapped not in ({a: a for a in agents}, {a: ours(a) for a in agents}):
        raise InputError(
            f"policy_mapping_fn: {mapped}: expected none, agents share an actor by agent_groups",
            ("policy_mapping_fn",),
        )


def _class_of(spec: Any) -> type:
    return getattr(spec, "multi_rl_module_class", type(spec))


def check_sample_ahead(config: Any) -> None:
    """Checks that sampling ahead is possible.

    Raises:
        InputError: says what is in the way.
    """
    if config.sample_ahead not in (0, 1):
        raise InputError(f"sample_ahead = {config.sample_ahead!r}: expected 0 or 1")
    if not config.sample_ahead or config.in_evaluation:
        return
    if not config.num_env_runners:
        raise InputError(
            "sample_ahead = 1: expected num_env_runners >= 1, got 0: without remote runners, "
            "sampling and learning share one process"
        )
    in_flight = config.max_requests_in_flight_per_env_runner
    if in_flight != 1:
        raise InputError(
            "sample_ahead = 1: expected max_requests_in_flight_per_env_runner = 1, "
            f"got {in_flight!r}"
        )
