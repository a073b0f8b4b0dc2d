"""The scenario: every constant of the system model, with its unit, meaning and source.

Equation numbers are those of the paper, arXiv 2310.17492. *Published* constants are printed
there; *inferred* ones are not, and are set so that a uniformly random policy reproduces the
random rows of the paper's Table I (the only rows that hold no learning).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from rllib_mec.system import parts
from rllib_mec.system.base_scenario import BaseScenario
from rllib_mec.system.consistency import check_consistency
from rllib_mec.system.quantity import INFERRED, PUBLISHED, quantity

EMULATOR_ACTIONS = ("retention", "layers", "keep_or_retention")
OBSERVATIONS = ("paper", "full")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scenario(BaseScenario):
    """A mobile edge system of one server and ``num_ues`` user equipments (UEs).

    The defaults are the scenario ``published``. Build one with :meth:`of`.

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

    The last fields are the parts of :mod:`rllib_mec.system.parts`, None where they are off; so is
    ``quality``, measured curves in place of f(E), see :mod:`rllib_mec.system.measured_part`.
    """

    num_tasks: int = quantity(
        50, meaning="T, tasks per UE = steps per episode", source=PUBLISHED, at_least=1
    )

    # What is sent.
    data_size_mb: tuple[float, float] = quantity(
        (300.0, 500.0), unit="MB", meaning="D, data of a task, uniform", source=PUBLISHED, above=0
    )

    # Radio.
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

    def __post_init__(self) -> None:
        super().__post_init__()
        check_consistency(self)

    @classmethod
    def named(cls) -> Mapping[str, Scenario]:
        from rllib_mec.system.scenarios import SCENARIOS

        return SCENARIOS

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
