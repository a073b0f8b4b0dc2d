"""The policies that learn nothing, in all readings of the emulator's action."""

import numpy as np
import pytest

from rllib_mec.baselines.episodes import play
from rllib_mec.baselines.policies import POLICIES, expected_situation, make_policy
from rllib_mec.envs import BatchedMECEnv, MECEnv, TurnBasedMECEnv
from rllib_mec.errors import InputError
from rllib_mec.experiment.evaluate import evaluate
from rllib_mec.hmppo.sampling.batched_env import BatchOfOne, batched
from rllib_mec.registry import ENVIRONMENTS
from rllib_mec.system import Scenario, Simulator
from rllib_mec.system.scenario import EMULATOR_ACTIONS


def _metrics(name, scenario, num_envs=20, seed=0):
    env = batched(MECEnv(scenario), num_envs)
    return play(env, make_policy(name, env, np.random.SeedSequence(1)), seed)[0]


@pytest.mark.parametrize("emulator_action", EMULATOR_ACTIONS)
def test_hold_downloads_once_and_never_again(emulator_action):
    metrics = _metrics("hold", Scenario(num_ues=6, emulator_action=emulator_action))
    np.testing.assert_array_equal(metrics["emulator_changes"], 6)
    assert metrics["reward"].mean() == pytest.approx(-103.1, abs=0.7)


def test_all_server_never_downloads_and_has_the_whole_models_perplexity():
    scenario = Scenario(num_ues=6, complexity=(10.0, 10.0))
    metrics = _metrics("all-server", scenario)
    np.testing.assert_array_equal(metrics["emulator_changes"], 0)
    # f(1) (10 + 10) / 10 with f(1) = 25.2 - 43.1 + 31.9 = 14.
    np.testing.assert_allclose(metrics["perplexity"], 28.0)


def test_random_matches_the_published_rows():
    metrics = _metrics("random", Scenario(num_ues=6), num_envs=200)
    assert metrics["reward"].mean() == pytest.approx(-177, abs=2)
    assert metrics["total_delay_min"].mean() == pytest.approx(797, abs=15)


@pytest.mark.parametrize("emulator_action", EMULATOR_ACTIONS)
def test_greedy_is_between_random_and_hold(emulator_action):
    scenario = Scenario(num_ues=4, emulator_action=emulator_action)
    rewards = {name: _metrics(name, scenario)["reward"] for name in ("random", "greedy", "hold")}
    assert (rewards["random"] < rewards["greedy"]).all()
    # It does not invest: a better emulator costs now and pays back later.
    assert rewards["greedy"].mean() < rewards["hold"].mean()


@pytest.mark.parametrize("name", POLICIES)
def test_equal_seeds_give_equal_episodes(name):
    first, second = (_metrics(name, Scenario(num_ues=3), num_envs=4, seed=5) for _ in range(2))
    for metric in first:
        np.testing.assert_array_equal(first[metric], second[metric])


@pytest.mark.parametrize(
    ("env", "env_config"),
    [
        *((name, {}) for name in ENVIRONMENTS if name != "mec-case-decision"),
        ("mec", {"scenario": "field", "decentralised": True}),
        ("mpe-spread", {"continuous_actions": True}),
    ],
)
def test_random_acts_in_every_environment(env, env_config):
    """With groups, too, whose members' actions batches have as one."""
    found = evaluate("random", env, env_config, 3, 0)["reward"]
    assert np.isfinite(found).all()
    assert len(set(found)) == 3


def test_random_acts_in_environments_that_take_turns():
    env = BatchOfOne(TurnBasedMECEnv(Scenario(num_ues=2, num_tasks=3)))
    metrics, steps = play(env, make_policy("random", env, np.random.SeedSequence(0)), 0)
    assert steps == 6
    assert metrics["total_delay_min"] > 0


def test_a_batch_of_one_gives_the_environments_own_numbers():
    scenario = Scenario(num_ues=3, num_tasks=5, emulator_action="keep_or_retention")
    one, many = BatchOfOne(MECEnv(scenario)), MECEnv(scenario).batched(1)
    policy = make_policy("random", many, np.random.SeedSequence(0))
    observations = one.reset(3), many.reset(3)
    done = False
    while not done:
        for agent in observations[0]:
            np.testing.assert_array_equal(observations[0][agent], observations[1][agent])
        actions = policy.act(many, observations[1])
        (*_, done), (*_, also_done) = results = one.step(actions), many.step(actions)
        observations = results[0][0], results[1][0]
        np.testing.assert_array_equal(results[0][1], results[1][1])
        assert done == also_done
    for name, value in many.episode_metrics().items():
        np.testing.assert_array_equal(one.episode_metrics()[name], value)


