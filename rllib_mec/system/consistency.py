"""Whether the constants of a scenario fit each other; each alone has been checked before."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from rllib_mec.errors import InputError

if TYPE_CHECKING:
    from rllib_mec.system.measured_part import MeasuredQuality
    from rllib_mec.system.scenario import Scenario

_RANGES_OF_PARTS = (("compute", "tokens"), ("energy", "battery_kj"))


def check_consistency(scenario: Scenario) -> None:
    """Refuses constants that contradict each other.

    Raises:
        InputError: names the field, its value and what was expected.
    """
    owner = f"scenario {scenario.name}"
    for part, name in _RANGES_OF_PARTS:
        if getattr(scenario, part) is not None:
            _check_range(f"{owner}.{part}.{name}", getattr(getattr(scenario, part), name))
    _check_walk(owner, scenario)
    if scenario.complexity_factor == "corrected" and scenario.complexity_weight == 0:
        raise InputError(f"{owner}.complexity_weight = 0: expected > 0 with 'corrected'")
    if scenario.quality is None:
        _check_perplexity(owner, scenario)
    else:
        _check_measured(owner, scenario, scenario.quality)
    _check_emulators(owner, scenario)


def _check_range(where: str, bounds: Any) -> None:
    low, high = bounds
    if low > high:
        raise InputError(f"{where} = [{low:g}, {high:g}]: expected low <= high")


def _check_walk(owner: str, scenario: Scenario) -> None:
    # A longer walk could leave by both bounds; it would forget the place it came from, too.
    low, high = scenario.walk_m
    width = scenario.distance_m[1] - scenario.distance_m[0]
    if high > width:
        raise InputError(
            f"{owner}.walk_m = [{low:g}, {high:g}]: expected at most {width:g}, the width of "
            "distance_m"
        )


def _check_perplexity(owner: str, scenario: Scenario) -> None:
    # The minimum is at the vertex or at an end; a perplexity is positive everywhere.
    a, b, c = scenario.perplexity_coefficients
    ends = [*scenario.retention, 1.0]
    if a > 0 and scenario.retention[0] < -b / (2 * a) < 1.0:
        ends.append(-b / (2 * a))
    least = min(a * e * e + b * e + c for e in ends)
    if least <= 0:
        raise InputError(
            f"{owner}.perplexity_coefficients = {[a, b, c]}: expected f(E) > 0 on "
            f"[{scenario.retention[0]:g}, 1]"
        )
    if scenario.domains is not None:
        # Where an emulator is better than the whole model, a sensitivity makes it better still.
        whole = a + b + c
        most = max(scenario.domains.sensitivities)
        if whole + most * (least - whole) <= 0:
            raise InputError(
                f"{owner}.domains.sensitivities = {list(scenario.domains.sensitivities)}: "
                f"expected less than {whole / (whole - least):g}, at which perplexities reach 0"
            )


def _check_measured(owner: str, scenario: Scenario, quality: MeasuredQuality) -> None:
    """Refuses what measured curves take the place of, and what they do not reach."""
    from rllib_mec.system.measured import measured_of

    if scenario.emulator_tuned is not None:
        raise InputError(
            f"{owner}.emulator_tuned: expected false with quality, whose metric emulator_tuned is "
            "measured"
        )
    fields = {field.name: field for field in dataclasses.fields(scenario)}
    default: Any = fields["perplexity_coefficients"].default
    if scenario.perplexity_coefficients != default:
        raise InputError(
            f"{owner}.perplexity_coefficients = {list(scenario.perplexity_coefficients)}: expected "
            f"none (or the default, {list(default)}) with quality, whose curves are measured"
        )
    measured = measured_of(quality)
    low, high = scenario.retention
    if low < measured.low:
        raise InputError(
            f"{owner}.retention = [{low:g}, {high:g}]: expected it within [{measured.low:g}, 1], "
            f"the range that was measured ({quality.origin})"
        )
    if measured.lowest_on(low) <= 0:
        raise InputError(
            f"{owner}.quality.interpolation = {quality.interpolation!r}: a curve falls to 0: "
            "expected 'monotone'"
        )
    domains = scenario.domains
    if domains is None:
        return
    for name in ("levels", "sensitivities"):
        given, expected = getattr(domains, name), getattr(measured, name)
        if len(given) != len(expected) or any(
            abs(one - other) > 1e-6 for one, other in zip(given, expected, strict=True)
        ):
            raise InputError(
                f"{owner}.domains.{name} = {list(given)}: expected "
                f"[{', '.join(f'{number:g}' for number in expected)}], as measured (Scenario.of "
                "fills them in)"
            )


def _check_emulators(owner: str, scenario: Scenario) -> None:
    smallest = scenario.retention[0]
    if scenario.emulator_action == "layers":
        low, high = scenario.layer_bounds
        smallest = low / scenario.num_layers
        if low > high:
            raise InputError(
                f"{owner}.retention = {list(scenario.retention)}: expected room for a whole "
                f"number of {scenario.num_layers} layers"
            )
    if scenario.memory is not None:
        least = smallest * scenario.model_size_gb
        if min(scenario.memory.ue_memory_gb) < least:
            raise InputError(
                f"{owner}.memory.ue_memory_gb = {list(scenario.memory.ue_memory_gb)}: expected at "
                f"least {least:g} GB, the smallest emulator"
            )
