"""NaN and infinities in what environments give: found where they come in, in one clear line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_mec.hmppo.team_batch import TeamBatch

EXPECTED = "expected finite numbers (of float32)"


class NotFiniteError(ValueError):
    """A number that nobody can learn from: NaN, infinite, or too large for float32."""


def all_finite(values: NDArray[Any]) -> bool:
    """Whether all values are finite, and so small that it shows at once.

    A sum of squares is the cheapest test that neither NaN nor an infinity escapes. It overflows
    for large numbers, too: where this is False, look closer.
    """
    return bool(np.isfinite(np.vdot(values, values)))


def check_observations(
    flat: Mapping[str, NDArray[np.float32]], observations: Mapping[str, Any], step: int
) -> None:
    """Checks what B environments in lockstep show.

    Args:
        flat: observations as the networks take them, (B, observation_size) of each agent.
        observations: the same in the environments' own shape or structure, (B, …).
        step: how many steps the episodes have taken.

    Raises:
        NotFiniteError: naming the agent, the first such value, its environment and step.
    """
    for agent, values in flat.items():
        if not all_finite(values):
            shown = observations[agent]
            # Of a Dict or Tuple, the place in the flat observation has to do.
            own = values.reshape(shown.shape) if isinstance(shown, np.ndarray) else values
            _raise_first(f"observation of {agent}", own, step)


def check_rewards(rewards: Any, step: int) -> None:
    """Checks the team's rewards (B,) of environments in lockstep, see above."""
    values = np.asarray(rewards, np.float32)
    if not all_finite(values):
        _raise_first("reward", values, step)


def check_states(states: NDArray[np.float32], step: int) -> None:
    """Checks the states (B, numbers) of environments in lockstep, see above."""
    if not all_finite(states):
        _raise_first("state", states, step)


def check_single(what: str, value: Any, environment: int, step: int) -> None:
    """Checks an observation, or a reward, of one environment; what is no float is left alone."""
    values = np.asarray(value)
    if values.dtype.kind == "f" and not all_finite(values := values.astype(np.float32)):
        _raise_first(what, values[None], step, environment)


def check_batch(batch: TeamBatch) -> None:
    """Checks what a learner is to learn from, whoever has sampled it.

    Raises:
        NotFiniteError: naming the column, the agent, and the row.
    """
    columns: dict[str, Any] = {"rewards": batch.rewards}
    columns |= {f"rewards of {agent}": own for agent, own in batch.agent_rewards.items()}
    if batch.states is not None and batch.final_states is not None:
        columns |= {"states": batch.states, "final_states": batch.final_states}
    for name in ("observations", "final_observations", "log_probs", "parameters"):
        for agent, values in getattr(batch, name).items():
            columns[f"{name} of {agent}"] = values
    for what, values in columns.items():
        if all_finite(values):
            continue
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            raise NotFiniteError(
                f"{what}: {values[tuple(bad[0])]} in row {bad[0][0]} of the training batch: "
                f"{EXPECTED}"
            )


def _raise_first(what: str, values: NDArray[Any], step: int, environment: int = 0) -> None:
    """Raises the error of the first value (B, …) that is not finite, if there is one.

    ``environment``: the number of the first one.
    """
    bad = np.argwhere(~np.isfinite(values))
    if not len(bad):
        return
    row, *component = (int(index) for index in bad[0])
    where = f" at {component}" if component else ""
    raise NotFiniteError(
        f"{what} is {values[tuple(bad[0])]}{where} (environment {environment + row}, step {step}): "
        f"{EXPECTED}"
    )
