"""What a user gives for a scenario's fields, read on top of another scenario's."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Mapping
from typing import Any

from rllib_mec.errors import InputError, unknown_name
from rllib_mec.system import parts
from rllib_mec.system.measured import measured_of
from rllib_mec.system.measured_part import MeasuredQuality, read_quality

_DEFAULTS = {
    field.name: field.default
    for field in dataclasses.fields(parts.Domains)
    if field.name in ("levels", "sensitivities")
}
"""What is known of domains where nothing is measured."""


def read_fields(before: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields that values change.

    Args:
        before: all fields of the scenario that this one starts from.
        values: fields as a user gives them; those of parts as :func:`parts.read_part` takes them.

    Raises:
        InputError: an unknown key, or what no part can be made of.
    """
    changed: dict[str, Any] = {}
    for key, value in values.items():
        if key not in before:
            raise unknown_name("scenario key", key, before)
        if key == "quality":
            changed[key] = read_quality(value, before[key])
        elif key in parts.PARTS and key != "domains":
            changed[key] = parts.read_part(key, value, before[key])
        else:
            changed[key] = value
    if "domains" in before and ("domains" in values or "quality" in values):
        quality = changed.get("quality", before["quality"])
        changed["domains"] = _domains(before, values, quality)
    return changed


def _domains(
    before: Mapping[str, Any], values: Mapping[str, Any], quality: MeasuredQuality | None
) -> parts.Domains | None:
    """The domains, which with measured curves are the profile's tasks."""
    base = before["domains"]
    if base is not None and before["quality"] is not None:
        # What was measured goes with the curves.
        base = dataclasses.replace(base, **_DEFAULTS)
    value = values.get("domains", base)
    given: dict[str, Any] = {}
    if quality is not None and isinstance(value, Mapping):
        given = {key: value[key] for key in _DEFAULTS if key in value}
        value = {key: each for key, each in value.items() if key not in _DEFAULTS}
    elif quality is not None and isinstance(value, parts.Domains) and "domains" in values:
        given = {key: getattr(value, key) for key in _DEFAULTS if not _default(value, key)}
    domains = parts.read_part("domains", value, base)
    if quality is None or domains is None:
        return domains
    measured = measured_of(quality)
    found = {name: getattr(measured, name) for name in _DEFAULTS}
    for name, numbers_given in given.items():
        # A scenario's own dictionary holds what was measured, too.
        if not _alike(numbers_given, found[name]):
            raise InputError(
                f"domains.{name} = {numbers_given!r}: expected none with quality, whose curves "
                f"give [{', '.join(f'{number:g}' for number in found[name])}]"
            )
    return dataclasses.replace(domains, **found)


def _default(domains: parts.Domains, name: str) -> bool:
    return getattr(domains, name) == _DEFAULTS[name]


def _alike(given: Any, measured: tuple[float, ...]) -> bool:
    return (
        isinstance(given, (list, tuple))
        and len(given) == len(measured)
        and all(isinstance(number, numbers.Real) for number in given)
        and all(map(lambda a, b: math.isclose(a, b, rel_tol=1e-6), given, measured))
    )


def plain(value: Any) -> Any:
    """The same with lists in place of tuples, inside mappings and lists, too."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return value
