"""Policies for fedpeat that learn nothing."""

import numpy as np
import pytest

from rllib_mec import registry
from rllib_mec.baselines.episodes import play
from rllib_mec.baselines.policies import FEDPEAT_POLICIES, make_policy
from rllib_mec.envs import BatchedMECEnv
from rllib_mec.envs.fedpeat import BatchedFedPEATEnv
from rllib_mec.errors import InputError
from rllib_mec.experiment.evaluate import evaluate
from rllib_mec.system.fedpeat import METRICS, Decision


def run(name, num_envs=20, **env_config):
    env = BatchedFedPEATEnv(env_config, num_envs)
    policy = make_policy(name, env, np.random.SeedSequence(0))
    return env, play(env, policy, np.random.SeedSequence(1))[0]


@pytest.mark.parametrize("num_emulators", [0, 4])
@pytest.mark.parametrize("agents", [1, 3, 4])
@pytest.mark.parametrize("name", FEDPEAT_POLICIES)
def test_all_of_them_act_for_any_number_of_agents(name, agents, num_emulators):
    _, metrics = run(name, 2, agents=agents, num_rounds=4, num_emulators=num_emulators)
    assert set(metrics) == set(METRICS)


def test_hold_exchanges_once():
    env, metrics = run("hold")
    assert (metrics["exchanges"] == env.scenario.num_ues).all()
    np.testing.assert_array_equal(env.federation.cached, env.federation.episode.most_retention)


def test_the_server_alone_takes_as_long_as_it_takes():
    _, metrics = run("server-alone")
    assert (metrics["exchanges"] == 0).all()
    np.testing.assert_allclose(metrics["log_delay"], np.log(27.0))


def test_equal_shares_holds_the_retention_that_is_best_in_hindsight():
    env, metrics = run("equal-shares")
    shape = env.federation.cached.shape
    for retention in env.scenario.emulators:
        env.reset(np.random.SeedSequence(1))
        while not env.federation.done:
            env.federation.step(
                Decision(
                    np.ones(shape, bool), np.full(shape, retention), np.zeros(shape), np.ones(shape)
                )
            )
        assert (metrics["reward"] >= env.episode_metrics()["reward"] - 1e-9).all()
    assert (metrics["exchanges"] == env.scenario.num_ues).all()


def test_each_environment_has_its_own():
    with pytest.raises(InputError, match="greedy knows the environment mec"):
        make_policy("greedy", BatchedFedPEATEnv(), np.random.SeedSequence(0))
    with pytest.raises(InputError, match="equal-shares knows the environment fedpeat alone"):
        make_policy("equal-shares", BatchedMECEnv(), np.random.SeedSequence(0))


def test_they_are_evaluated_on_the_same_episodes():
    registry.register()
    hold, again = (evaluate("hold", "fedpeat", {"num_rounds": 3}, 5, 0) for _ in range(2))
    shares = evaluate("equal-shares", "fedpeat", {"num_rounds": 3, "agents": 4}, 5, 0)
    np.testing.assert_array_equal(hold["reward"], again["reward"])
    assert hold["reward"].shape == shares["reward"].shape == (5,)
    with pytest.raises(InputError, match="oracle knows the environment mec"):
        evaluate("oracle", "fedpeat", {}, 2, 0)
    with pytest.raises(InputError, match="expected the environment mec"):
        evaluate("hold", "fedpeat", {}, 2, 0, record=[])
