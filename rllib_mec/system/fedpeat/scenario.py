"""The scenario of FedPEAT: every constant of its rounds, with unit, meaning and source.

Of the paper (arXiv 2310.17491) no equation and no number was available: what is decided, what is
measured and that adapters, emulators and the server take part is the paper's, the formulas and
their constants are *our reading*. *Published* constants are those of arXiv 2310.17492.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rllib_mec.errors import InputError, unknown_name
from rllib_mec.source import read_yaml
from rllib_mec.system import parts
from rllib_mec.system.fields import plain
from rllib_mec.system.measured_part import MeasuredQuality, read_quality
from rllib_mec.system.quality import Quality, quality_of
from rllib_mec.system.quantity import INFERRED, PUBLISHED, checked, quantity
from rllib_mec.system.radio import Floats
from rllib_mec.system.scenario import Scenario

_RANGES = ("uplink_power_w", "distance_m", "tokens", "retention")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FedPEATScenario:
    """One server and ``num_ues`` UEs that tune a foundation model together, round by round.

    The defaults are the scenario ``fedpeat``. Build one with :meth:`of`; every value is checked,
    and unknown keys are refused. See :mod:`rllib_mec.system.fedpeat.round` for what they do.

    Emulators are made by the server, which takes longer than a round, so that only
    ``num_emulators`` of them are there, their retentions evenly spaced over ``retention``; what
    is chosen is rounded to the nearest. With ``num_emulators: 0`` any retention is there.
    """

    name: str = quantity("fedpeat", meaning="name of the scenario", source=INFERRED)
    num_ues: int = quantity(6, meaning="N, user equipments", source=PUBLISHED, at_least=1)
    num_rounds: int = quantity(
        50, meaning="T, rounds of tuning = steps per episode", source=INFERRED, at_least=1
    )

    # What is sent.
    model_size_gb: float = quantity(
        5.4, unit="GB", meaning="D_FM, foundation model of 2.7e9 fp16", source=INFERRED, above=0
    )
    adapter_mb: float = quantity(
        50.0, unit="MB", meaning="adapter that a selected UE sends", source=INFERRED, above=0
    )
    bits_per_byte: float = quantity(
        8.0, unit="bit/B", meaning="of all sizes", source=INFERRED, above=0
    )

    # Radio.
    uplink_power_w: tuple[float, float] = quantity(
        (0.2, 1.0), unit="W", meaning="p, the powers to choose from", source=PUBLISHED, above=0
    )
    downlink_power_w: float = quantity(
        60.0, unit="W", meaning="P_d, total downlink power", source=PUBLISHED, above=0
    )
    uplink_bandwidth_hz: float = quantity(
        5e6, unit="Hz", meaning="W_u, total uplink bandwidth", source=INFERRED, above=0
    )
    downlink_bandwidth_hz: float = quantity(
        20e6, unit="Hz", meaning="W_d, total downlink bandwidth", source=INFERRED, above=0
    )
    bandwidth_span: float = quantity(
        2.0,
        meaning="lambda: most, a share is e^(2 lambda) times another's",
        source=INFERRED,
        at_least=0,
        at_most=20,
    )
    path_loss_exponent: float = quantity(
        3.76, meaning="alpha, path-loss exponent", source=INFERRED, at_least=0
    )
    gain_at_1m_db: float = quantity(
        -15.3, unit="dB", meaning="channel gain at 1 m", source=INFERRED
    )
    noise_dbm_per_hz: float = quantity(
        -174.0, unit="dBm/Hz", meaning="sigma^2, noise density", source=INFERRED
    )
    distance_m: tuple[float, float] = quantity(
        (50.0, 500.0),
        unit="m",
        meaning="distance of a UE in an episode, uniform",
        source=INFERRED,
        above=0,
    )
    fading: str = quantity(
        "rayleigh",
        meaning="power gain per round: Exp(1), or 1 with none",
        source=PUBLISHED,
        choices=("rayleigh", "none"),
    )
    fading_correlation: float = quantity(
        0.9,
        meaning="rho, of a UE's complex gain from round to round",
        source=INFERRED,
        at_least=0,
        below=1,
    )

    # Devices and their data.
    tokens: tuple[float, float] = quantity(
        (1e5, 3e5), meaning="tokens of a UE's data, uniform per episode", source=INFERRED, above=0
    )
    parameters: float = quantity(
        2.7e9, meaning="parameters of the foundation model", source=PUBLISHED, above=0
    )
    flops_per_parameter_and_token: float = quantity(
        4.0, unit="FLOP", meaning="of a training step, frozen layers", source=INFERRED, above=0
    )
    ue_tflops: tuple[float, ...] = quantity(
        (6.0, 12.0, 24.0),
        unit="TFLOP/s",
        meaning="speeds of devices; each UE draws one per episode",
        source=INFERRED,
        above=0,
        any_length=True,
    )
    ue_memory_gb: tuple[float, ...] = quantity(
        (2.5, 3.5, 6.0),
        unit="GB",
        meaning="memories of devices; each UE draws one per episode",
        source=INFERRED,
        above=0,
        any_length=True,
    )
    busy_probability: float = quantity(
        0.3,
        meaning="share of rounds in which a device does other things, too",
        source=INFERRED,
        at_least=0,
        at_most=1,
    )
    busy_persistence: float = quantity(
        0.7,
        meaning="probability that a device stays as it is, else it is drawn anew",
        source=INFERRED,
        at_least=0,
        at_most=1,
    )
    busy_speed: float = quantity(
        0.25, meaning="share of a busy device's speed that is left", source=INFERRED, above=0
    )
    server_tokens: float = quantity(
        1e5, meaning="tokens of the server's data; it tunes, too", source=INFERRED, above=0
    )
    server_tflops: float = quantity(
        40.0, unit="TFLOP/s", meaning="speed of the server", source=INFERRED, above=0
    )
    joule_per_tflop: float = quantity(
        1.25, unit="J/TFLOP", meaning="energy of local training", source=INFERRED, at_least=0
    )

    # The emulator.
    retention: tuple[float, float] = quantity(
        (0.2, 0.8), meaning="E, share of layers kept", source=PUBLISHED, above=0, at_most=1
    )
    num_emulators: int = quantity(
        4, meaning="emulators that the server has made; 0: any", source=INFERRED, at_least=0
    )

    # Quality.
    perplexity_coefficients: tuple[float, float, float] = quantity(
        (25.2, -43.1, 31.9), meaning="f(E) = a E^2 + b E + c", source=PUBLISHED
    )
    data_exponent: float = quantity(
        0.25,
        meaning="beta: perplexity grows as (share of all data that takes part)^-beta",
        source=INFERRED,
        at_least=0,
    )

    # Reward.
    log_delay_weight: float = quantity(
        -1.0, meaning="omega_d, on ln(delay of a round / 1 s)", source=INFERRED, at_most=0
    )
    exchange_weight: float = quantity(
        -0.1, meaning="omega_x, on each exchange of an emulator", source=INFERRED, at_most=0
    )
    perplexity_weight: float = quantity(
        -0.5, meaning="omega_p, on the perplexity of a round", source=INFERRED, at_most=0
    )
    energy_weight_per_kj: float = quantity(
        0.0, unit="1/kJ", meaning="omega_e, on the UEs' mean energy", source=INFERRED, at_most=0
    )

    quality: MeasuredQuality | None = dataclasses.field(
        default=None, metadata=parts.about(MeasuredQuality)
    )

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if field.name != "quality":
                value = checked(f"scenario {self.name}", field, getattr(self, field.name))
                object.__setattr__(self, field.name, value)
        self._check()

    def _check(self) -> None:
        owner = f"scenario {self.name}"
        for name in _RANGES:
            low, high = getattr(self, name)
            if low > high:
                raise InputError(f"{owner}.{name} = [{low:g}, {high:g}]: expected low <= high")
        if self.num_emulators == 1 and self.retention[0] != self.retention[1]:
            raise InputError(
                f"{owner}.num_emulators = 1: expected 0, or 2 at least for a range of retention"
            )
        smallest = self.retention[0] * self.model_size_gb
        if min(self.ue_memory_gb) < smallest:
            raise InputError(
                f"{owner}.ue_memory_gb = {list(self.ue_memory_gb)}: expected at least "
                f"{smallest:g}, what the smallest emulator takes"
            )
        if self.fading_correlation and self.fading == "none":
            raise InputError(
                f"{owner}.fading_correlation = {self.fading_correlation:g}: expected 0 with "
                "fading 'none'"
            )
        _ = self.curves  # which checks them, too

    @functools.cached_property
    def curves(self) -> Quality:
        """The perplexities by retention: f(E), or what was measured."""
        return quality_of(
            Scenario(
                name=self.name,
                retention=self.retention,
                perplexity_coefficients=self.perplexity_coefficients,
                quality=self.quality,
            )
        )

    @functools.cached_property
    def emulators(self) -> Floats:
        """Retentions of the emulators that are there, ascending; of none where any is.

        >>> FedPEATScenario().emulators.tolist()
        [0.2, 0.4, 0.6, 0.8]
        """
        # Rounded, so that 0.6 is 0.6, as one would write it.
        return np.linspace(*self.retention, self.num_emulators).round(12)

    @classmethod
    def of(cls, source: str | Mapping[str, Any] | FedPEATScenario, **overrides: Any) -> Any:
        """Returns the scenario that ``source`` describes, with ``overrides`` on top.

        Args:
            source: the name of a scenario, the path of a YAML file (ends in .yaml or .yml), or a
                mapping of field names to values, which may name its ``base`` (default ``fedpeat``).
            overrides: field names and values.

        Raises:
            InputError: an unknown name, key or file, or a value out of bounds.
        """
        from rllib_mec.system.fedpeat.scenarios import FEDPEAT_SCENARIOS

        if isinstance(source, cls):
            base, values = source, {}
        elif isinstance(source, Mapping):
            values = dict(source)
            base = cls.of(values.pop("base", "fedpeat"))
        elif isinstance(source, str) and source.endswith((".yaml", ".yml")):
            return cls.of(_read_file(source), **overrides)
        elif isinstance(source, str) and source in FEDPEAT_SCENARIOS:
            base, values = FEDPEAT_SCENARIOS[source], {}
        else:
            raise unknown_name("scenario of fedpeat", source, FEDPEAT_SCENARIOS)
        fields = {field.name: getattr(base, field.name) for field in dataclasses.fields(cls)}
        for key, value in [*values.items(), *overrides.items()]:
            if key not in fields:
                raise unknown_name("scenario key", key, fields)
            fields[key] = read_quality(value, fields[key]) if key == "quality" else value
        return cls(**fields)

    def to_dict(self) -> dict[str, Any]:
        """Returns field names and values, such that ``of(s.to_dict()) == s``."""
        return plain(dataclasses.asdict(self))


def _read_file(path: str) -> Mapping[str, Any]:
    content, _ = read_yaml(Path(path))
    if not isinstance(content, Mapping):
        raise InputError(f"scenario file {path}: expected a mapping of scenario keys to values")
    if content.get("base") == path:
        raise InputError(f"scenario file {path}: base: expected another scenario than itself")
    return content
