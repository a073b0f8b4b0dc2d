"""The tasks of MPE in batches are those of mpe2, step by step."""

import gymnasium as gym
import numpy as np
import pytest

from rllib_mec.envs.mpe import BatchedSpeakerListener, BatchedSpread, speaker_listener, spread
from rllib_mec.envs.padded import Padded
from rllib_mec.errors import InputError

mpe2 = pytest.importorskip("mpe2", reason="the extra examples")


def twin(name, batched, env, **settings):
    """mpe2's environment in the state of one of a batch that has just begun."""
    from mpe2 import simple_speaker_listener_v4, simple_spread_v3

    module = {"spread": simple_spread_v3, "speaker_listener": simple_speaker_listener_v4}[name]
    single = module.parallel_env(**settings)
    single.reset(seed=0)
    world = single.unwrapped.world
    movers = [agent for agent in world.agents if agent.movable]
    for agent, place in zip(movers, batched.world.position[env], strict=True):
        agent.state.p_pos = place.copy()
    for landmark, place in zip(world.landmarks, batched.world.landmarks[env], strict=True):
        landmark.state.p_pos = place.copy()
    if name == "speaker_listener":
        world.agents[0].goal_b = world.landmarks[batched.goal[env]]
    return single


def compare(name, batched, observations, actions_of, **settings):
    """Plays an episode of each environment beside its twin."""
    twins = [twin(name, batched, env, **settings) for env in range(batched.num_envs)]
    for index, space in enumerate(batched.action_spaces.values()):
        space.seed(index)
    done = False
    while not done:
        actions = {
            agent: np.stack([space.sample() for _ in twins])
            for agent, space in batched.action_spaces.items()
        }
        observations, reward, terminated, done = batched.step(actions_of(actions))
        assert not terminated
        for env, single in enumerate(twins):
            own = {agent: action[env] for agent, action in actions.items()}
            seen, rewards, _, truncated, _ = single.step(own)
            # Continuous actions are of float32 there.
            assert reward[env] == pytest.approx(np.mean(list(rewards.values())), abs=1e-5)
            expected = np.concatenate([seen[agent] for agent in batched.action_spaces])
            found = np.concatenate([each[env] for each in observations.values()])
            np.testing.assert_allclose(found, expected, atol=1e-5)
            assert all(truncated.values()) == done


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("number", [1, 3, 5])
def test_spread_is_that_of_mpe2(number, continuous):
    settings = {"N": number, "continuous_actions": continuous, "local_ratio": 0.3}
    batched = BatchedSpread(4, **settings)
    observations = batched.reset(1)
    # Close together, so that agents touch.
    batched.world.position *= 0.2

    def joined(actions):
        return {"agent": np.concatenate([actions[a].reshape(4, -1) for a in actions], axis=1)}

    compare("spread", batched, observations, joined, **settings)


@pytest.mark.parametrize("continuous", [False, True])
def test_speaker_and_listener_are_those_of_mpe2(continuous):
    batched = BatchedSpeakerListener(6, continuous_actions=continuous, max_cycles=10)
    observations = batched.reset(2)
    assert len(set(batched.goal)) > 1
    compare(
        "speaker_listener",
        batched,
        observations,
        dict,
        continuous_actions=continuous,
        max_cycles=10,
    )


def test_agents_that_touch_are_pushed_apart_and_counted():
    batched = BatchedSpread(1, N=2)
    batched.reset(0)
    batched.world.position = np.array([[[0.0, 0.0], [0.1, 0.0]]])
    batched.world.landmarks = batched.world.position.copy()
    before = batched._reward()
    np.testing.assert_allclose(before, -0.5)  # a collision each, no distance
    # Depth 0.2 gives a force of 20 N: after a step of 0.1 s, 2 m/s.
    batched.step({"agent": np.array([[0, 0]])})
    np.testing.assert_allclose(batched.world.velocity, [[[-2.0, 0.0], [2.0, 0.0]]])


