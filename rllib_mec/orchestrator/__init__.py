"""A trained policy outside the cluster: loaded from ``rllib export``, without Ray and torch.

Needs the extra ``export`` (ONNX Runtime).
"""

from rllib_mec.orchestrator.policy import ExportedPolicy
from rllib_mec.orchestrator.spec import Spec, read_spec

__all__ = ["ExportedPolicy", "Spec", "read_spec"]
