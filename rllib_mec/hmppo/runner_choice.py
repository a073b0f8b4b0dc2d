"""Which way a configuration samples: in batches where that is possible, by episodes otherwise."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.utils import force_list

from rllib_mec.errors import InputError
from rllib_mec.hmppo.recording.runners import (
    RecordingBatchedEnvRunner,
    RecordingEpisodeEnvRunner,
)
from rllib_mec.hmppo.sampling.batched_env import has_batched_form
from rllib_mec.hmppo.sampling.batched_env_runner import BatchedEnvRunner
from rllib_mec.hmppo.sampling.callbacks import EpisodeMetrics
from rllib_mec.hmppo.sampling.episode_runner import EpisodeEnvRunner
from rllib_mec.hmppo.team_of_env import members_of

_CHOSEN = (
    None,
    BatchedEnvRunner,
    EpisodeEnvRunner,
    RecordingBatchedEnvRunner,
    RecordingEpisodeEnvRunner,
)
"""What :func:`runner_class` chooses from, and None: nothing is chosen yet."""

_PER_EPISODE_HOOKS = (
    "on_episode_created",
    "on_episode_start",
    "on_episode_step",
    "on_episode_end",
    "on_sample_end",
)


def runner_class(config: Any, env: Any) -> type:
    """Returns the class of ``config``'s environment runners.

    Raises:
        InputError: what is configured cannot be had together.
    """
    is_own = config.env_runner_cls not in _CHOSEN
    for name, value in (("critic_input", "state"), ("rewards", "individual")):
        if config.output is not None and getattr(config, name) == value:
            raise InputError(
                f"{name} = {value!r}: expected no output, recordings lack what is learned from then"
            )
    if config.output is not None and config.is_recurrent:
        raise InputError(
            "model_config.recurrent_layer: expected null with output, recordings lack memories"
        )
    if config.output is not None and is_own:
        raise InputError(
            f"env_runner_cls = {config.env_runner_cls.__name__}: expected none with output, which "
            "only HMPPO's runners write"
        )
    reason: str | None = ""
    if config.batched is not False:
        reason = why_not_batched(config, env) or _what_batches_lack(config, env)
    if config.batched and reason:
        raise InputError(f"batched = True: {reason}")
    if reason is None:
        return BatchedEnvRunner if config.output is None else RecordingBatchedEnvRunner
    if is_own:
        _check_own(config, env)
        return config.env_runner_cls
    return EpisodeEnvRunner if config.output is None else RecordingEpisodeEnvRunner


def _check_own(config: Any, env: Any) -> None:
    """Refuses a runner of the user's that does not do what the environment needs."""
    runner = config.env_runner_cls
    if issubclass(runner, EpisodeEnvRunner):
        return
    if config.critic_input == "state":
        raise InputError(
            f"env_runner_cls = {runner.__name__}: expected a subclass of EpisodeEnvRunner, which "
            "keeps states, with critic_input = 'state'"
        )
    for agent in env.possible_agents:
        space = env.get_observation_space(agent)
        if not isinstance(space, gym.spaces.Box):
            raise InputError(
                f"env_runner_cls = {runner.__name__}: expected a subclass of EpisodeEnvRunner, "
                f"which makes flat vectors of observations: that of {agent} is in {space}"
            )


def why_not_batched(config: Any, env: Any) -> str | None:
    """Returns what keeps ``config`` from sampling ``env`` in batches; None if nothing does.

    Batches run none of the things that RLlib offers per episode, so a configuration that uses
    one of them is sampled by episodes.
    """
    if not has_batched_form(env):
        return "the environment has no method batched(num_envs) of its own"
    groups = getattr(config, "agent_groups", None)  # other algorithms have no such setting
    if groups is not None and members_of(env, groups) != members_of(env):
        return "agent_groups are not those of the environment, which its batches have"
    if config.env_runner_cls not in _CHOSEN:
        return "env_runner_cls is set"
    for name in ("env_to_module", "module_to_env", "learner"):
        if getattr(config, f"_{name}_connector") is not None:
            return f"{name}_connector is set"
    if not config.normalize_actions:
        return "normalize_actions is false"
    return _hook_per_episode(config)


def _what_batches_lack(config: Any, env: Any) -> str | None:
    """Returns what the environment's batches do not tell that learning needs, if anything."""
    needed = {"state": config.critic_input == "state", "rewards": config.rewards == "individual"}
    for method in (name for name, is_needed in needed.items() if is_needed):
        if not callable(getattr(env.batched(1), method, None)):
            return f"the environment's batches have no method {method}(), which is needed"
    return None


def _hook_per_episode(config: Any) -> str | None:
    for hook in _PER_EPISODE_HOOKS:
        if getattr(config, f"callbacks_{hook}", None):
            return f"the callback {hook} is set"
        passive = (getattr(RLlibCallback, hook, None), getattr(EpisodeMetrics, hook, None))
        for callback in force_list(config.callbacks_class):
            in_batches = hasattr(callback, "on_batched_episodes_end")
            if getattr(callback, hook, None) not in passive and not in_batches:
                return f"{callback.__name__}.{hook} is called per episode"
    return None