def test_one_of_a_batch_is_the_environment_and_knows_the_way_to_more():
    env, batch = spread({"N": 2}), spread({"N": 2}).batched(3)
    observations, _ = env.reset(seed=5)
    np.testing.assert_array_equal(
        np.concatenate(list(observations.values())), batch.reset(5)["agent"][0]
    )
    assert env.agent_groups == {"agent": ("agent_0", "agent_1")}
    infos, steps = {}, 0
    while not infos:
        _, rewards, ended, cut, infos = env.step({"agent_0": 1, "agent_1": 4})
        steps += 1
    assert steps == 25
    assert cut["__all__"]
    assert not ended["__all__"]
    total = infos["agent_0"]["episode_metrics"]["reward"]
    for _ in range(25):
        batch.step({"agent": np.tile([1, 4], (3, 1))})
    assert batch.episode_metrics()["reward"][0] == pytest.approx(total)
    assert set(rewards) == {"agent_0", "agent_1"}


@pytest.mark.parametrize(
    ("make", "env_config", "message"),
    [
        (spread, {"M": 3}, "unknown env_config key 'M'"),
        (spread, {"N": 0}, "N = 0: expected a whole number >= 1"),
        (spread, {"local_ratio": 2}, r"local_ratio = 2: expected a number in \[0, 1\]"),
        (spread, {"landmark_range": "1"}, "landmark_range = '1': expected a number in"),
        (speaker_listener, {"N": 2}, "unknown env_config key 'N'"),
        (speaker_listener, {"padded": 1}, "padded = 1: expected true or false"),
        (speaker_listener, {"max_cycles": 0}, "max_cycles = 0: expected a whole number"),
        (speaker_listener, {"continuous_actions": 1}, "continuous_actions = 1: expected true"),
    ],
)
def test_what_makes_no_sense_is_refused(make, env_config, message):
    with pytest.raises(InputError, match=message):
        make(env_config)


def test_mappos_return_of_spread_counts_all_of_it_for_each_agent_and_itself():
    batched = BatchedSpread(1, local_ratio=0.9)
    batched.reset(0)
    # A landmark below each agent but the last one, which is 0.5 from its own.
    places = np.array([[[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]]])
    batched.world.position = places
    batched.world.landmarks = np.add(places, [[[0, 0], [0, 0], [0, 0.5]]])
    batched.step({"agent": np.array([[0, 0, 0]])})
    metrics = batched.episode_metrics()
    assert metrics["reward"] == pytest.approx(-0.5 * 0.1)
    # Three agents, each with the distance of 0.5 and a collision with itself.
    assert metrics["mappo_return"] == pytest.approx(3 * (-0.5 - 1))


def test_mappos_world_is_a_step_ahead():
    batched = BatchedSpread(1)
    batched.reset(0)
    places = np.array([[[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]]])
    batched.world.position = batched.world.landmarks = places
    batched.step({"agent": np.array([[1, 0, 0]])})
    # 5 N for 0.1 s are 0.5 m/s, which move it only in the next step here, in theirs in this one.
    metrics = batched.episode_metrics()
    assert metrics["reward"] == 0
    assert metrics["mappo_return"] == pytest.approx(3 * (-0.05 - 1))
    batched = BatchedSpeakerListener(1)
    batched.reset(0)
    batched.world.position = np.zeros((1, 1, 2))
    batched.world.landmarks[0, batched.goal[0]] = [0.0, 1.0]
    batched.step({"speaker_0": np.array([0]), "listener_0": np.array([4])})
    metrics = batched.episode_metrics()
    assert metrics["reward"] == pytest.approx(-1)
    assert metrics["mappo_return"] == pytest.approx(2 * -(0.95**2))


def stepped_as_mappos(landmarks, positions, goal, moves):
    """The return of a listener that is accelerated before it moves, as in MAPPO's MPE."""
    velocity, total = np.zeros(2), 0.0
    for move in moves:
        velocity = velocity * 0.75 + 0.5 * np.array(move)
        positions = positions + 0.1 * velocity
        total += 2 * -np.square(positions - landmarks[goal]).sum()
    return total


