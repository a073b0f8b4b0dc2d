"""The environment fedpeat: alone and in batches, one agent or several, and clear refusals."""

import numpy as np
import pytest

from rllib_mec.envs.fedpeat import (
    BANDWIDTH,
    DECISIONS,
    ORCHESTRATOR,
    POWER,
    RETENTION,
    SELECTION,
    TRANSMISSION,
    BatchedFedPEATEnv,
    FedPEATEnv,
)
from rllib_mec.envs.fedpeat.observations import NUMBERS
from rllib_mec.envs.multi_agent import EPISODE_METRICS
from rllib_mec.errors import InputError
from rllib_mec.hmppo import Team
from rllib_mec.hmppo.sampling.batched_env import has_batched_form
from rllib_mec.system.fedpeat import METRICS

SMALL = {"num_ues": 3, "num_rounds": 5}
AGENTS = {
    1: (ORCHESTRATOR,),
    3: (SELECTION, RETENTION, TRANSMISSION),
    4: DECISIONS,
}


def sample(env):
    return {agent: space.sample() for agent, space in env.action_spaces.items()}


@pytest.mark.parametrize("agents", AGENTS)
def test_alone_it_is_a_batch_of_one(agents):
    env = FedPEATEnv({**SMALL, "agents": agents})
    assert has_batched_form(env)
    batch = env.batched(1)
    observations, _ = env.reset(seed=5)
    others = batch.reset(5)
    for space in env.action_spaces.values():
        space.seed(0)
    for t in range(5):
        for agent, space in env.observation_spaces.items():
            assert space.contains(observations[agent])
            np.testing.assert_array_equal(observations[agent], others[agent][0])
        actions = sample(env)
        observations, rewards, terminated, truncated, infos = env.step(actions)
        stacked = {
            agent: {k: v[None] for k, v in own.items()} if isinstance(own, dict) else own[None]
            for agent, own in actions.items()
        }
        others, reward, ended, cut = batch.step(stacked)
        assert rewards == dict.fromkeys(AGENTS[agents], reward[0])
        assert (terminated["__all__"], truncated["__all__"]) == (ended, cut) == (False, t == 4)
    metrics = infos[env.agents[0]][EPISODE_METRICS]
    assert set(metrics) == set(METRICS)
    assert metrics["reward"] == batch.episode_metrics()["reward"][0]


@pytest.mark.parametrize("agents", AGENTS)
def test_the_same_decisions_by_any_number_of_agents_are_the_same(agents):
    one, more = (BatchedFedPEATEnv({**SMALL, "agents": n}, 2) for n in (1, agents))
    one.reset(3), more.reset(3)
    rng = np.random.default_rng(0)
    for _ in range(5):
        decided = {
            SELECTION: rng.integers(2, size=(2, 3)),
            RETENTION: rng.uniform(0.2, 0.8, (2, 3)),
            BANDWIDTH: rng.uniform(-1, 1, (2, 3)),
            POWER: rng.uniform(0.2, 1, (2, 3)),
        }
        decision = one.agents.read({ORCHESTRATOR: decided}, 2)
        (_, ours, *_), (_, theirs, *_) = (
            env.step(env.agents.join(decision)) for env in (one, more)
        )
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("agents", AGENTS)
def test_later_agents_see_what_earlier_ones_decided_of_each_ue(agents):
    env = FedPEATEnv({**SMALL, "agents": agents})
    team = Team.of_env(env)
    assert team.agents == AGENTS[agents]
    assert team.require_entities() == 3
    observations, _ = env.reset(seed=0)
    k = len(NUMBERS)
    first = observations[env.agents[0]].reshape(3, k)
    for number, agent in enumerate(env.agents):
        seen = observations[agent].reshape(3, k + number)
        np.testing.assert_array_equal(seen[:, :k], first)
        assert not seen[:, k:].any()
        for slot, earlier in enumerate(env.agents[:number]):
            positions = env.action_slots[agent][earlier]
            assert positions == [ue * (k + number) + k + slot for ue in range(3)]


