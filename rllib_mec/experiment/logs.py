"""How much Ray says."""

from __future__ import annotations

import logging
import os
import warnings


def quieten(verbose: int) -> None:
    """Sets log levels and warnings; imports Ray, which must not be imported before.

    Ray, RLlib and Tune warn about their own deprecated parts, which users can do nothing about.
    """
    if verbose < 2:
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        # A resumed trial reports again what came after its last checkpoint.
        warnings.filterwarnings("ignore", "The reported value is ignored", UserWarning)
        # Algorithms of RLlib cannot be given other settings while they are there.
        warnings.filterwarnings("ignore", "Consider boosting PBT performance", UserWarning)
        os.environ.setdefault("PYTHONWARNINGS", "ignore::DeprecationWarning,ignore::FutureWarning")
    os.environ.setdefault("RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", str(int(verbose > 0)))
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # the new output prints a table even when silent
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # see rllib_mec.experiment.interrupt
    import ray  # noqa: F401 sets log levels, which the following lines set anew

    level = (logging.ERROR, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    for name in ("ray", "ray.rllib", "ray.tune", "ray.train", "ray._common.deprecation"):
        logging.getLogger(name).setLevel(level)
    if not verbose:
        # Failed and interrupted trials are reported in plain words at the end of the run.
        logging.getLogger("ray.tune.tune").addFilter(
            lambda record: "Trials did not complete" not in record.getMessage()
        )
