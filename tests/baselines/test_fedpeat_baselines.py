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
from rllib_mec.system.fedpeat import METRICS, Decision, carry_out


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


@pytest.mark.parametrize("scenario", ["fedpeat", "fedpeat-energy"])
def test_no_other_set_share_or_common_power_is_better_than_greedys(scenario):
    env = BatchedFedPEATEnv({"scenario": scenario, "num_ues": 3}, 4)
    env.reset(np.random.SeedSequence(7))
    policy = make_policy("greedy", env, np.random.SeedSequence(0))
    rng = np.random.default_rng(0)
    powers = set()
    for _ in range(4):
        situation = env.federation.situation
        decision = policy.decide(env.federation)
        powers.update(decision.power_w.ravel())
        best = carry_out(env.scenario, situation, decision).reward
        for _ in range(1500):
            bandwidth, power = rng.uniform(-1, 1, (4, 3)), rng.choice([0.2, 0.4, 0.6, 0.8, 1.0])
            other = Decision(
                rng.random((4, 3)) < 0.6, decision.retention, bandwidth, np.full((4, 3), power)
            )
            assert (carry_out(env.scenario, situation, other).reward <= best + 1e-4).all()
        env.federation.step(decision)
    assert (len(powers) > 1) == (scenario == "fedpeat-energy")


def test_those_that_greedy_selects_are_ready_together():
    env = BatchedFedPEATEnv({"num_rounds": 10}, 20)
    env.reset(np.random.SeedSequence(0))
    policy = make_policy("greedy", env, np.random.SeedSequence(0))
    together = []
    while not env.federation.done:
        decision = policy.decide(env.federation)
        outcome = env.federation.step(decision)
        least = np.where(decision.selected, outcome.delay_s, np.inf).min(axis=-1)
        # The server is slower, or a share is cut to what the action can say.
        free = (outcome.round_delay_s > 27.0) & (np.abs(decision.bandwidth).max(axis=-1) < 1)
        together.extend((least / outcome.round_delay_s)[free & decision.selected.any(axis=-1)])
    assert len(together) > 50
    np.testing.assert_allclose(together, 1.0, rtol=1e-3)


def test_the_more_a_policy_of_fedpeat_knows_the_more_it_gets():
    shares, observed, known = (
        run(name)[1]["reward"].mean() for name in ("equal-shares", "greedy-observed", "greedy")
    )
    assert shares < observed < known
    still = {"fading": "none", "fading_correlation": 0.0, "num_ues": 3, "num_rounds": 5}
    np.testing.assert_allclose(
        run("greedy", **still)[1]["reward"], run("greedy-observed", **still)[1]["reward"]
    )


def test_greedy_observed_does_not_look_at_the_coming_channels_of_fedpeat():
    env = BatchedFedPEATEnv({"num_ues": 3}, 5)
    env.reset(np.random.SeedSequence(0))
    env.federation.episode.gain[1:] = 1e-9
    policy = make_policy("greedy-observed", env, np.random.SeedSequence(0))
    before = policy.known(env.federation)
    env.federation.episode.gain[1:] = 1e-7
    np.testing.assert_array_equal(policy.known(env.federation).gain, before.gain)


def test_greedy_refuses_too_many_ues():
    with pytest.raises(InputError, match="greedy: num_ues = 13: expected at most 12"):
        make_policy("greedy", BatchedFedPEATEnv({"num_ues": 13}), np.random.SeedSequence(0))


def test_each_environment_has_its_own():
    with pytest.raises(InputError, match="all-server knows the environment mec"):
        make_policy("all-server", BatchedFedPEATEnv(), np.random.SeedSequence(0))
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
