"""What training takes: time on a UE's device or in the server's queue, and the UE's energy.

Every function takes and returns arrays of shape (B, N): B environments, N UEs. See
:class:`~rllib_mec.system.parts.Compute` and :class:`~rllib_mec.system.parts.Energy`.
"""

from __future__ import annotations

from rllib_mec.system.parts import Compute, Energy
from rllib_mec.system.radio import Bools, Floats


def training_work(compute: Compute, tokens: Floats) -> Floats:
    """Work w of a task on the whole model in TFLOP, (B, N); on an emulator it is E w.

    >>> import numpy as np
    >>> float(training_work(Compute(), np.array(1e5)))
    1080.0
    """
    return compute.flops_per_parameter_and_token * compute.parameters * tokens / 1e12


def server_delay(compute: Compute, server: Bools, work: Floats) -> Floats:
    """Seconds in the server's queue and in training there, 0 for UEs that train locally.

    Args:
        server: z, (B, N). work: of the whole model in TFLOP, (B, N).
    """
    own = server * work
    waited = own.sum(axis=-1, keepdims=True) if compute.server_queue == "shared" else own
    return server * waited / compute.server_tflops


def local_energy(energy: Energy, retention: Floats, work: Floats) -> Floats:
    """Energy of local training in kJ, (B, N).

    Args:
        retention: E, (B, N). work: of the whole model in TFLOP, (B, N).
    """
    return retention * work * (energy.joule_per_tflop / 1e3)


def sending_energy(power_w: Floats, seconds: Floats) -> Floats:
    """Energy of sending in kJ, (B, N)."""
    return power_w * seconds / 1e3