def test_mappos_return_is_that_of_an_episode_of_theirs():
    directions = [(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)]
    chosen = np.random.default_rng(0).integers(0, 5, 25)
    batched = BatchedSpeakerListener(1)
    batched.reset(3)
    world = batched.world
    theirs = stepped_as_mappos(
        world.landmarks[0], world.position[0, 0], batched.goal[0], [directions[c] for c in chosen]
    )
    for choice in chosen:
        batched.step({"speaker_0": np.array([1]), "listener_0": np.array([choice])})
    assert batched.episode_metrics()["mappo_return"] == pytest.approx(theirs)


def test_padded_agents_are_alike():
    env, plain = speaker_listener({"padded": True}), speaker_listener()
    assert env.metric_names == ("reward", "mappo_return")
    assert len(set(map(str, env.observation_spaces.values()))) == 1
    assert env.action_spaces == dict.fromkeys(plain.possible_agents, gym.spaces.Discrete(5))
    padded, _ = env.reset(seed=4)
    seen, _ = plain.reset(seed=4)
    np.testing.assert_array_equal(padded["speaker_0"][:3], seen["speaker_0"])
    np.testing.assert_array_equal(padded["speaker_0"][3:], [0] * 8 + [1, 0])
    np.testing.assert_array_equal(padded["listener_0"], [*seen["listener_0"], 0, 1])
    # The speaker has three words: the choices beyond are the first.
    padded, rewards, *_ = env.step({"speaker_0": 4, "listener_0": 2})
    seen, expected, *_ = plain.step({"speaker_0": 0, "listener_0": 2})
    np.testing.assert_array_equal(padded["listener_0"][:11], seen["listener_0"])
    assert rewards == expected


def test_padded_vectors_are_cut():
    settings = {"continuous_actions": True}
    env, plain = speaker_listener({"padded": True, **settings}), speaker_listener(settings)
    assert {space.shape for space in env.action_spaces.values()} == {(5,)}
    env.reset(seed=4)
    plain.reset(seed=4)
    actions = {"speaker_0": np.linspace(0.1, 0.9, 5), "listener_0": np.linspace(0.9, 0.1, 5)}
    seen, *_ = env.step(actions)
    expected, *_ = plain.step({**actions, "speaker_0": actions["speaker_0"][:3]})
    np.testing.assert_array_equal(seen["listener_0"][:11], expected["listener_0"])


def test_padded_batches_are_those_environments_side_by_side():
    env = speaker_listener({"padded": True})
    batch = env.batched(3)
    generator = np.random.default_rng(0)
    seen, expected = batch.reset([5, 6, 7]), env.reset(seed=5)[0]
    np.testing.assert_array_equal(seen["listener_0"][0], expected["listener_0"])
    for _ in range(4):
        actions = {agent: generator.integers(5, size=3) for agent in env.possible_agents}
        seen, rewards, *_ = batch.step(actions)
        one, given, *_ = env.step({agent: own[0] for agent, own in actions.items()})
        for agent in one:
            np.testing.assert_allclose(seen[agent][0], one[agent], atol=1e-6)
        assert rewards[0] == pytest.approx(given["speaker_0"])


def test_padding_keeps_what_else_an_environment_says():
    class Told(BatchedSpeakerListener):
        def active(self):
            return {"speaker_0": np.array([False] * self.num_envs)}

    padded = Padded(Told(2))
    assert padded.active()["speaker_0"].tolist() == [False, False]
    assert not hasattr(Padded(BatchedSpeakerListener(2)), "active")


def test_what_cannot_be_padded_is_refused():
    class Of:
        num_envs = 1

        def __init__(self, seen, acted):
            self.observation_spaces, self.action_spaces = seen, acted

    flat, box = gym.spaces.Box(-1, 1, (2,)), gym.spaces.Box(0, 1, (2,))
    with pytest.raises(InputError, match="expected agents that observe vectors"):
        Padded(Of({"a": gym.spaces.Discrete(2)}, {"a": box}))
    for other in (gym.spaces.Discrete(2), gym.spaces.Box(0, 2, (2,))):
        with pytest.raises(InputError, match="expected agents that all choose, or all act in one"):
            Padded(Of({"a": flat, "b": flat}, {"a": box, "b": other}))
