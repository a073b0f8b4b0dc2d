"""What ``model_config`` may say of the networks, with its defaults and checks."""

from __future__ import annotations

import math
from typing import Any

from rllib_mec.errors import InputError, unknown_name
from rllib_mec.hmppo.modules.dense import ACTIVATIONS
from rllib_mec.hmppo.modules.recurrent import LAYERS

PER_MODULE = "per_module"
"""Under this key modules differ from the others, see :mod:`rllib_mec.hmppo.per_module`."""

MODEL_DEFAULTS: dict[str, Any] = {
    "fcnet_hiddens": [64, 64],  # widths of the hidden layers, actors and critics alike
    "fcnet_activation": "tanh",
    "initial_log_std": 0.0,  # of continuous actions, in units where [-1, 1] spans the box
    "conv_filters": None,  # of images; None: RLlib's for their size; []: none
    "conv_activation": "relu",
    "recurrent_layer": None,  # "lstm" or "gru", after the hidden layers, of actors and critics
    "recurrent_size": 64,
    "max_seq_len": 20,  # steps that gradients go back at most
}
"""What ``model_config`` may hold, with its defaults."""

RECURRENT = ("recurrent_layer", "recurrent_size", "max_seq_len")
"""Those of them that are about recurrent networks."""

_RLLIB = {
    "use_lstm": "recurrent_layer: lstm",
    "lstm_cell_size": "recurrent_size",
    "use_gru": "recurrent_layer: gru",
}
"""What others call what is here, too."""


def checked_networks(model_config: Any, defaults: dict[str, Any]) -> dict[str, Any]:
    """Returns ``model_config`` with its defaults, as it is for modules that do not differ.

    Raises:
        InputError: an unknown key, or a value that makes no sense.
    """
    given = dict(model_config) if isinstance(model_config, dict) else {}
    given.pop(PER_MODULE, None)
    for key in given:
        if key in _RLLIB and "recurrent_layer" in defaults:
            raise InputError(f"model_config.{key}: expected {_RLLIB[key]} instead")
        if key not in defaults:
            known = [*defaults, PER_MODULE]
            raise unknown_name("model_config key", key, known, at=("model_config", key))
    networks = defaults | given
    for key in ("fcnet_activation", "conv_activation"):
        if networks[key] not in ACTIVATIONS:
            raise unknown_name(f"model_config.{key}", networks[key], ACTIVATIONS)
    log_std = networks["initial_log_std"]
    if not isinstance(log_std, (int, float)) or not math.isfinite(log_std):
        raise InputError(f"model_config.initial_log_std = {log_std!r}: expected a finite number")
    hidden = networks["fcnet_hiddens"]
    if not isinstance(hidden, (list, tuple)) or not all(
        isinstance(width, int) and width > 0 for width in hidden
    ):
        raise InputError(f"model_config.fcnet_hiddens = {hidden!r}: expected a list of widths > 0")
    filters = networks["conv_filters"]
    if filters is not None and not isinstance(filters, (list, tuple)):
        raise InputError(
            f"model_config.conv_filters = {filters!r}: expected a list of [channels, kernel, "
            "stride]"
        )
    layer = networks.get("recurrent_layer")
    if layer is not None and layer not in LAYERS:
        raise unknown_name("model_config.recurrent_layer", layer, LAYERS)
    for key in ("recurrent_size", "max_seq_len"):
        value = networks.get(key, 1)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise InputError(f"model_config.{key} = {value!r}: expected a whole number >= 1")
    return networks
