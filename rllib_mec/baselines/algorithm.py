"""Policies that learn nothing as RLlib algorithms, so that whatever runs HMPPO runs them too."""

from __future__ import annotations

from typing import Any

import numpy as np
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.utils.checkpoints import Checkpointable
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME

from rllib_mec.baselines.episodes import play
from rllib_mec.baselines.policies import make_policy
from rllib_mec.hmppo.sampling.batched_env import batched, single_env
from rllib_mec.hmppo.sampling.callbacks import EPISODE_METRICS, means


class Baseline(Algorithm):
    """Plays episodes and reports their metrics; see :class:`BaselineConfig`.

    policy: a name of :data:`rllib_mec.baselines.policies.NAMES`.
    """

    policy: str

    @classmethod
    def get_default_config(cls) -> BaselineConfig:
        return BaselineConfig(algo_class=cls)

    def setup(self, config: Any) -> None:
        # Neither RLlib's runners nor a learner: nothing here samples for learning.
        self.callbacks: list[Any] = []
        self._set_up_metrics()
        self._envs = batched(single_env(self.config), self.config.num_envs_per_env_runner)
        env_seed, policy_seed = np.random.SeedSequence(self.config.seed).spawn(2)
        self._policy = make_policy(self.policy, self._envs, policy_seed)
        self._seed: Any = env_seed
        self._steps = 0

    def step(self) -> dict[str, Any]:
        metrics, steps = play(self._envs, self._policy, self._seed)
        self._seed = None
        self._steps += steps * self._envs.num_envs
        return {
            ENV_RUNNER_RESULTS: {
                EPISODE_METRICS: means(metrics),
                NUM_ENV_STEPS_SAMPLED_LIFETIME: self._steps,
            },
            NUM_ENV_STEPS_SAMPLED_LIFETIME: self._steps,
        }

    def get_checkpointable_components(self) -> list[Any]:
        return []

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return {"training_iteration": self.training_iteration, "steps": self._steps}

    def set_state(self, state: dict[str, Any]) -> None:
        self._iteration = state["training_iteration"]
        self._steps = state["steps"]

    def restore_from_path(self, path: Any, *args: Any, **kwargs: Any) -> None:
        # Not Algorithm's, which brings RLlib's runners up to date.
        Checkpointable.restore_from_path(self, path, *args, **kwargs)

    @classmethod
    def default_resource_request(cls, config: Any) -> Any:
        from ray.tune.execution.placement_groups import PlacementGroupFactory

        return PlacementGroupFactory([{"CPU": 1}])


class BaselineConfig(AlgorithmConfig):
    """Configures a policy that learns nothing; see :mod:`rllib_mec.baselines.policies`.

    An iteration is one episode in each of ``num_envs_per_env_runner`` environments. ``seed``
    counts, and ``environment``; settings of learning have no effect.
    """

    algorithm: type[Baseline]

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class or self.algorithm)
        self.num_env_runners = 0
        self.num_envs_per_env_runner = 8

    @property
    def policy(self) -> str:
        """The name of the policy."""
        return self.algo_class.policy

    def validate(self) -> None:
        super().validate()
        if self.env is not None:
            make_policy(self.policy, batched(single_env(self), 1), np.random.SeedSequence(0))


class Random(Baseline):
    """Uniformly random actions, in any ``MultiAgentEnv``."""

    policy = "random"


class RandomConfig(BaselineConfig):
    """Configures :class:`Random`."""

    algorithm = Random


class Hold(Baseline):
    """Always local, highest useful retention, never change."""

    policy = "hold"


class HoldConfig(BaselineConfig):
    """Configures :class:`Hold`."""

    algorithm = Hold


class BestFixed(Baseline):
    """The same in every step for all UEs: what is best in hindsight."""

    policy = "best-fixed"


class BestFixedConfig(BaselineConfig):
    """Configures :class:`BestFixed`."""

    algorithm = BestFixed


class BestRetention(Baseline):
    """Always local, each UE holds the retention that is best in hindsight."""

    policy = "best-retention"


class BestRetentionConfig(BaselineConfig):
    """Configures :class:`BestRetention`."""

    algorithm = BestRetention


class AllServer(Baseline):
    """Always upload, train on the server."""

    policy = "all-server"


class AllServerConfig(BaselineConfig):
    """Configures :class:`AllServer`."""

    algorithm = AllServer


class Greedy(Baseline):
    """The best joint action for this step's reward, the whole state known."""

    policy = "greedy"


class GreedyConfig(BaselineConfig):
    """Configures :class:`Greedy`."""

    algorithm = Greedy


class GreedyObserved(Baseline):
    """Greedy that expects the coming channels instead of knowing them."""

    policy = "greedy-observed"


class GreedyObservedConfig(BaselineConfig):
    """Configures :class:`GreedyObserved`."""

    algorithm = GreedyObserved


class EqualShares(Baseline):
    """All UEs of ``fedpeat``, equal bandwidth, full power, the best fixed retention."""

    policy = "equal-shares"


class EqualSharesConfig(BaselineConfig):
    """Configures :class:`EqualShares`."""

    algorithm = EqualShares


class ServerAlone(Baseline):
    """No UE of ``fedpeat`` takes part."""

    policy = "server-alone"


class ServerAloneConfig(BaselineConfig):
    """Configures :class:`ServerAlone`."""

    algorithm = ServerAlone


class GreedyCoordinate(Baseline):
    """Greedy, UE after UE, for any number of UEs."""

    policy = "greedy-coordinate"


class GreedyCoordinateConfig(BaselineConfig):
    """Configures :class:`GreedyCoordinate`."""

    algorithm = GreedyCoordinate
