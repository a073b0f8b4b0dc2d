"""A stack as one trial of Ray Tune."""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    EVALUATION_RESULTS,
    LEARNER_RESULTS,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
)
from ray.tune import Trainable

from rllib_mec.errors import InputError
from rllib_mec.hmppo.stacked.members import names_of
from rllib_mec.hmppo.stacked.training import StackedTraining

CONFIG_CLASS, MEMBERS = "config_class", "members"
"""Keys that a stack's config has besides those of its members' algorithm."""

INDEX = "stack.json"
"""File of a stack's checkpoint that names its members; each has a directory of its own."""

_REPORTED = (ENV_RUNNER_RESULTS, EVALUATION_RESULTS, LEARNER_RESULTS)


class StackedTrial(Trainable):
    """Trains a stack.

    Its config is the dictionary that all members share, with ``config_class``, HMPPO's or a
    subclass, and ``members``, a list of what each member sets besides.

    Its results are means over the members, and under ``members/NAME`` each one's own.
    ``num_env_steps_sampled_lifetime`` counts the steps of one member: all take equally many. A
    checkpoint holds a directory for each member, which is an ordinary checkpoint of the algorithm.

    Attributes:
        names, members: each member's name, and what it sets.
    """

    @classmethod
    def default_resource_request(cls, config: Mapping[str, Any]) -> Any:
        config_class, _, shared = _taken_apart(config)
        return config_class().algo_class.default_resource_request(shared)

    def setup(self, config: dict[str, Any]) -> None:
        config_class, self.members, shared = _taken_apart(config)
        self.names = names_of(self.members)
        self.training = StackedTraining(config_class().update_from_dict(shared), self.members)

    def step(self) -> dict[str, Any]:
        results = self.training.train()
        every = list(results.values())
        reported = [key for key in _REPORTED if key in every[0]]
        summary = {key: mean_of([result[key] for result in every]) for key in reported}
        lifetime = every[0][ENV_RUNNER_RESULTS][NUM_ENV_STEPS_SAMPLED_LIFETIME]
        return {
            **summary,
            NUM_ENV_STEPS_SAMPLED_LIFETIME: lifetime,
            MEMBERS: {
                name: {key: result[key] for key in reported} for name, result in results.items()
            },
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        for name, algorithm in self.training.algorithms.items():
            algorithm.save_to_path(str(Path(checkpoint_dir, name)))
        Path(checkpoint_dir, INDEX).write_text(json.dumps({MEMBERS: self.names}))

    def load_checkpoint(self, checkpoint_dir: Any) -> None:
        saved = json.loads(Path(checkpoint_dir, INDEX).read_text())[MEMBERS]
        if saved != self.names:
            raise InputError(f"{checkpoint_dir} holds {saved}: expected {self.names}")
        for name, algorithm in self.training.algorithms.items():
            algorithm.restore_from_path(str(Path(checkpoint_dir, name)))

    def cleanup(self) -> None:
        self.training.stop()


def mean_of(results: Sequence[Any]) -> Any:
    """Returns the mean of numbers, and of what nested dictionaries hold of them.

    What is no number is left out, and so is what some lack.

    >>> mean_of([{"a": 1, "b": {"c": 2.0}, "d": "x"}, {"a": 3, "b": {"c": 4.0}}])
    {'a': 2.0, 'b': {'c': 3.0}}
    """
    first = results[0]
    if isinstance(first, Mapping):
        shared = [key for key in first if all(key in result for result in results)]
        means = {key: mean_of([result[key] for result in results]) for key in shared}
        return {key: mean for key, mean in means.items() if mean is not None}
    if any(isinstance(r, bool) or not isinstance(r, numbers.Real) for r in results):
        return None
    return math.fsum(map(float, results)) / len(results)


def _taken_apart(config: Mapping[str, Any]) -> tuple[Any, list[dict[str, Any]], dict[str, Any]]:
    shared = {k: v for k, v in config.items() if k not in (CONFIG_CLASS, MEMBERS)}
    return config[CONFIG_CLASS], config[MEMBERS], shared
