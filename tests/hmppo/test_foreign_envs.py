"""Environments that are not this package's: HMPPO trains any team."""

import numpy as np
import pytest
from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv
from ray.tune.registry import register_env
from toy_teams import toy_config

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_session")]


@pytest.mark.parametrize("critic", ["decision_point", "separate"])
def test_a_pettingzoo_team_trains(critic):
    """A speaker and a listener with observations and actions of different sizes, no slots."""
    from mpe2 import simple_speaker_listener_v4

    register_env(
        "speaker_listener",
        lambda _: ParallelPettingZooEnv(simple_speaker_listener_v4.parallel_env(max_cycles=25)),
    )
    config = toy_config("speaker_listener", train_batch_size_per_learner=100, critic=critic)
    algorithm = config.build_algo()
    try:
        for _ in range(3):
            results = algorithm.train()
        assert results["num_env_steps_sampled_lifetime"] == 300
        assert results["env_runners"]["episode_metrics"]["reward"] < 0
        critics = {"speaker_0_critic", "listener_0_critic"}
        expected = {"central_critic"} if critic == "decision_point" else critics
        assert set(results["learners"]) == {"speaker_0", "listener_0", "__all_modules__"} | expected
        for module_id in expected:
            assert np.isfinite(results["learners"][module_id]["vf_loss"])
    finally:
        algorithm.stop()


@pytest.mark.parametrize(
    ("critic", "update"),
    [
        ("decision_point", "simultaneous"),
        ("separate", "simultaneous"),
        ("decision_point", "sequential"),
    ],
)
def test_each_agent_learns_to_copy_the_one_before_it(critic, update):
    """Without slots no policy gets more than 2/3; see CopyEnv."""
    config = toy_config(
        train_batch_size_per_learner=512,
        minibatch_size=128,
        num_epochs=8,
        lr=1e-2,
        gamma=0.0,
        critic=critic,
        update=update,
    )
    config.env_runners(num_envs_per_env_runner=16)
    algorithm = config.build_algo()
    try:
        rewards = [
            algorithm.train()["env_runners"]["episode_metrics"]["reward"] / 8 for _ in range(10)
        ]
        assert rewards[0] < 0.6
        assert rewards[-1] > 0.9
    finally:
        algorithm.stop()
