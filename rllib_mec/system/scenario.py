"""The scenario: every constant of the system model, with its unit, meaning and source.

Equation numbers are those of the paper, arXiv 2310.17492. *Published* constants are printed
there; *inferred* ones are not, and are set so that a uniformly random policy reproduces the
random rows of the paper's Table I (the only rows that hold no learning).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rllib_mec.errors import InputError, unknown_name
from rllib_mec.source import read_yaml
from rllib_mec.system import parts
from rllib_mec.system.consistency import check_consistency
from rllib_mec.system.fields import plain, read_fields
from rllib_mec.system.measured_part import MeasuredQuality
from rllib_mec.system.quantity import INFERRED, PUBLISHED, checked, quantity

EMULATOR_ACTIONS = ("retention", "layers", "keep_or_retention")
OBSERVATIONS = ("paper", "full")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scenario:
    """A mobile edge system of one server and ``num_ues`` user equipments (UEs).

    The defaults are the scenario ``published``. Build one with :meth:`of`, which reads a name,
    a mapping or a YAML file; every value is checked, and unknown keys are refused.

    Two of the paper's formulas cannot stand as printed, and each is a field here:

    * ``downlink_sharing``: eq. (7) divides the downlink among the UEs with z = 1 and I = 1,
      but only UEs with z = 0 download. ``downloading`` (default) divides it among those;
      ``printed`` counts z = 1 and E different from the cached emulator (at least one).
    * ``complexity_factor``: section VI scales the perplexity by (c + iota) / c, which makes
      more complex tasks *easier*. It is odd, not meaningless, so ``printed`` is the default;
      ``corrected`` is (c + iota) / iota, the inverse of the factor that eq. (9) puts on an
      accuracy, and grows with c; ``none`` is 1, for tasks whose measured curves (``quality``)
      tell how hard they are.

    ``emulator_action`` says how the action of ``emulator_config`` is read, per UE:
    ``retention`` is a number in ``retention``; ``layers`` rounds it to a whole number of
    ``num_layers`` layers; ``keep_or_retention`` adds a choice to keep the cached emulator.

    The last fields are the parts of :mod:`rllib_mec.system.parts`, and measured curves in place of
    f(E), see :mod:`rllib_mec.system.measured_part`; None where they are off.
    """

    name: str = quantity("published", meaning="name of the scenario", source=INFERRED)
    num_ues: int = quantity(6, meaning="N, user equipments", source=PUBLISHED, at_least=1)
    num_tasks: int = quantity(
        50, meaning="T, tasks per UE = steps per episode", source=PUBLISHED, at_least=1
    )

    # What is sent.
    model_size_gb: float = quantity(
        10.8, unit="GB", meaning="D_FM, foundation model (GPT-3 2.7B)", source=PUBLISHED, above=0
    )
    data_size_mb: tuple[float, float] = quantity(
        (300.0, 500.0), unit="MB", meaning="D, data of a task, uniform", source=PUBLISHED, above=0
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
        meaning="power gain per task: Exp(1), or 1 with none",
        source=PUBLISHED,
        choices=("rayleigh", "none"),
    )
    fading_correlation: float = quantity(
        0.0,
        meaning="rho, of a UE's complex gain from task to task (Gauss-Markov)",
        source=INFERRED,
        at_least=0,
        below=1,
    )
    fading_branches: int = quantity(
        1,
        meaning="independent branches whose gains are averaged (antennas, subbands)",
        source=INFERRED,
        at_least=1,
    )
    walk_m: tuple[float, float] = quantity(
        (0.0, 0.0),
        unit="m",
        meaning="length of a UE's random walk from task to task, uniform",
        source=INFERRED,
        at_least=0,
    )
    downlink_sharing: str = quantity(
        "downloading",
        meaning="which UEs share the downlink (an erratum)",
        source=INFERRED,
        choices=("downloading", "printed"),
    )

    # Task quality.
    perplexity_coefficients: tuple[float, float, float] = quantity(
        (25.2, -43.1, 31.9), meaning="f(E) = a E^2 + b E + c", source=PUBLISHED
    )
    complexity: tuple[float, float] = quantity(
        (10.0, 30.0), meaning="c, task complexity, uniform", source=INFERRED, above=0
    )
    complexity_weight: float = quantity(
        10.0, meaning="iota, complexity weight", source=PUBLISHED, at_least=0
    )
    complexity_factor: str = quantity(
        "printed",
        meaning="factor on f(E) (an erratum)",
        source=PUBLISHED,
        choices=("printed", "corrected", "none"),
    )

    # The emulator.
    retention: tuple[float, float] = quantity(
        (0.2, 0.8), meaning="E, share of layers kept", source=PUBLISHED, above=0, at_most=1
    )
    num_layers: int = quantity(
        32, unit="layers", meaning="layers of the foundation model", source=PUBLISHED, at_least=1
    )
    emulator_action: str = quantity(
        "retention",
        meaning="how agent 2's action is read",
        source=PUBLISHED,
        choices=EMULATOR_ACTIONS,
    )
    emulator_download: str = quantity(
        "whole",
        meaning="of a new emulator: the whole, or what is missing (smaller ones are cut from it)",
        source=PUBLISHED,
        choices=("whole", "missing"),
    )

    # Reward.
    perplexity_weight: float = quantity(
        -0.0956, meaning="omega_p, on the mean perplexity of a step", source=INFERRED, at_most=0
    )
    delay_weight_per_s: float = quantity(
        -1.277e-3,
        unit="1/s",
        meaning="omega_d, on the maximum delay of a step",
        source=INFERRED,
        at_most=0,
    )

    # What the agents see.
    observation: str = quantity(
        "paper",
        meaning="what both agents see: the paper's numbers, or all there is",
        source=PUBLISHED,
        choices=OBSERVATIONS,
    )
    observation_noise: float = quantity(
        0.0,
        meaning="standard deviation of noise on each scaled number that the agents see",
        source=INFERRED,
        at_least=0,
    )

    # Parts beyond the paper's model.
    compute: parts.Compute | None = dataclasses.field(
        default=None, metadata=parts.about(parts.Compute)
    )
    memory: parts.Memory | None = dataclasses.field(
        default=None, metadata=parts.about(parts.Memory)
    )
    energy: parts.Energy | None = dataclasses.field(
        default=None, metadata=parts.about(parts.Energy)
    )
    adapter: parts.Adapter | None = dataclasses.field(
        default=None, metadata=parts.about(parts.Adapter)
    )
    emulator_tuned: parts.EmulatorTuned | None = dataclasses.field(
        default=None, metadata=parts.about(parts.EmulatorTuned)
    )
    domains: parts.Domains | None = dataclasses.field(
        default=None, metadata=parts.about(parts.Domains)
    )
    arrivals: parts.Arrivals | None = dataclasses.field(
        default=None, metadata=parts.about(parts.Arrivals)
    )
    quality: MeasuredQuality | None = dataclasses.field(
        default=None, metadata=parts.about(MeasuredQuality)
    )

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            # Parts have checked themselves.
            if field.name not in parts.PARTS and field.name != "quality":
                value = checked(f"scenario {self.name}", field, getattr(self, field.name))
                # object.__setattr__: the class is frozen, and a YAML's lists become tuples here.
                object.__setattr__(self, field.name, value)
        check_consistency(self)

    @property
    def layer_bounds(self) -> tuple[int, int]:
        """Fewest and most layers whose share lies in ``retention``.

        >>> Scenario().layer_bounds
        (7, 25)
        """
        low, high = self.retention
        # The small term forgives 0.29 * 100 = 28.999999999999996.
        return (
            int(-(-(low * self.num_layers - 1e-9) // 1)),
            int((high * self.num_layers + 1e-9) // 1),
        )

    @classmethod
    def of(cls, source: str | Mapping[str, Any] | Scenario, **overrides: Any) -> Scenario:
        """Returns the scenario that ``source`` describes, with ``overrides`` on top.

        Args:
            source: the name of a scenario, the path of a YAML file (ends in .yaml or .yml), or
                a mapping of field names to values; a mapping or file may name the scenario it
                starts from under ``base`` (default ``published``).
            overrides: field names and values.

        Raises:
            InputError: an unknown name, key or file, or a value out of bounds.
        """
        from rllib_mec.system.scenarios import SCENARIOS

        if isinstance(source, Scenario):
            base, values = source, {}
        elif isinstance(source, Mapping):
            values = dict(source)
            base = cls.of(values.pop("base", "published"))
        elif isinstance(source, str) and source.endswith((".yaml", ".yml")):
            return cls.of(_read_yaml(source), **overrides)
        elif isinstance(source, str) and source in SCENARIOS:
            base, values = SCENARIOS[source], {}
        else:
            raise unknown_name("scenario", source, SCENARIOS)
        fields = {field.name: getattr(base, field.name) for field in dataclasses.fields(cls)}
        fields |= read_fields(fields, values)
        fields |= read_fields(fields, overrides)
        return cls(**fields)

    def to_dict(self) -> dict[str, Any]:
        """Returns field names and values, such that ``Scenario.of(s.to_dict()) == s``."""
        return plain(dataclasses.asdict(self))


def _read_yaml(path: str) -> Mapping[str, Any]:
    content, _ = read_yaml(Path(path))
    if not isinstance(content, Mapping):
        raise InputError(f"scenario file {path}: expected a mapping of scenario keys to values")
    if content.get("base") == path:
        raise InputError(f"scenario file {path}: base: expected another scenario than itself")
    return content
