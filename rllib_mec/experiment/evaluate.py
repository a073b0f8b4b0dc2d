"""Scores a checkpoint or a baseline: ``rllib evaluate``.

Episodes come from random streams of their own, which no training uses; episode k of a seed is
the same for every target, so that targets can be compared episode by episode.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from rllib_mec.baselines.algorithm import BaselineConfig
from rllib_mec.baselines.episodes import play
from rllib_mec.baselines.policies import POLICIES, Policy, make_policy
from rllib_mec.errors import InputError, unknown_name
from rllib_mec.experiment import checkpoint, environments
from rllib_mec.hmppo import HMPPOConfig
from rllib_mec.hmppo.runner_choice import why_not_batched
from rllib_mec.hmppo.sampling.batched_env import batched
from rllib_mec.hmppo.sampling.callbacks import episode_metrics

Metrics = dict[str, NDArray[np.float64]]

MOST_ENVS = 250
"""Environments in a batch; also which episode comes from which stream hangs on it."""

_EVALUATION, _ACTIONS = 0x65766131, 0x61637431
"""Domains of random streams, apart from each other and from those of training."""


def evaluate_command(
    target: str,
    env: str | None,
    env_config: Mapping[str, Any],
    episodes: int,
    seed: int,
    out: Path | None,
) -> int:
    """Evaluates, prints a table and writes ``out``; returns the exit status.

    Raises:
        InputError: no such target or environment, or they do not fit each other.
    """
    if seed < 0:
        raise InputError(f"--seed {seed}: expected a whole number >= 0")
    if out is not None and not out.parent.is_dir():
        raise InputError(f"--out {out}: there is no directory {out.parent}")
    metrics = evaluate(target, env, env_config, episodes, seed)
    summary = {name: summarise(values) for name, values in metrics.items()}
    width = max(map(len, summary))
    for name, row in summary.items():
        interval = "" if row["ci95"] is None else "  95 % CI [{:.6g}, {:.6g}]".format(*row["ci95"])
        click.echo(f"{name:<{width}}  {row['mean']:.6g}{interval}")
    if out is not None:
        write(out, metrics, {"episodes": episodes, "seed": seed, "metrics": summary})
    return 0


def evaluate(
    target: str, env: str | None, env_config: Mapping[str, Any], episodes: int, seed: int
) -> Metrics:
    """Plays ``episodes`` episodes and returns their metrics, (episodes,) each.

    A trained policy acts deterministically.

    Args:
        target: a baseline's name or a checkpoint's directory.
        env, env_config: the environment; for a checkpoint, None and {} are what it was trained on.

    Raises:
        InputError: no such target or environment, or they do not fit each other.
    """
    if target in POLICIES:
        if env is None:
            raise InputError(f"rllib evaluate {target}: expected --env")
        environment = environments.resolve(env)
        return _evaluate_baseline(target, environment, env_config, episodes, seed)
    path = Path(target)
    if not path.exists():
        if "/" in target or path.suffix:
            raise InputError(f"{target}: there is no such checkpoint")
        raise unknown_name("checkpoint or baseline", target, POLICIES)
    # RLlib takes relative paths for URIs.
    loaded = checkpoint.read(path.absolute(), env, env_config)
    if isinstance(loaded.config, BaselineConfig):
        name = loaded.config.policy
        return _evaluate_baseline(name, loaded.env, loaded.env_config, episodes, seed)
    loaded.config.callbacks_class = []  # those of training; they would also rule out batches
    loaded.config.output = None  # only training is recorded
    single = loaded.env.check(loaded.env_config)
    if not why_not_batched(loaded.config, single):
        policy = checkpoint.trained_policy(loaded, single)
        if policy is not None:
            return _play(policy, batched(single, min(episodes, MOST_ENVS)), episodes, seed)
    return _sample(loaded, episodes, seed)


def _evaluate_baseline(
    name: str,
    environment: environments.Environment,
    env_config: Mapping[str, Any],
    episodes: int,
    seed: int,
) -> Metrics:
    from ray.rllib.env.multi_agent_env import MultiAgentEnv

    single = environment.check(env_config)
    if not isinstance(single, MultiAgentEnv):
        raise InputError(f"env {environment.name}: expected a MultiAgentEnv for {name}")
    envs = batched(single, min(episodes, MOST_ENVS))
    actions = np.random.SeedSequence(seed, spawn_key=(_ACTIONS,))
    return _play(make_policy(name, envs, actions), envs, episodes, seed)


def _play(policy: Policy, envs: Any, episodes: int, seed: int) -> Metrics:
    """Plays batch after batch of episodes, each from a stream of its own."""
    parts = []
    for number in range(-(-episodes // envs.num_envs)):
        stream = np.random.SeedSequence(seed, spawn_key=(_EVALUATION, number))
        parts.append(play(envs, policy, stream)[0])
    return {name: np.concatenate([part[name] for part in parts])[:episodes] for name in parts[0]}


def _sample(loaded: checkpoint.Checkpoint, episodes: int, seed: int) -> Metrics:
    """Plays episodes with RLlib's own runner, for all other algorithms and environments."""
    from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
    from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

    config = loaded.config
    stream = np.random.SeedSequence(seed, spawn_key=(_EVALUATION,))
    # One environment: of several, those with short episodes would be counted more often.
    config.env_runners(num_env_runners=0, num_envs_per_env_runner=1, explore=False)
    if isinstance(config, HMPPOConfig):
        config.training(sample_ahead=0)  # which needs remote runners
    config.debugging(seed=int(stream.generate_state(1)[0]) >> 1)
    config.validate()
    config.freeze()
    default = MultiAgentEnvRunner if config.is_multi_agent else SingleAgentEnvRunner
    runner = (config.env_runner_cls or default)(config=config, worker_index=0)
    if (loaded.path / "env_runner").is_dir():
        runner.restore_from_path(loaded.path / "env_runner")
    module = runner.module
    loaded.load_weights(
        dict(module.items()) if config.is_multi_agent else {"default_policy": module}
    )
    rows = [episode_metrics(e) for e in runner.sample(num_episodes=episodes, explore=False)]
    runner.stop()
    return {name: np.array([row[name] for row in rows[:episodes]]) for name in rows[0]}


def summarise(values: NDArray[np.float64]) -> dict[str, Any]:
    """Returns the mean and its 95 % confidence interval (Student's t; None for one episode)."""
    from scipy import stats

    mean, count = float(values.mean()), len(values)
    if count < 2:
        return {"mean": mean, "ci95": None}
    half = float(stats.t.ppf(0.975, count - 1) * values.std(ddof=1) / np.sqrt(count))
    return {"mean": mean, "ci95": [mean - half, mean + half]}


def write(out: Path, metrics: Metrics, report: Mapping[str, Any]) -> None:
    """Writes the report as JSON, or as Parquet a row for each episode."""
    if out.suffix == ".json":
        out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        return
    import pyarrow
    from pyarrow import parquet

    count = len(next(iter(metrics.values())))
    parquet.write_table(pyarrow.table({"episode": np.arange(count), **metrics}), out)
