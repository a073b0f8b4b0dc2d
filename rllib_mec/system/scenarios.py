"""The named scenarios."""

from __future__ import annotations

import dataclasses

from rllib_mec.system import parts
from rllib_mec.system.scenario import Scenario

FIELD = Scenario(
    name="field",
    model_size_gb=5.4,
    bits_per_byte=8.0,
    uplink_bandwidth_hz=40e6,
    downlink_bandwidth_hz=20e6,
    path_loss_exponent=3.76,
    gain_at_1m_db=-15.3,
    fading_correlation=0.9,
    fading_branches=2,
    walk_m=(0.0, 30.0),
    delay_weight_per_s=-2e-3,
    observation="full",
    emulator_download="missing",
    compute=parts.Compute(),
    memory=parts.Memory(),
    energy=parts.Energy(),
    adapter=parts.Adapter(),
    emulator_tuned=parts.EmulatorTuned(),
    domains=parts.Domains(),
    arrivals=parts.Arrivals(),
)
"""No fixed policy is near the best, and what is best hangs on tasks, devices and batteries.

Constants follow 5G carriers, laptop- and phone-class devices and the measurements that
:mod:`rllib_mec.system.parts` names; ``python -m pytest tests/system/test_field.py`` checks that the
property holds.
"""

SCENARIOS: dict[str, Scenario] = {
    "published": Scenario(),
    "published-8bit": Scenario(name="published-8bit", bits_per_byte=8.0),
    "published-fading": Scenario(name="published-fading", fading_correlation=0.9),
    "published-mobile": Scenario(
        name="published-mobile", fading_correlation=0.9, walk_m=(30.0, 60.0)
    ),
    "field": FIELD,
    # Ten times the cell: what a UE gets of links and server stays about the same.
    "field-64ue": dataclasses.replace(
        FIELD,
        name="field-64ue",
        num_ues=64,
        uplink_bandwidth_hz=400e6,
        downlink_bandwidth_hz=200e6,
        downlink_power_w=600.0,
        compute=parts.Compute(server_tflops=400.0),
    ),
}
"""The named scenarios. ``published-8bit`` is the same system with true bytes.

In ``published-fading`` a channel remembers the last task's; in ``published-mobile`` the UEs also
walk between tasks, at 1 to 2 m/s for 30 s, about the mean delay per task of a policy that holds
its emulators. The walk does not set rho: by Jakes's formula (:mod:`rllib_mec.system.channel`)
UEs that fast would have forgotten their fading after 30 s, which ``fading_correlation: 0`` gives.
"""
