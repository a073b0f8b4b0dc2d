"""What Tune runs: an algorithm, or a stack of them, that saves checkpoints with manifests."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ray.cloudpickle
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.callbacks.utils import make_callback

from rllib_mec.errors import InputError
from rllib_mec.experiment import environments, search_space
from rllib_mec.experiment.checkpoints import manifest, state, whole
from rllib_mec.experiment.progress import STEPS
from rllib_mec.hmppo.stacked.trainable import INDEX, MEMBERS, StackedTrial, mean_of
from rllib_mec.source import KeyPath

_SCORES = ("env_runners", "evaluation")
"""Results of which one may be the score by which checkpoints are kept."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to build an algorithm again: what the manifest says, with places for what is searched.

    run, env, config: as in a YAML file, without search spaces.
    searched: where ``config`` differs from trial to trial, and where the dictionary of RLlib's
        config has the value.
    """

    run: str
    env: str
    config: Mapping[str, Any]
    searched: Mapping[KeyPath, KeyPath]

    def of(self, algorithm: Any, own: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the experiment of one algorithm, with the values that it has.

        Args:
            own: settings that a stack's member has besides.
        """
        values = algorithm.config.to_dict()
        drawn = {path: search_space.at(values, stored) for path, stored in self.searched.items()}
        config = search_space.fill(self.config, drawn)
        return {"run": self.run, "env": self.env, "config": {**config, **own}}


class SavedTrial:
    """Mixed into a Trainable: its checkpoints are checked, and read without running code.

    A checkpoint holds the algorithm's state (see :mod:`rllib_mec.experiment.checkpoints.state`), a
    manifest, and the files that RLlib writes, so that ``Algorithm.from_checkpoint`` reads it, too:
    by unpickling. A stack's holds one for each member.
    """

    recipe: Recipe
    begin_at: str | None
    algorithm_class: type

    def setup(self, config: Any) -> None:
        super().setup(config)  # type: ignore[misc]
        if self.begin_at is not None:
            try:
                self.load_checkpoint(self.begin_at)
            except (RuntimeError, KeyError) as error:
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                raise InputError(f"--restore {self.begin_at}: does not fit: {reason}") from error

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        parts = list(self._parts(Path(checkpoint_dir)))
        for folder, algorithm, own in parts:
            algorithm.save_to_path(str(folder))
            if not isinstance(self, StackedTrial):
                # RLlib has pickled this very class, which is made for one run.
                constructor = {
                    "class": self.algorithm_class,
                    "ctor_args_and_kwargs": algorithm.get_ctor_args_and_kwargs(),
                }
                path = folder / Algorithm.CLASS_AND_CTOR_ARGS_FILE_NAME
                path.write_bytes(ray.cloudpickle.dumps(constructor))
            (folder / state.STATE).write_bytes(state.pack(algorithm.get_state()))
            experiment = self.recipe.of(algorithm, own)
            env_config = experiment["config"].get("env_config") or {}
            scenario = environments.scenario(experiment["env"], env_config)
            manifest.write(folder, experiment, scenario, self._progress(algorithm))
        if isinstance(self, StackedTrial):
            Path(checkpoint_dir, INDEX).write_text(json.dumps({MEMBERS: self.names}))
            whole_stack = experiment | {MEMBERS: self.names}
            manifest.write(Path(checkpoint_dir), whole_stack, scenario, self._progress(algorithm))

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        saved = manifest.check(Path(checkpoint_dir)).experiment.get(MEMBERS)
        ours = self.names if isinstance(self, StackedTrial) else None
        if saved != ours:
            raise InputError(f"{checkpoint_dir} holds {saved}: expected {ours}")
        for folder, algorithm, _ in self._parts(Path(checkpoint_dir)):
            data = manifest.read(folder).read(state.STATE)
            algorithm.set_state(state.unpack(data, str(folder / state.STATE)))
            make_callback(
                "on_checkpoint_loaded",
                callbacks_objects=algorithm.callbacks,
                callbacks_functions=algorithm.config.callbacks_on_checkpoint_loaded,
                kwargs={"algorithm": algorithm},
            )

    def _parts(self, folder: Path) -> Iterator[tuple[Path, Any, Mapping[str, Any]]]:
        """Yields the algorithms, the directory of each, and what each sets besides."""
        if not isinstance(self, StackedTrial):
            yield folder, self, {}
            return
        for name, own in zip(self.names, self.members, strict=True):
            yield folder / name, self.training.algorithms[name], own

    def _progress(self, algorithm: Any) -> dict[str, Any]:
        last: Mapping[str, Any] = self._last_result or {}  # type: ignore[attr-defined]
        return {
            "training_iteration": algorithm.training_iteration,
            STEPS: last.get(STEPS, 0),
            "time_total_s": last.get("time_total_s", 0.0),
            **{group: mean_of([last[group]]) for group in _SCORES if group in last},
        }

    def _report_class_trainable_checkpoint(self, checkpoint_dir: str, saved: Any) -> Any:
        storage = self._storage  # type: ignore[attr-defined]
        if storage is not None:
            storage.persist_current_checkpoint = functools.partial(whole.persist, storage)
        return super()._report_class_trainable_checkpoint(checkpoint_dir, saved)  # type: ignore[misc]


def saving(trainable: type, recipe: Recipe, begin_at: str | None = None) -> Any:
    """Returns a subclass of a Trainable, of the same name, whose checkpoints are as above.

    Args:
        trainable: a subclass of RLlib's ``Algorithm``, or :class:`StackedTrial`.
        begin_at: a checkpoint from which training goes on, instead of beginning.
    """
    own = {"recipe": recipe, "begin_at": begin_at, "algorithm_class": trainable}
    own["__module__"] = trainable.__module__
    return type(trainable.__name__, (SavedTrial, trainable), own)
