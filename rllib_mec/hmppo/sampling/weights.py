"""The actors' weights, on their way from the learners to the environment runners."""

from __future__ import annotations

from typing import Any

from ray.rllib.core import COMPONENT_LEARNER, COMPONENT_RL_MODULE
from ray.rllib.utils.metrics import WEIGHTS_SEQ_NO


def learned_weights(algorithm: Any) -> dict[str, Any]:
    """Returns the actors' current weights and their number, the learners' updates so far."""
    state = algorithm.learner_group.get_state(
        components=f"{COMPONENT_LEARNER}/{COMPONENT_RL_MODULE}", inference_only=True
    )[COMPONENT_LEARNER]
    modules = state[COMPONENT_RL_MODULE]
    return {
        COMPONENT_RL_MODULE: {mid: modules[mid] for mid in acting_modules(algorithm)},
        WEIGHTS_SEQ_NO: state[WEIGHTS_SEQ_NO],
    }


def acting_modules(algorithm: Any) -> list[str]:
    """Ids of the modules that act, and of critics that look on."""
    specs = algorithm.config._rl_module_spec.rl_module_specs
    return [mid for mid, spec in specs.items() if not spec.learner_only]


def load_weights(runner: Any, weights: dict[str, Any]) -> None:
    """Gives a runner these weights, also if it has newer ones (RLlib would keep those)."""
    runner.set_state({COMPONENT_RL_MODULE: weights[COMPONENT_RL_MODULE]})  # no number: always taken
    runner.set_state(weights)
