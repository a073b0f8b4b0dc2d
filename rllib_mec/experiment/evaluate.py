"""Scores a checkpoint, a baseline or a bound.

Episodes come from random streams of their own, which no training uses. Of environments in batches,
episode k of a seed is the same for every target, so that targets can be compared episode by
episode; RLlib's own runner, which plays the others, draws episodes of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rllib_mec.baselines.algorithm import BaselineConfig
from rllib_mec.baselines.episodes import play
from rllib_mec.baselines.policies import NAMES, make_policy
from rllib_mec.envs import BatchedMECEnv
from rllib_mec.errors import InputError, unknown_name
from rllib_mec.experiment import environments
from rllib_mec.experiment.checkpoints import reading
from rllib_mec.experiment.checkpoints.policies import trained_policy
from rllib_mec.experiment.watching import Watch, system_of
from rllib_mec.hmppo import HMPPOConfig
from rllib_mec.hmppo.runner_choice import why_not_batched
from rllib_mec.hmppo.sampling.batched_env import BatchedEnv, batched
from rllib_mec.hmppo.sampling.callbacks import episode_metrics
from rllib_mec.registry import BOUNDS
from rllib_mec.system import Simulator
from rllib_mec.system.tasks import Episode
from rllib_mec.traces import Replay

Metrics = dict[str, NDArray[np.float64]]

MOST_ENVS = 250
"""Environments in a batch; also which episode comes from which stream hangs on it."""

_EVALUATION, _ACTIONS = 0x65766131, 0x61637431
"""Domains of random streams, apart from each other and from those of training."""


def evaluate(
    target: str,
    env: str | None,
    env_config: Mapping[str, Any],
    episodes: int,
    seed: int,
    trust: bool = False,
    explore: bool = False,
    record: list[Episode] | None = None,
    watch: Watch | None = None,
) -> Metrics:
    """Plays ``episodes`` episodes and returns their metrics, (episodes,) each.

    NaN stands for an episode that lacks a metric.

    Args:
        target: a baseline's or bound's name, or a checkpoint's directory.
        env, env_config: the environment; for a checkpoint, None and {} are what it was trained on.
        trust: whether code that is in the checkpoint, or named by it, may run.
        explore: whether a trained policy draws its actions as in training, instead of taking the
            most probable ones; of no effect on baselines and bounds.
        record: gets the episodes that are played, in batches.
        watch: gets the system that is played, before it is.

    Raises:
        InputError: no such target or environment, or they do not fit each other.
    """
    if target in NAMES or target in BOUNDS:
        if env is None:
            raise InputError(f"rllib evaluate {target}: expected --env")
        environment = environments.resolve(env)
        return _evaluate_named(target, environment, env_config, episodes, seed, record, watch)
    path = Path(target)
    if not os.path.exists(target):  # which no name is too long for
        if "/" in target or path.suffix:
            raise InputError(f"{target}: there is no such checkpoint")
        raise unknown_name("checkpoint or baseline", target, [*NAMES, *BOUNDS])
    # RLlib takes relative paths for URIs.
    loaded = reading.read(path.absolute(), env, env_config, trust)
    if isinstance(loaded.config, BaselineConfig):
        name, env_config = loaded.config.policy, loaded.env_config
        return _evaluate_named(name, loaded.env, env_config, episodes, seed, record, watch)
    loaded.config.callbacks_class = []  # those of training; they would also rule out batches
    loaded.config.output = None  # only training is recorded
    single = loaded.env.check(loaded.env_config)
    if watch is not None:
        system_of(single)  # before anything is built for it
    if not why_not_batched(loaded.config, single):
        policy = trained_policy(loaded, single, seed if explore else None)
        if policy is not None:
            envs = batched(single, min(episodes, MOST_ENVS))
            return _in_batches(
                lambda stream: play(envs, policy, stream)[0], envs, episodes, seed, record, watch
            )
    check_episodes(single, episodes)
    if record is not None:
        raise _no_record()
    return _sample(loaded, episodes, seed, explore, watch)


def check_target(name: str, environment: environments.Environment, env_config: Any) -> None:
    """Refuses what is no baseline or bound, or one that does not fit an environment.

    Raises:
        InputError: says which.
    """
    if name not in NAMES and name not in BOUNDS:
        raise unknown_name("baseline", name, [*NAMES, *BOUNDS])
    scorer = _bound_scorer if name in BOUNDS else _policy_scorer
    scorer(name, _team_envs(name, environment, env_config, 1), 0)


Scorer = Callable[[np.random.SeedSequence], Metrics]
"""Plays, or bounds, an episode in each environment of a batch."""


def _evaluate_named(
    name: str,
    environment: environments.Environment,
    env_config: Mapping[str, Any],
    episodes: int,
    seed: int,
    record: list[Episode] | None,
    watch: Watch | None,
) -> Metrics:
    """Scores a baseline or a bound."""
    envs = _team_envs(name, environment, env_config, min(episodes, MOST_ENVS))
    scorer = _bound_scorer if name in BOUNDS else _policy_scorer
    return _in_batches(scorer(name, envs, seed), envs, episodes, seed, record, watch)


def _policy_scorer(name: str, envs: BatchedEnv, seed: int) -> Scorer:
    policy = make_policy(name, envs, np.random.SeedSequence(seed, spawn_key=(_ACTIONS,)))
    return lambda stream: play(envs, policy, stream)[0]


def _bound_scorer(name: str, envs: BatchedEnv, seed: int) -> Scorer:
    if not isinstance(envs, BatchedMECEnv):
        raise InputError(
            f"{name} knows the environment mec (with turn_based: false) alone: expected that one"
        )
    bound = BOUNDS[name].load()

    def score(stream: np.random.SeedSequence) -> Metrics:
        envs.reset(stream)
        return {"reward": bound(envs.scenario, envs.simulator.episode)}

    return score


def _team_envs(
    name: str, environment: environments.Environment, env_config: Mapping[str, Any], num_envs: int
) -> BatchedEnv:
    from ray.rllib.env.multi_agent_env import MultiAgentEnv

    single = environment.check(env_config)
    if not isinstance(single, MultiAgentEnv):
        raise InputError(f"env {environment.name}: expected a MultiAgentEnv for {name}")
    return batched(single, num_envs)


def _in_batches(
    score: Scorer,
    envs: BatchedEnv,
    episodes: int,
    seed: int,
    record: list[Episode] | None,
    watch: Watch | None,
) -> Metrics:
    """Scores batch after batch of episodes, each from a stream of its own."""
    check_episodes(envs, episodes)
    simulator: Simulator | None = getattr(envs, "simulator", None)
    if record is not None and simulator is None:
        raise _no_record()
    if watch is not None:
        watch(system_of(envs))
    parts = []
    for number, stream in enumerate(evaluation_streams(seed, episodes, envs.num_envs)):
        parts.append(score(stream))
        if record is not None and simulator is not None:
            record.append(simulator.episode.first(episodes - number * envs.num_envs))
    return {name: values[:episodes] for name, values in _joined(parts).items()}


def _joined(parts: Sequence[Metrics]) -> Metrics:
    """Joins the metrics of several batches, each of which may lack some."""
    names = dict.fromkeys(name for part in parts for name in part)
    lacking = [np.full(len(next(iter(part.values()))), np.nan) for part in parts]
    return {
        name: np.concatenate(
            [part.get(name, nans) for part, nans in zip(parts, lacking, strict=True)]
        )
        for name in names
    }


def evaluation_streams(seed: int, episodes: int, num_envs: int) -> list[np.random.SeedSequence]:
    """Returns what seeds each batch of ``num_envs`` episodes."""
    batches = range(-(-episodes // num_envs))
    return [np.random.SeedSequence(seed, spawn_key=(_EVALUATION, number)) for number in batches]


def _no_record() -> InputError:
    return InputError(
        "--trace-out: expected the environment mec or mec-case-decision, in batches (turn_based is "
        "not)"
    )


def check_episodes(env: Any, episodes: int) -> None:
    """Refuses to play recorded episodes twice: they would count as if they were others."""
    replay: Replay | None = getattr(env, "replay", None)
    if replay is None:
        return
    most = replay.num_episodes
    if most is not None and episodes > most:
        raise InputError(
            f"--episodes {episodes}: expected at most {most}, all that {replay.trace} holds "
            "(replay: bootstrap draws any number)"
        )


def _sample(
    loaded: reading.Checkpoint, episodes: int, seed: int, explore: bool, watch: Watch | None
) -> Metrics:
    """Plays episodes with RLlib's own runner, for all other algorithms and environments."""
    from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
    from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

    config = loaded.config
    stream = np.random.SeedSequence(seed, spawn_key=(_EVALUATION,))
    # One environment: of several, those with short episodes would be counted more often.
    config.env_runners(num_env_runners=0, num_envs_per_env_runner=1, explore=explore)
    if isinstance(config, HMPPOConfig):
        config.training(sample_ahead=0)  # which needs remote runners
    config.debugging(seed=int(stream.generate_state(1)[0]) >> 1)
    config.validate()
    config.freeze()
    default = MultiAgentEnvRunner if config.is_multi_agent else SingleAgentEnvRunner
    runner = (config.env_runner_cls or default)(config=config, worker_index=0)
    loaded.load_runner(runner)
    module = runner.module
    loaded.load_weights(
        dict(module.items()) if config.is_multi_agent else {"default_policy": module}
    )
    if watch is not None:
        watch(system_of(runner.env.unwrapped.envs[0].unwrapped))
    rows = [episode_metrics(e) for e in runner.sample(num_episodes=episodes, explore=explore)]
    runner.stop()
    return _joined(
        [{name: np.array([value]) for name, value in row.items()} for row in rows[:episodes]]
    )
