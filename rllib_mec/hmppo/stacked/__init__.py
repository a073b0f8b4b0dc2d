"""Several runs of one algorithm in one process, with their networks run together."""

from rllib_mec.hmppo.stacked.training import StackedTraining

__all__ = ["StackedTraining"]
