"""GPUs for the learners: whether there are as many as a configuration asks for."""

from __future__ import annotations

from typing import Any

import ray
import torch

from rllib_mec.errors import InputError


def check_gpus(config: Any) -> None:
    """Checks that the learners can have their GPUs; to be called where they are about to be built.

    Not a check of the configuration: that is also validated on machines that only start a run,
    or evaluate what another one has trained.

    Raises:
        InputError: there are none, or too few. Of a cluster counts what it has now; RLlib would
            wait without end for more.
    """
    per_learner, learners = config.num_gpus_per_learner, config.num_learners
    if not per_learner:
        return
    if learners == 0:
        if not torch.cuda.is_available():
            raise InputError(
                f"num_gpus_per_learner = {per_learner:g}: expected a CUDA device for the local "
                "learner (num_learners = 0), torch finds none: set num_gpus_per_learner to 0"
            )
        return
    if not ray.is_initialized():
        ray.init()  # as RLlib would, to build the learners
    needed, present = learners * per_learner, ray.cluster_resources()
    if present.get("GPU", 0) < needed:
        named = ", ".join(
            f"{name} {amount:g}"
            for name, amount in sorted(present.items())
            if name in ("CPU", "GPU") or name.startswith("accelerator_type:")
        )
        raise InputError(
            f"num_learners = {learners}, num_gpus_per_learner = {per_learner:g}: expected "
            f"{needed:g} GPU in Ray's cluster, it has {present.get('GPU', 0):g} ({named}): "
            "set num_gpus_per_learner to 0, or start Ray on machines with GPUs"
        )