def test_what_is_observed_is_of_the_system():
    env = BatchedFedPEATEnv(SMALL, 4)
    seen = env.reset(1)[ORCHESTRATOR].reshape(4, 3, -1)
    episode = env.federation.episode
    numbers = dict(zip(NUMBERS, np.moveaxis(seen, -1, 0), strict=True))
    np.testing.assert_array_equal(numbers["busy"], np.where(episode.busy[0], 1, -1))
    np.testing.assert_allclose(numbers["data"], (episode.tokens - 2e5) / 1e5, rtol=1e-5)
    np.testing.assert_allclose(numbers["memory"], (episode.most_retention - 0.5) / 0.3, rtol=1e-5)
    np.testing.assert_allclose(numbers["cached"], -0.5 / 0.3, rtol=1e-5)
    np.testing.assert_allclose(numbers["speed"], np.log(episode.tflops / 12) / np.log(2), atol=1e-5)
    work = 4 * 2.7e9 / 1e12
    seconds = episode.most_retention * work * episode.tokens / episode.tflops
    seconds = seconds / np.where(episode.busy[0], 0.25, 1)
    typical = 0.5 * work * 2e5 / 12
    expected = np.clip(np.log(seconds / typical), -3, 3)
    np.testing.assert_allclose(numbers["training"], expected, rtol=1e-4, atol=1e-5)
    # The channel is that of the round before, which the coming one is not.
    decibel = 10 * np.log10(episode.gain[0])
    rest = 10 * numbers["gain"] - decibel
    inside = numbers["gain"] > -3
    np.testing.assert_allclose(rest[inside], rest[inside][0], atol=1e-3)


def test_seeds():
    first, second, other = (BatchedFedPEATEnv(SMALL, 2).reset(s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first[ORCHESTRATOR], second[ORCHESTRATOR])
    assert (first[ORCHESTRATOR] != other[ORCHESTRATOR]).any()


@pytest.mark.parametrize(
    ("env_config", "message"),
    [
        ({"agents": 2}, "agents = 2: expected one of 1, 3, 4"),
        ({"agents": True}, "agents = True: expected one of 1, 3, 4"),
        ({"agent": 3}, "did you mean 'agents'"),
        ({"scenario": "published"}, "unknown scenario of fedpeat 'published'"),
        ({"num_ues": 0}, "num_ues = 0: expected a whole number >= 1"),
    ],
)
def test_what_it_cannot_be_is_one_line(env_config, message):
    with pytest.raises(InputError, match=message):
        FedPEATEnv(env_config)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({RETENTION: [0.1, 0.5, 0.5]}, r"orchestrator action\[retention\], UE 0 = 0.1: expected a"),
        ({POWER: [0.5, float("nan"), 0.5]}, r"\[power\], UE 1 = nan: expected a number in \[0.2"),
        ({SELECTION: [0, 1, 2]}, r"\[selection\], UE 2 = 2: expected 0 or 1"),
        ({BANDWIDTH: [0.0, 0.0]}, r"\[bandwidth\] has shape \(2,\): expected \(3,\)"),
        ({POWER: ["a", 0, 0]}, r"\[power\] = \[\['a', 0, 0\]\]: expected numbers"),
        ({"speed": [0.0]}, "expected a dict of selection, retention, bandwidth, power"),
    ],
)
def test_bad_actions_are_named(changed, message):
    env = FedPEATEnv(SMALL)
    env.reset(seed=0)
    action = {SELECTION: [1] * 3, RETENTION: [0.5] * 3, BANDWIDTH: [0.0] * 3, POWER: [1.0] * 3}
    with pytest.raises(InputError, match=message):
        env.step({ORCHESTRATOR: action | changed})
    with pytest.raises(InputError, match="expected an action of orchestrator"):
        env.step({})
