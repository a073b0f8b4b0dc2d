"""Whole episodes of a policy in a batch of environments."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from rllib_mec.baselines.policies import Policy
from rllib_mec.hmppo.sampling.batched_env import BatchedEnv


def play(env: BatchedEnv, policy: Policy, seed: Any = None) -> tuple[dict[str, NDArray[Any]], int]:
    """Plays one episode in each of B environments.

    Args:
        seed: restarts the environments' random streams; None lets them run on.

    Returns:
        the episodes' metrics, (B,) each, and the steps that each episode took.
    """
    observations = env.reset(seed)
    if (begin := getattr(policy, "begin", None)) is not None:
        begin(env.num_envs)
    steps, done = 0, False
    while not done:
        observations, _, terminated, truncated = env.step(policy.act(env, observations))
        steps += 1
        done = terminated or truncated
    return env.episode_metrics(), steps
