"""A trained policy outside the cluster: loaded from ``rllib export``, without Ray and torch.

:class:`Orchestrator` decides from what is measured of each UE, in physical units, for the
environments ``mec`` and ``fedpeat``; :class:`ExportedPolicy` from observations of any environment.
Needs the extra ``export`` (ONNX Runtime).
"""

from rllib_mec.orchestrator.orchestrator import Orchestrator
from rllib_mec.orchestrator.policy import ExportedPolicy
from rllib_mec.orchestrator.spec import Spec, read_spec

__all__ = ["ExportedPolicy", "Orchestrator", "Spec", "read_spec"]
