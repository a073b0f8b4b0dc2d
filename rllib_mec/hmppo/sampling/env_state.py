"""The state of an environment as a critic may see it: what its method ``state()`` returns.

PettingZoo's environments have such a method, and any other may. In batches it returns the states of
all B environments, (B, …). States become flat vectors of float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_mec.errors import InputError

STATE_INFO = "state"
"""Key under which episodes keep states, in the infos of the team's first agent."""


def state_method(env: Any) -> Callable[[], Any] | None:
    """Returns the method of an environment, or of the PettingZoo one in RLlib's wrapper, if any."""
    for own in (env, getattr(env, "par_env", None), getattr(env, "env", None)):
        method = getattr(own, "state", None)
        if callable(method):
            return method
    return None


def flat_state(env: Any) -> NDArray[np.float32]:
    """Returns the state of one environment that has any, (S,)."""
    method = state_method(env)
    assert method is not None, "the configuration has seen to it"
    return np.asarray(method(), np.float32).ravel()


def flat_states(batch: Any) -> NDArray[np.float32]:
    """Returns the states of environments in a batch, (B, S)."""
    return np.array(batch.state(), np.float32).reshape(batch.num_envs, -1)


def state_size(env: Any) -> int:
    """Returns how many numbers an environment's state has, S.

    Raises:
        InputError: it has none, or one that is no array of numbers.
    """
    if state_method(env) is None:
        raise InputError(
            f"critic_input = 'state': expected an environment with a method state(), "
            f"{type(env).__name__} has none"
        )
    env.reset()
    try:
        return flat_state(env).size
    except (TypeError, ValueError, NotImplementedError) as error:
        raise InputError(
            f"critic_input = 'state': expected an array of numbers from the method state() of "
            f"{type(env).__name__}: {error!r}"
        ) from error