@pytest.mark.parametrize("name", [name for name in POLICIES if name != "random"])
def test_policies_that_know_the_system_refuse_other_environments(name):
    env = BatchOfOne(TurnBasedMECEnv(Scenario()))
    with pytest.raises(InputError, match=f"{name} knows the environment mec"):
        make_policy(name, env, np.random.SeedSequence(0))


def test_hold_takes_what_fits_each_ue_and_keeps_it():
    env = MECEnv(Scenario.of("field", energy=False, arrivals=False)).batched(20)
    metrics, _ = play(env, make_policy("hold", env, np.random.SeedSequence(0)), 0)
    np.testing.assert_array_equal(metrics["emulator_changes"], 6)
    most = env.simulator.episode.devices.most_retention
    np.testing.assert_array_equal(env.simulator.cached, np.minimum(0.8, most))
    assert len(np.unique(most)) > 2


@pytest.mark.parametrize("emulator_action", EMULATOR_ACTIONS)
def test_in_the_field_the_more_a_policy_knows_the_more_it_gets(emulator_action):
    scenario = Scenario.of("field", num_ues=4, emulator_action=emulator_action)
    names = ("random", "hold", "greedy-coordinate", "greedy-observed", "greedy")
    random, hold, coordinate, observed, greedy = (
        _metrics(name, scenario)["reward"].mean() for name in names
    )
    assert max(random, hold) < observed < greedy
    assert random < coordinate < greedy


def test_greedy_observed_does_not_look_at_coming_channels():
    # Where channels stand still it knows them.
    still = Scenario.of("field", num_ues=3, fading="none", fading_correlation=0, walk_m=(0, 0))
    known, observed = (_metrics(name, still)["reward"] for name in ("greedy", "greedy-observed"))
    np.testing.assert_allclose(known, observed, atol=1e-4)
    simulator = Simulator(Scenario.of("field", num_ues=3, num_tasks=4), 5)
    simulator.reset(0)
    before = expected_situation(simulator.scenario, simulator).tasks.gain
    simulator.episode.tasks.gain[:] = 1.0
    after = expected_situation(simulator.scenario, simulator).tasks.gain
    np.testing.assert_array_equal(after, before)


def test_the_expected_gain_is_the_mean_of_what_comes():
    # The last of many tasks: by then a UE's mean is known well.
    scenario = Scenario.of("field", num_ues=4, num_tasks=60, walk_m=(0.0, 0.0))
    simulator = Simulator(scenario, 300)
    simulator.reset(0)
    simulator.t = 59
    gain = simulator.tasks.gain
    scale = simulator.episode.tasks.gain.mean(axis=0)
    errors = {
        "expected": expected_situation(scenario, simulator).tasks.gain,
        "last": simulator.last_gain,
        "mean": scale,
    }
    squares = {name: np.square((e - gain) / scale).mean() for name, e in errors.items()}
    assert squares["expected"] < min(squares["last"], squares["mean"])
    assert ((errors["expected"] - gain) / scale).mean() == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize("emulator_action", EMULATOR_ACTIONS)
def test_best_fixed_is_the_best_of_all_that_do_the_same_in_every_step(emulator_action):
    env = BatchedMECEnv(
        {"scenario": "field", "num_ues": 3, "num_tasks": 12, "emulator_action": emulator_action}, 6
    )
    rewards = {}
    for name in ("best-fixed", "all-server", "hold"):
        policy = make_policy(name, env, np.random.SeedSequence(0))
        rewards[name] = play(env, policy, 3)[0]["reward"]
    assert np.all(rewards["best-fixed"] >= rewards["all-server"] - 1e-9)
    # Another episode, another choice; and the same again for the same one.
    policy = make_policy("best-fixed", env, np.random.SeedSequence(0))
    again = [play(env, policy, seed)[0]["reward"] for seed in (3, 4, 3)]
    assert np.array_equal(again[0], again[2])
    assert np.array_equal(again[0], rewards["best-fixed"])
    # hold's retention is one of the grid where the memory does not limit it.
    scenario = {"base": "field", "memory": False, "num_ues": 2, "emulator_action": emulator_action}
    env = BatchedMECEnv({"scenario": scenario}, 4)
    best, hold = (
        play(env, make_policy(name, env, np.random.SeedSequence(0)), 1)[0]["reward"]
        for name in ("best-fixed", "hold")
    )
    assert np.all(best >= hold - 0.05)
