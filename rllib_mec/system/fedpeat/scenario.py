"""The scenario of FedPEAT: every constant of its rounds, with unit, meaning and source.

Of the paper (arXiv 2310.17491) no equation and no number was available: what is decided, what is
measured and that adapters, emulators and the server take part is the paper's, the formulas and
their constants are *our reading*. *Published* constants are those of arXiv 2310.17492.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from rllib_mec.errors import InputError
from rllib_mec.system.base_scenario import BaseScenario
from rllib_mec.system.parts import Compute, Energy, Memory
from rllib_mec.system.quality import Quality, quality_of
from rllib_mec.system.quantity import INFERRED, like, quantity
from rllib_mec.system.radio import Floats
from rllib_mec.system.scenario import Scenario


@dataclasses.dataclass(frozen=True, kw_only=True)
class FedPEATScenario(BaseScenario):
    """One server and ``num_ues`` UEs that tune a foundation model together, round by round.

    The defaults are the scenario ``fedpeat``. Build one with :meth:`of`. See
    :mod:`rllib_mec.system.fedpeat.round` for what the constants do.

    Emulators are made by the server, which takes longer than a round, so that only
    ``num_emulators`` of them are there, their retentions evenly spaced over ``retention``; what
    is chosen is rounded to the nearest. With ``num_emulators: 0`` any retention is there.
    """

    kind: ClassVar[str] = "scenario of fedpeat"

    name: str = like(BaseScenario, "name", "fedpeat")
    num_rounds: int = quantity(
        50, meaning="T, rounds of tuning = steps per episode", source=INFERRED, at_least=1
    )

    # What is sent.
    model_size_gb: float = like(
        BaseScenario, "model_size_gb", 5.4, meaning="D_FM, foundation model of 2.7e9 fp16"
    )
    adapter_mb: float = quantity(
        50.0, unit="MB", meaning="adapter that a selected UE sends", source=INFERRED, above=0
    )
    bits_per_byte: float = like(BaseScenario, "bits_per_byte", 8.0, meaning="of all sizes")

    # Radio.
    uplink_power_w: tuple[float, float] = like(
        BaseScenario, "uplink_power_w", meaning="p, the powers to choose from"
    )
    uplink_bandwidth_hz: float = like(BaseScenario, "uplink_bandwidth_hz", 5e6)
    downlink_bandwidth_hz: float = like(BaseScenario, "downlink_bandwidth_hz", 20e6)
    bandwidth_span: float = quantity(
        2.0,
        meaning="lambda: most, a share is e^(2 lambda) times another's",
        source=INFERRED,
        at_least=0,
        at_most=20,
    )
    path_loss_exponent: float = like(BaseScenario, "path_loss_exponent", 3.76)
    gain_at_1m_db: float = like(BaseScenario, "gain_at_1m_db", -15.3)
    fading_correlation: float = like(BaseScenario, "fading_correlation", 0.9)

    # Devices and their data.
    tokens: tuple[float, float] = quantity(
        (1e5, 3e5), meaning="tokens of a UE's data, uniform per episode", source=INFERRED, above=0
    )
    parameters: float = like(Compute, "parameters")
    flops_per_parameter_and_token: float = like(Compute, "flops_per_parameter_and_token")
    ue_tflops: tuple[float, ...] = like(Compute, "ue_tflops")
    ue_memory_gb: tuple[float, ...] = like(Memory, "ue_memory_gb", (2.5, 3.5, 6.0))
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
    server_tflops: float = like(Compute, "server_tflops")
    joule_per_tflop: float = like(Energy, "joule_per_tflop")

    # The emulator and quality.
    num_emulators: int = quantity(
        4, meaning="emulators that the server has made; 0: any", source=INFERRED, at_least=0
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

    def __post_init__(self) -> None:
        super().__post_init__()
        owner = f"scenario {self.name}"
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
    def named(cls) -> Mapping[str, FedPEATScenario]:
        from rllib_mec.system.fedpeat.scenarios import FEDPEAT_SCENARIOS

        return FEDPEAT_SCENARIOS
