"""Episodes: seeds, ends, sums, and the rewards that the inferred constants were set by."""

import numpy as np
import pytest

from rllib_mec.errors import InputError
from rllib_mec.system import DECISIONS, METRICS, Scenario, Simulator

SMALL = Scenario(num_ues=3, num_tasks=4)


def play(simulator, seed):
    """Plays an episode of random actions; returns the outcomes."""
    simulator.reset(seed)
    rng = np.random.default_rng(0)
    shape = (simulator.num_envs, simulator.scenario.num_ues)
    return [
        simulator.step(rng.random(shape) < 0.5, rng.uniform(0.2, 0.8, shape))
        for _ in range(simulator.scenario.num_tasks)
    ]


def test_equal_seeds_give_equal_episodes():
    one, other = Simulator(SMALL, 2), Simulator(SMALL, 2)
    for a, b in zip(play(one, 3), play(other, 3), strict=True):
        assert np.array_equal(a.delay_s, b.delay_s)
        assert np.array_equal(a.reward, b.reward)
    # The streams run on, in step with each other.
    following = play(one, None)
    assert np.array_equal(following[0].delay_s, play(other, None)[0].delay_s)
    assert not np.any(following[0].reward == play(one, 3)[0].reward)


def test_unseeded_simulators_differ():
    first, second = play(Simulator(SMALL), None), play(Simulator(SMALL), None)
    assert first[0].reward != second[0].reward


def test_reset_forgets_the_cache_and_the_sums():
    simulator = Simulator(SMALL, 2)
    play(simulator, 0)
    assert simulator.cached.any()
    simulator.reset()
    assert not simulator.cached.any()
    assert simulator.t == 0
    metrics = simulator.episode_metrics()
    assert not any(metrics[name].any() for name in METRICS)
    assert all(np.isnan(metrics[name]).all() for name in DECISIONS)


def test_episode_metrics_are_the_sums_and_means_of_the_outcomes():
    simulator = Simulator(SMALL, 2)
    outcomes = play(simulator, 0)
    metrics = simulator.episode_metrics()
    assert tuple(metrics) == (*METRICS, *DECISIONS)
    assert metrics["reward"] == pytest.approx(sum(o.reward for o in outcomes))
    assert metrics["total_delay_min"] == pytest.approx(sum(o.system_delay_s for o in outcomes) / 60)
    assert metrics["perplexity"] == pytest.approx(
        np.mean([o.perplexity for o in outcomes], axis=(0, 2))
    )
    assert metrics["emulator_changes"].tolist() == [
        sum(o.downloads[env].sum() for o in outcomes) for env in range(2)
    ]


def test_what_two_ues_decided():
    """Two episodes: in the first 1 of 4 tasks on the server, in the second all of them."""
    simulator = Simulator(Scenario(num_ues=2, num_tasks=2), 2)
    simulator.reset(0)
    everything = [True, True]
    simulator.step(np.array([[False, True], everything]), np.array([[0.2, 0.3], [0.5, 0.5]]))
    metrics = simulator.episode_metrics()
    assert metrics["server_share"].tolist() == [0.5, 1.0]
    assert metrics["local_retention"][0] == 0.2
    simulator.step(np.array([[False, False], everything]), np.array([[0.8, 0.5], [0.5, 0.5]]))
    metrics = simulator.episode_metrics()
    assert metrics["server_share"].tolist() == [0.25, 1.0]
    # 0.2, 0.8 and 0.5; the 0.3 is of a task that went to the server.
    assert metrics["local_retention"][0] == pytest.approx(0.5)
    assert np.isnan(metrics["local_retention"][1])


def test_decisions_are_those_that_were_carried_out():
    """A UE that keeps its emulator trains with that one, whatever retention it says."""
    simulator = Simulator(Scenario(num_ues=2, emulator_action="keep_or_retention"))
    simulator.reset(0)
    local, keep = np.zeros((1, 2), bool), np.array([[True, False]])
    simulator.step(local, np.array([[0.4, 0.4]]), ~keep & keep)
    outcome = simulator.step(local, np.array([[0.8, 0.8]]), keep)
    assert outcome.retention.tolist() == [[0.4, 0.8]]
    assert simulator.episode_metrics()["local_retention"] == pytest.approx([0.5])


def test_metrics_of_a_running_episode_are_those_so_far():
    simulator = Simulator(SMALL)
    simulator.reset(0)
    outcome = simulator.step(np.zeros((1, 3), dtype=bool), np.full((1, 3), 0.5))
    metrics = simulator.episode_metrics()
    assert metrics["reward"] == outcome.reward
    assert metrics["perplexity"] == outcome.mean_perplexity
    assert metrics["emulator_changes"] == 3


def test_metrics_are_copies():
    simulator = Simulator(SMALL)
    play(simulator, 0)
    metrics = simulator.episode_metrics()
    metrics["reward"][:] = 0
    metrics["emulator_changes"][:] = -1
    assert simulator.episode_metrics()["reward"] < 0
    assert simulator.episode_metrics()["emulator_changes"] >= 0


def test_last_gain_is_the_channel_of_the_task_just_finished():
    simulator = Simulator(SMALL)
    simulator.reset(0)
    before = simulator.last_gain
    gain = simulator.tasks.gain
    simulator.step(np.ones((1, 3), dtype=bool), np.full((1, 3), 0.5))
    assert np.array_equal(simulator.last_gain, gain)
    assert not np.any(before == gain)


def test_misuse():
    simulator = Simulator(SMALL)
    action = np.ones((1, 3), dtype=bool), np.full((1, 3), 0.5)
    with pytest.raises(InputError, match="step before reset"):
        simulator.step(*action)
    play(simulator, 0)
    with pytest.raises(InputError, match=r"step 5 of 4: expected reset\(\)"):
        simulator.step(*action)
    with pytest.raises(InputError, match="num_envs = 0"):
        Simulator(SMALL, 0)


@pytest.mark.parametrize(
    ("num_ues", "published_by_random", "hold"), [(6, -177.3, -103.1), (9, -207.6, -104.6)]
)
def test_calibration(num_ues, published_by_random, hold):
    """The inferred constants reproduce a random policy's reward, and hold beats it by far."""
    scenario = Scenario(num_ues=num_ues)
    simulator = Simulator(scenario, 300)
    play(simulator, 0)
    metrics = simulator.episode_metrics()
    assert metrics["reward"].mean() == pytest.approx(published_by_random, abs=3)
    assert metrics["perplexity"].mean() == pytest.approx(24.32, abs=0.1)
    simulator.reset(1)
    shape = (300, num_ues)
    for _ in range(scenario.num_tasks):
        simulator.step(np.zeros(shape, dtype=bool), np.full(shape, 0.8))
    metrics = simulator.episode_metrics()
    assert metrics["reward"].mean() == pytest.approx(hold, abs=0.5)
    assert np.all(metrics["emulator_changes"] == num_ues)
