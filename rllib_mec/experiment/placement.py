"""Where the processes of a trial run: its bundles, which Ray reserves together before it starts.

RLlib asks for a bundle for each process, and ``placement_strategy`` says how these share nodes.
With ``env_runners_per_node: k`` a bundle is what one node holds instead: the first is the main
process with its learners, evaluation runners and k environment runners, each further one is k
environment runners, and every bundle is on a node of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ray.rllib.env.env_runner_group import EnvRunnerGroup
from ray.tune import PlacementGroupFactory

from rllib_mec.errors import InputError, did_you_mean
from rllib_mec.experiment.fitting import STRATEGIES, words


class Groups(PlacementGroupFactory):
    """A request whose first bundle holds more than the trial's main process.

    Args:
        main: what the main process takes of the first bundle.
        groups: the bundles, each for a node of its own.
    """

    def __init__(self, main: Mapping[str, float], groups: Sequence[Mapping[str, float]]) -> None:
        super().__init__([dict(group) for group in groups], strategy="STRICT_SPREAD")
        self._main = dict(main)

    @property
    def groups(self) -> list[dict[str, float]]:
        """What each node holds."""
        return super().bundles

    @property
    def bundles(self) -> list[dict[str, float]]:
        # Tune gives the trial's process all of the first: nothing would be left for the others.
        return [self._main, *self.groups[1:]]


def check(
    config: Any, values: Mapping[str, Any], per_node: int | None, place: Callable[..., str]
) -> None:
    """Refuses placements that cannot be.

    Args:
        config: an algorithm's.
        values: what the user has set of it.
        per_node: ``env_runners_per_node``.
        place: names a key for error messages.

    Raises:
        InputError: no such strategy, or ``env_runners_per_node`` with what it cannot go with.
    """
    strategy = config.placement_strategy
    where = f"{place('config', 'placement_strategy')} = {strategy!r}"
    if strategy not in STRATEGIES:
        near = did_you_mean(str(strategy).upper(), STRATEGIES)
        raise InputError(f"{where}:{near or ' expected one of ' + ', '.join(STRATEGIES)}")
    if per_node is None:
        return
    here = f"{place('env_runners_per_node')} = {per_node}"
    if not config.num_env_runners:
        raise InputError(f"{here}: there are none: expected config.num_env_runners ≥ 1")
    if "placement_strategy" in values:
        raise InputError(f"{where}: expected none beside env_runners_per_node, which decides it")
    if len(request_of(config).bundles) <= config.num_env_runners:
        raise InputError(f"{here}: {config.algo_class.__name__} starts no environment runners")
    if config.num_offline_eval_runners:
        raise InputError(f"{here}: expected none with config.num_offline_eval_runners")


def request_of(config: Any, per_node: int | None = None) -> PlacementGroupFactory:
    """Returns what a trial of ``config`` asks Ray for."""
    request = config.algo_class.default_resource_request(config)
    return request if per_node is None else in_groups(request, config.num_env_runners, per_node)


def in_groups(request: PlacementGroupFactory, num_env_runners: int, per_node: int) -> Groups:
    """Returns RLlib's request with ``per_node`` environment runners on each node.

    Args:
        request: bundles of the main process, of each environment runner, and of the rest.
    """
    main, *others = request.bundles
    runners, rest = others[:num_env_runners], others[num_env_runners:]
    each = [runners[start : start + per_node] for start in range(0, num_env_runners, per_node)]
    first, *further = each
    return Groups(main, [_sum([main, *first, *rest]), *map(_sum, further)])


def in_words(config: Any, request: PlacementGroupFactory) -> str:
    """Returns a request bundle by bundle, such as ``main process 1 CPU; 2 env runners 1 CPU each``.

    Args:
        config: of the algorithm that makes the request.
    """
    if isinstance(request, Groups):
        names = [f"node {number + 1}" for number in range(len(request.groups))]
        bundles = request.groups
    else:
        names, bundles = _roles(config, len(request.bundles)), request.bundles
    parts: list[tuple[str, str, int]] = []
    for name, bundle in zip(names, map(words, bundles), strict=True):
        if parts and parts[-1][:2] == (name, bundle):
            parts[-1] = (name, bundle, parts[-1][2] + 1)
        else:
            parts.append((name, bundle, 1))
    return "; ".join(
        f"{name} {bundle}" if count == 1 else f"{count} {name}s {bundle} each"
        for name, bundle, count in parts
    )


def bundles_of(request: PlacementGroupFactory) -> list[dict[str, float]]:
    """Returns what each bundle of a request really holds."""
    return request.groups if isinstance(request, Groups) else request.bundles


def grouped(trainable: Any, per_node: int) -> Any:
    """Returns an algorithm class whose trials are placed with ``per_node`` runners on each node."""

    class Grouped(trainable):  # type: ignore[misc]
        @classmethod
        def default_resource_request(cls, config: Any) -> Groups:
            full = cls.get_default_config().update_from_dict(config)
            return in_groups(
                super().default_resource_request(config), full.num_env_runners, per_node
            )

        def setup(self, config: Any) -> None:
            with _runners_in_groups(config.num_env_runners, per_node):
                super().setup(config)

    # Tune calls trials, and looks for them when they are resumed, by the name of their class;
    # checkpoints name it as well, and are none the less those of the algorithm.
    for name in ("__name__", "__qualname__", "__module__"):
        setattr(Grouped, name, getattr(trainable, name))
    return Grouped


@contextlib.contextmanager
def _runners_in_groups(num_env_runners: int, per_node: int) -> Iterator[None]:
    """Makes RLlib start runners in the bundle of their group, within a ``with`` block.

    RLlib starts the i-th runner in the i-th bundle, and lets nobody say otherwise. Ray restarts
    a runner where it was started, so that this need not last longer than the first start.
    """
    make = EnvRunnerGroup._make_worker

    def make_in_group(self: EnvRunnerGroup, *, worker_index: int, **rest: Any) -> Any:
        offset = self._pg_offset
        number = offset + worker_index - 1
        bundle = number // per_node if number < num_env_runners else 0
        self._pg_offset = bundle - worker_index
        try:
            return make(self, worker_index=worker_index, **rest)
        finally:
            self._pg_offset = offset

    EnvRunnerGroup._make_worker = make_in_group
    try:
        yield
    finally:
        EnvRunnerGroup._make_worker = make


def _roles(config: Any, count: int) -> list[str]:
    """Returns what each of RLlib's bundles is for."""
    roles = ["main process", *["env runner"] * config.num_env_runners]
    if config.evaluation_interval:
        roles += ["evaluation runner"] * config.evaluation_num_env_runners
    roles += ["learner"] * config.num_learners
    return roles if len(roles) == count else ["main process", *["other process"] * (count - 1)]


def _sum(bundles: Sequence[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for bundle in bundles:
        for name, amount in bundle.items():
            total[name] = total.get(name, 0.0) + amount
    return total
