"""The named scenarios of FedPEAT."""

from __future__ import annotations

from rllib_mec.system.fedpeat.scenario import FedPEATScenario

FEDPEAT_SCENARIOS: dict[str, FedPEATScenario] = {
    "fedpeat": FedPEATScenario(),
    "fedpeat-energy": FedPEATScenario(name="fedpeat-energy", energy_weight_per_kj=-0.5),
}
"""``fedpeat-energy`` is the same system whose reward counts energy, so that power has a price."""
