"""One policy on one number of UEs: its runs, their mean in a metric and its 95 % interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rllib_mec.experiment.report.results import Run, Study
from rllib_mec.experiment.report.statistics import mean_interval, normal_interval
from rllib_mec.experiment.study.results import TRAINED

Group = Sequence[Run]
"""The runs of a policy: of each seed where it is trained, else one."""

Groups = dict[tuple[str, int], list[Run]]
"""By variant and number of UEs."""


def groups_of(study: Study) -> Groups:
    """Returns the policies of a study."""
    groups: Groups = {}
    for run in study.runs:
        groups.setdefault((run.variant, run.num_ues), []).append(run)
    return groups


def values(group: Group, metric: str) -> list[float]:
    """Returns the means of the runs that have the metric."""
    return [mean for run in group if (mean := run.means[metric]) is not None]


def mean(group: Group, metric: str) -> float:
    """Returns the mean over the runs that have the metric; at least one does."""
    return float(np.mean(values(group, metric)))


def interval(group: Group, metric: str) -> list[float] | None:
    """Returns its 95 % interval, over seeds of what is trained, else over episodes, or None."""
    if group[0].kind == TRAINED:
        return mean_interval(values(group, metric))
    return normal_interval(mean(group, metric), group[0].errors[metric])
