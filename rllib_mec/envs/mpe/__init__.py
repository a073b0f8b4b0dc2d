"""Tasks of MPE in batches: what HMPPO is measured on beside others, and an example of the form.

The environments ``mpe-spread`` and ``mpe-speaker-listener`` do what ``simple_spread_v3`` and
``simple_speaker_listener_v4`` of the package mpe2 do, many at once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from rllib_mec.envs.mpe.batched import BatchedSpeakerListener, BatchedSpread
from rllib_mec.envs.one_of_batch import OneOfBatch
from rllib_mec.envs.padded import Padded
from rllib_mec.errors import InputError, unknown_name

__all__ = ["BatchedSpeakerListener", "BatchedSpread", "speaker_listener", "spread"]

_SETTINGS = ("max_cycles", "continuous_actions")


def spread(env_config: Mapping[str, Any] | None = None) -> OneOfBatch:
    """Returns ``mpe-spread``; ``env_config`` holds the arguments of :class:`BatchedSpread`.

    Raises:
        InputError: an unknown key, or a value that makes no sense.
    """
    return _environment(
        BatchedSpread, env_config, ("N", "local_ratio", "landmark_range", *_SETTINGS)
    )


def speaker_listener(env_config: Mapping[str, Any] | None = None) -> OneOfBatch:
    """Returns ``mpe-speaker-listener``, as :func:`spread`.

    With ``padded: true`` the two have equal spaces, for a policy that they share; see
    :class:`~rllib_mec.envs.padded.Padded`.
    """
    settings = dict(env_config or {})
    padded = settings.pop("padded", False)
    if not isinstance(padded, bool):
        raise InputError(f"padded = {padded!r}: expected true or false")
    plain = _environment(BatchedSpeakerListener, settings, _SETTINGS)
    if not padded:
        return plain
    return OneOfBatch(lambda num_envs: Padded(plain.batched(num_envs)))


def _environment(
    task: Callable[..., Any], env_config: Mapping[str, Any] | None, known: tuple[str, ...]
) -> OneOfBatch:
    settings = dict(env_config or {})
    for key in settings:
        if key not in known:
            raise unknown_name("env_config key", key, known)
    return OneOfBatch(functools.partial(task, **settings))
