"""Parts of the system that a scenario can switch on, beyond what the paper models.

Each part is a field of :class:`~rllib_mec.system.scenario.Scenario`; None switches it off. The
constants are set so that no fixed policy is best when all parts are on, see ``envs/README.md``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from rllib_mec.errors import InputError, unknown_name
from rllib_mec.system.quantity import INFERRED, PUBLISHED, checked, quantity

P = TypeVar("P", bound="Part")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """Constants of one part, checked as they are made."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = checked(_name(type(self)), field, getattr(self, field.name))
            object.__setattr__(self, field.name, value)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compute(Part):
    """Training takes time: at the UE on its own device, at the server in a shared queue.

    A task of x tokens costs w = 4 P x floating-point operations, with P parameters: 2 P x forward
    and 2 P x to pass gradients back through frozen layers. A UE that trains locally carries out
    E w of them. The server works off what all UEs have sent in a step before any of them goes on:
    with a ``shared`` queue, a UE waits for the work of all; with ``none``, for its own.
    """

    parameters: float = quantity(
        2.7e9, meaning="parameters of the foundation model", source=PUBLISHED, above=0
    )
    flops_per_parameter_and_token: float = quantity(
        4.0, unit="FLOP", meaning="of a training step, frozen layers", source=INFERRED, above=0
    )
    tokens: tuple[float, float] = quantity(
        (1e5, 6e5), meaning="tokens of a task, uniform", source=INFERRED, above=0
    )
    server_tflops: float = quantity(
        40.0, unit="TFLOP/s", meaning="speed of the server", source=INFERRED, above=0
    )
    ue_tflops: tuple[float, ...] = quantity(
        (6.0, 12.0, 24.0),
        unit="TFLOP/s",
        meaning="speeds of devices; each UE draws one per episode",
        source=INFERRED,
        above=0,
        any_length=True,
    )
    server_queue: str = quantity(
        "shared",
        meaning="whom a UE waits for at the server: all, or itself",
        source=INFERRED,
        choices=("shared", "none"),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Memory(Part):
    """A UE's memory limits the emulator: E is cut to memory / D_FM, with ``layers`` to whole ones.

    A UE that chooses more gets the largest emulator that fits.
    """

    ue_memory_gb: tuple[float, ...] = quantity(
        (2.0, 3.0, 4.0, 6.0),
        unit="GB",
        meaning="memories of devices; each UE draws one per episode",
        source=INFERRED,
        above=0,
        any_length=True,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Energy(Part):
    """UEs pay for what they send and compute from a battery that lasts the episode.

    Sending costs power times time. A UE whose battery does not hold what a task's local training
    takes sends it to the server instead; what sending takes is always there (a battery is empty at
    0, and stays so).
    """

    joule_per_tflop: float = quantity(
        1.25,
        unit="J/TFLOP",
        meaning="energy of local training (24 TFLOP/s at 30 W)",
        source=INFERRED,
        at_least=0,
    )
    battery_kj: tuple[float, float] = quantity(
        (60.0, 180.0),
        unit="kJ",
        meaning="battery at an episode's start, uniform",
        source=INFERRED,
        at_least=0,
    )
    weight_per_kj: float = quantity(
        -0.05,
        unit="1/kJ",
        meaning="omega_e, on the UEs' mean energy of a step",
        source=INFERRED,
        at_most=0,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adapter(Part):
    """The tuned adapter travels: to the UE after server training, to the server after local.

    Each of the two links is shared equally, in bandwidth and downlink power, by the UEs whose
    adapters travel on it; data and emulators have gone before.
    """

    adapter_mb: float = quantity(
        5.2,
        unit="MB",
        meaning="LoRA of rank 8 on queries and values, 16 bits (2 + 2 whole layers: 630)",
        source=INFERRED,
        at_least=0,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmulatorTuned(Part):
    """A UE sees the emulator that it has tuned, which is worse than the plug-in that f fits.

    Locally, f(E) is multiplied by 1 + excess (1 - E). For GPT2-XL and OPT-1.3B with 16 of 44 and
    8 of 20 middle layers, Offsite-Tuning (arXiv 2302.04870) measures 1.18 times the plug-in.
    """

    excess: float = quantity(
        0.33, meaning="share by which a vanishing emulator is worse", source=INFERRED, at_least=0
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Domains(Part):
    """Tasks come from domains; in some, what an emulator leaves out is missed more than in others.

    In domain m the perplexity is level_m f(1) on the server, and level_m (f(1) + sensitivity_m
    (f(E) - f(1))) locally. A UE stays in its domain with probability ``persistence``, and else
    draws one.
    """

    levels: tuple[float, ...] = quantity(
        (0.9, 1.0, 1.1),
        meaning="perplexity of each domain, relative",
        source=INFERRED,
        above=0,
        any_length=True,
    )
    sensitivities: tuple[float, ...] = quantity(
        (0.5, 1.0, 1.5),
        meaning="how much each domain misses what the emulator leaves out, relative",
        source=INFERRED,
        at_least=0,
        any_length=True,
    )
    persistence: float = quantity(
        0.8,
        meaning="probability that a UE stays in its domain from task to task",
        source=INFERRED,
        at_least=0,
        at_most=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.levels) != len(self.sensitivities):
            raise InputError(
                f"domains.sensitivities = {list(self.sensitivities)}: expected "
                f"{len(self.levels)}, one for each of levels"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arrivals(Part):
    """A UE has a task in a step with some probability; else it does nothing and costs nothing."""

    probability: float = quantity(
        0.9, meaning="that a UE has a task in a step", source=INFERRED, above=0, at_most=1
    )


def _name(kind: type[Part]) -> str:
    """The name of the scenario's field: "EmulatorTuned" is "emulator_tuned"."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in kind.__name__).lstrip("_")


PARTS: dict[str, type[Part]] = {
    _name(kind): kind
    for kind in (Compute, Memory, Energy, Adapter, EmulatorTuned, Domains, Arrivals)
}
"""The parts, by the scenario's fields."""


def about(kind: type) -> dict[str, str]:
    """Returns the metadata of a part's field: see :func:`rllib_mec.system.quantity.quantity`."""
    meaning = (kind.__doc__ or "").partition("\n")[0].rstrip(".")
    return {"unit": "-", "meaning": f"part: {meaning}", "source": INFERRED}


def read_part(name: str, value: Any, base: P | None) -> Any:
    """Returns the part that a scenario's value describes, or None if that is off.

    Args:
        value: None or False: off; True: on, with the constants of ``base`` or else the defaults;
            a mapping: the same with the mapping's constants on top; or a part.
        base: the same part of the scenario that this one starts from.

    Raises:
        InputError: names the key, its value and what was expected.
    """
    kind = PARTS[name]
    if value is None or value is False:
        return None
    if isinstance(value, kind):
        return value
    if value is True:
        value = {}
    if not isinstance(value, Mapping):
        raise InputError(f"{name} = {value!r}: expected a mapping of its constants, true or false")
    known = {field.name for field in dataclasses.fields(kind)}
    for key in value:
        if key not in known:
            raise unknown_name(f"{name} key", key, known)
    return dataclasses.replace(base, **value) if base is not None else kind(**value)
