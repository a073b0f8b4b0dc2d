"""What ``model_config`` may say of the networks, with its defaults and checks."""

from __future__ import annotations

import math
from typing import Any

from rllib_mec.errors import InputError, unknown_name
from rllib_mec.hmppo.modules.dense import ACTIVATIONS

PER_MODULE = "per_module"
"""Under this key modules differ from the others, see :mod:`rllib_mec.hmppo.per_module`."""

MODEL_DEFAULTS: dict[str, Any] = {
    "fcnet_hiddens": [64, 64],  # widths of the hidden layers, actors and critics alike
    "fcnet_activation": "tanh",
    "initial_log_std": 0.0,  # of continuous actions, in units where [-1, 1] spans the box
}
"""What ``model_config`` may hold, with its defaults."""


def checked_networks(model_config: Any, defaults: dict[str, Any]) -> dict[str, Any]:
    """Returns ``model_config`` with its defaults, as it is for modules that do not differ.

    Raises:
        InputError: an unknown key, or a value that makes no sense.
    """
    given = dict(model_config) if isinstance(model_config, dict) else {}
    given.pop(PER_MODULE, None)
    for key in given:
        if key not in defaults:
            known = [*defaults, PER_MODULE]
            raise unknown_name("model_config key", key, known, at=("model_config", key))
    networks = defaults | given
    if networks["fcnet_activation"] not in ACTIVATIONS:
        raise unknown_name("activation", networks["fcnet_activation"], ACTIVATIONS)
    log_std = networks["initial_log_std"]
    if not isinstance(log_std, (int, float)) or not math.isfinite(log_std):
        raise InputError(f"model_config.initial_log_std = {log_std!r}: expected a finite number")
    hidden = networks["fcnet_hiddens"]
    if not isinstance(hidden, (list, tuple)) or not all(
        isinstance(width, int) and width > 0 for width in hidden
    ):
        raise InputError(f"model_config.fcnet_hiddens = {hidden!r}: expected a list of widths > 0")
    return networks
