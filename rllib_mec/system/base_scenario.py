"""What all scenarios have in common: UEs around a server, their radio, a model that is compressed.

Equation numbers are those of the paper, arXiv 2310.17492. *Published* constants are printed
there; *inferred* ones are not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from rllib_mec.errors import InputError, unknown_name
from rllib_mec.source import read_yaml
from rllib_mec.system import parts
from rllib_mec.system.fields import plain, read_fields
from rllib_mec.system.measured_part import MeasuredQuality
from rllib_mec.system.quantity import INFERRED, PUBLISHED, checked, quantity

S = TypeVar("S", bound="BaseScenario")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BaseScenario:
    """One server and ``num_ues`` user equipments (UEs) with an emulator of one foundation model.

    Build a scenario with :meth:`of`, which reads a name, a mapping or a YAML file; every value is
    checked, and unknown keys are refused.
    """

    kind: ClassVar[str] = "scenario"
    """What messages call such a scenario."""

    name: str = quantity("published", meaning="name of the scenario", source=INFERRED)
    num_ues: int = quantity(6, meaning="N, user equipments", source=PUBLISHED, at_least=1)

    # What is sent.
    model_size_gb: float = quantity(
        10.8, unit="GB", meaning="D_FM, foundation model (GPT-3 2.7B)", source=PUBLISHED, above=0
    )
    bits_per_byte: float = quantity(
        1.0,
        unit="bit/B",
        meaning="Table I's delays fit only if MB and GB were used as Mbit and Gbit",
        source=INFERRED,
        above=0,
    )

    # Radio.
    uplink_power_w: tuple[float, float] = quantity(
        (0.2, 1.0), unit="W", meaning="p, uplink power per task, uniform", source=PUBLISHED, above=0
    )
    downlink_power_w: float = quantity(
        60.0, unit="W", meaning="P_d, total downlink power", source=PUBLISHED, above=0
    )
    uplink_bandwidth_hz: float = quantity(
        1e5, unit="Hz", meaning="W_u, total uplink bandwidth", source=PUBLISHED, above=0
    )
    downlink_bandwidth_hz: float = quantity(
        1e6, unit="Hz", meaning="W_d, total downlink bandwidth", source=PUBLISHED, above=0
    )
    path_loss_exponent: float = quantity(
        2.0, meaning="alpha, path-loss exponent", source=PUBLISHED, at_least=0
    )
    gain_at_1m_db: float = quantity(
        -30.0, unit="dB", meaning="channel gain at 1 m", source=INFERRED
    )
    noise_dbm_per_hz: float = quantity(
        -174.0, unit="dBm/Hz", meaning="sigma^2, noise density", source=INFERRED
    )
    distance_m: tuple[float, float] = quantity(
        (50.0, 500.0),
        unit="m",
        meaning="UE distance at an episode's start, uniform",
        source=INFERRED,
        above=0,
    )
    fading: str = quantity(
        "rayleigh",
        meaning="power gain per step: Exp(1), or 1 with none",
        source=PUBLISHED,
        choices=("rayleigh", "none"),
    )
    fading_correlation: float = quantity(
        0.0,
        meaning="rho, of a UE's complex gain from step to step (Gauss-Markov)",
        source=INFERRED,
        at_least=0,
        below=1,
    )

    # The emulator.
    retention: tuple[float, float] = quantity(
        (0.2, 0.8), meaning="E, share of layers kept", source=PUBLISHED, above=0, at_most=1
    )
    perplexity_coefficients: tuple[float, float, float] = quantity(
        (25.2, -43.1, 31.9), meaning="f(E) = a E^2 + b E + c", source=PUBLISHED
    )
    quality: MeasuredQuality | None = dataclasses.field(
        default=None, metadata=parts.about(MeasuredQuality)
    )

    def __post_init__(self) -> None:
        owner = f"scenario {self.name}"
        for field in dataclasses.fields(self):
            # Parts, which are off by default, have checked themselves.
            if field.default is None:
                continue
            value = checked(owner, field, getattr(self, field.name))
            if isinstance(value, tuple) and len(value) == 2 and not field.metadata["any_length"]:
                low, high = value
                if low > high:
                    raise InputError(
                        f"{owner}.{field.name} = [{low:g}, {high:g}]: expected low <= high"
                    )
            # object.__setattr__: the class is frozen, and a YAML's lists become tuples here.
            object.__setattr__(self, field.name, value)
        if self.fading_correlation and self.fading == "none":
            raise InputError(
                f"{owner}.fading_correlation = {self.fading_correlation:g}: expected 0 with "
                "fading 'none'"
            )

    @classmethod
    def named(cls: type[S]) -> Mapping[str, S]:
        """The scenarios that have a name; the first is the default."""
        raise NotImplementedError

    @classmethod
    def of(cls: type[S], source: str | Mapping[str, Any] | S, **overrides: Any) -> S:
        """Returns the scenario that ``source`` describes, with ``overrides`` on top.

        Args:
            source: the name of a scenario, the path of a YAML file (ends in .yaml or .yml), or
                a mapping of field names to values; a mapping or file may name the scenario it
                starts from under ``base`` (default: the first of :meth:`named`).
            overrides: field names and values.

        Raises:
            InputError: an unknown name, key or file, or a value out of bounds.
        """
        named = cls.named()
        values: Mapping[str, Any] = {}
        if isinstance(source, cls):
            base = source
        elif isinstance(source, Mapping):
            values = dict(source)
            base = cls.of(values.pop("base", next(iter(named))))
        elif isinstance(source, str) and source.endswith((".yaml", ".yml")):
            return cls.of(_read_file(source), **overrides)
        elif isinstance(source, str) and source in named:
            base = named[source]
        else:
            raise unknown_name(cls.kind, source, named)
        fields = {field.name: getattr(base, field.name) for field in dataclasses.fields(cls)}
        fields |= read_fields(fields, values)
        fields |= read_fields(fields, overrides)
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
