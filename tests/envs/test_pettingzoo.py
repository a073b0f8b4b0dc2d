"""The PettingZoo views: PettingZoo's own tests, and the same numbers as the RLlib environments."""

import importlib
import sys

import numpy as np
import pytest
from pettingzoo import AECEnv, ParallelEnv
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test, seed_test
from pettingzoo.utils import aec_to_parallel

from rllib_mec.envs import AGENTS, CASE_DECISION, EMULATOR_CONFIG, make_env
from rllib_mec.envs.pettingzoo_views import aec_env, env, parallel_env
from rllib_mec.errors import InputError
from rllib_mec.experiment.environments import resolve

NAME = "pettingzoo:rllib_mec.envs.pettingzoo_views"
SMALL = {"num_ues": 3, "num_tasks": 4}
# PettingZoo only warns of these; its other warnings are about style, such as agents' names.
BROKEN = "error:.*(was not given|was dead last turn|[Nn]o agents present|NaN|not all possible)"
pettingzoo_test = pytest.mark.filterwarnings("ignore", BROKEN)
readings = pytest.mark.parametrize("reading", ["retention", "layers", "keep_or_retention"])


def play(view, drawn):
    """Plays an AEC episode; returns what each agent saw at each of its turns."""
    seen = {agent: [] for agent in AGENTS}
    turns = {agent: iter(drawn[agent]) for agent in AGENTS}
    for agent in view.agent_iter():
        observation, reward, terminated, truncated, info = view.last()
        seen[agent].append((observation, reward, info))
        assert not terminated
        view.step(None if truncated else next(turns[agent]))
    return seen


def draw_episode(draw_actions, of_env, scenario):
    """Draws each agent's actions of an episode."""
    rng = np.random.default_rng(1)
    steps = [of_env(draw_actions(scenario, rng, 1), 0) for _ in range(scenario.num_tasks)]
    return {agent: [step[agent] for step in steps] for agent in AGENTS}


@pettingzoo_test
@readings
@pytest.mark.parametrize("num_ues", [1, 3])
def test_aec_api(reading, num_ues):
    view = env(num_ues=num_ues, num_tasks=9, emulator_action=reading)
    assert isinstance(view, AECEnv)
    api_test(view, num_cycles=20)
    api_test(view.unwrapped, num_cycles=20)


@pettingzoo_test
@readings
@pytest.mark.parametrize("num_ues", [1, 3])
def test_parallel_api(reading, num_ues):
    view = parallel_env(num_ues=num_ues, num_tasks=9, emulator_action=reading)
    assert isinstance(view, ParallelEnv)
    parallel_api_test(view, num_cycles=20)


@pettingzoo_test
@readings
def test_seeds(reading):
    seed_test(lambda: env(**SMALL, emulator_action=reading))
    parallel_seed_test(lambda: parallel_env(**SMALL, emulator_action=reading))


def test_metadata():
    for view in (env(**SMALL), parallel_env(**SMALL)):
        assert view.metadata["name"] == str(view) == "mec_v0"
        assert view.metadata["render_modes"] == []
        assert view.possible_agents == list(AGENTS)
    assert aec_env is env


@readings
def test_parallel_view_gives_the_numbers_of_the_rllib_environment(reading, draw_actions, of_env):
    env_config = {**SMALL, "emulator_action": reading}
    view, mec = parallel_env(**env_config), make_env(env_config)
    rng = np.random.default_rng(1)
    for seed in (4, None):
        observations, infos = view.reset(seed=seed)
        expected, _ = mec.reset(seed=seed)
        assert infos == {agent: {} for agent in AGENTS}
        assert view.agents == list(AGENTS)
        for t in range(1, 5):
            for agent in AGENTS:
                assert np.array_equal(observations[agent], expected[agent])
            actions = of_env(draw_actions(mec.scenario, rng, 1), 0)
            observations, rewards, terminations, truncations, infos = view.step(actions)
            expected, expected_rewards, *_, expected_infos = mec.step(actions)
            assert rewards == expected_rewards
            assert terminations == dict.fromkeys(AGENTS, False)
            assert truncations == dict.fromkeys(AGENTS, t == 4)
        assert infos == expected_infos
        assert set(infos[EMULATOR_CONFIG]) == {"episode_metrics"}
        assert view.agents == []


@readings
def test_aec_view_gives_the_numbers_of_the_rllib_environment(reading, draw_actions, of_env):
    env_config = {**SMALL, "emulator_action": reading}
    view, mec = env(**env_config), make_env({**env_config, "turn_based": True})
    drawn = draw_episode(draw_actions, of_env, mec.scenario)
    view.reset(seed=4)
    seen = play(view, drawn)
    observations, _ = mec.reset(seed=4)
    reward = 0.0
    for t in range(4):
        for agent in AGENTS:
            observation, got, info = seen[agent][t]
            assert np.array_equal(observation, observations[agent])
            # The reward of the task before reaches each agent at its next turn, once.
            assert got == reward
            assert info == {}
            observations, rewards, *_, infos = mec.step({agent: drawn[agent][t]})
        reward = rewards[agent]
    for agent in AGENTS:
        observation, got, info = seen[agent][4]
        assert np.array_equal(observation, observations[agent])
        assert got == reward
        assert info == infos[agent]
    assert view.agents == []


@readings
def test_two_turns_collected_into_a_step_are_the_parallel_view(reading, draw_actions, of_env):
    env_config = {**SMALL, "emulator_action": reading}
    collected, parallel = aec_to_parallel(env(**env_config)), parallel_env(**env_config)
    rng = np.random.default_rng(1)
    observations, expected = collected.reset(seed=4)[0], parallel.reset(seed=4)[0]
    while parallel.agents:
        for agent in AGENTS:
            assert np.array_equal(observations[agent], expected[agent])
        actions = of_env(draw_actions(parallel.scenario, rng, 1), 0)
        observations, *rest = collected.step(actions)
        expected, *expected_rest = parallel.step(actions)
        assert rest == expected_rest
    assert collected.agents == []
    for agent in AGENTS:
        assert np.array_equal(observations[agent], expected[agent])


def test_emulator_config_sees_the_case_decision_only_in_its_turn():
    view = env(**SMALL)
    view.reset(seed=0)

    def slots():
        return view.observe(EMULATOR_CONFIG).reshape(3, 3)[:, 1].tolist()

    assert view.agent_selection == CASE_DECISION
    assert slots() == [0, 0, 0]
    view.step(np.array([1, 0, 1]))
    assert view.agent_selection == EMULATOR_CONFIG
    assert slots() == [1, -1, 1]
    view.step(np.array([0.2, 0.5, 0.8]))
    assert slots() == [0, 0, 0]
    # The retention of UE 1, the only one that trained locally.
    cached = view.observe(EMULATOR_CONFIG).reshape(3, 3)[:, 0]
    assert cached == pytest.approx([-5 / 3, 0.0, -5 / 3], abs=1e-6)


def test_rewards_come_when_both_have_acted():
    view = env(**SMALL)
    view.reset(seed=0)
    view.step(np.array([1, 0, 1]))
    assert view.rewards == dict.fromkeys(AGENTS, 0.0)
    view.step(np.array([0.2, 0.5, 0.8]))
    assert view.rewards[CASE_DECISION] == view.rewards[EMULATOR_CONFIG] < 0
    assert view.last()[1] == view.rewards[CASE_DECISION]


def test_a_reset_in_the_middle_of_an_episode_starts_afresh():
    view = env(**SMALL)
    view.reset(seed=0)
    first = view.observe(CASE_DECISION)
    for action in ([1, 0, 1], [0.2, 0.5, 0.8], [0, 0, 0]):
        view.step(np.array(action))
    view.reset(seed=0)
    assert view.agent_selection == CASE_DECISION
    observation, reward, *_ = view.last()
    assert np.array_equal(observation, first)
    assert reward == 0


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ({CASE_DECISION: [0, 2, 0]}, "case_decision action, UE 1 = 2: expected 0 or 1"),
        ({CASE_DECISION: [0, float("nan"), 0]}, "case_decision action, UE 1 = nan: expected 0"),
        ({CASE_DECISION: [0, 1]}, r"case_decision action has shape \(2,\): expected \(3,\)"),
        ({EMULATOR_CONFIG: [0.5, 0.9, 0.5]}, "emulator_config action, UE 1 = 0.9: expected a"),
        ({EMULATOR_CONFIG: [float("nan")] * 3}, "emulator_config action, UE 0 = nan: expected"),
        ({EMULATOR_CONFIG: [[0.5] * 3]}, r"emulator_config action has shape \(1, 3\): expected"),
    ],
)
def test_bad_actions_are_refused_by_name(actions, message):
    good = {CASE_DECISION: [0, 1, 0], EMULATOR_CONFIG: [0.5] * 3}
    parallel, in_turn = parallel_env(**SMALL), env(**SMALL)
    parallel.reset(seed=0)
    with pytest.raises(InputError, match=message):
        parallel.step({**good, **actions})
    in_turn.reset(seed=0)
    [agent] = actions
    if agent == EMULATOR_CONFIG:
        in_turn.step(good[CASE_DECISION])
    with pytest.raises(InputError, match=message):
        in_turn.step(actions[agent])
    # Refused, the turn is still the same agent's, and a good action goes through.
    assert in_turn.agent_selection == agent
    in_turn.step(good[agent])
    assert in_turn.agent_selection != agent


def test_missing_actions_and_steps_after_the_end():
    view = parallel_env(**SMALL)
    view.reset(seed=0)
    with pytest.raises(InputError, match="expected an action of emulator_config"):
        view.step({CASE_DECISION: [0, 1, 0]})
    for _ in range(4):
        view.step({CASE_DECISION: [0, 1, 0], EMULATOR_CONFIG: [0.5] * 3})
    with pytest.raises(InputError, match=r"step 5 of 4: expected reset\(\)"):
        view.step({CASE_DECISION: [0, 1, 0], EMULATOR_CONFIG: [0.5] * 3})


@pytest.mark.parametrize(
    ("make", "env_config", "message"),
    [
        (env, {"turn_based": False}, r"turn_based = False: expected True, or parallel_env\(\)"),
        (parallel_env, {"turn_based": True}, r"turn_based = True: expected False, or env\(\)"),
        (env, {"single_agent": True, "turn_based": False}, "single_agent = True: expected false"),
        (parallel_env, {"single_agent": True}, "single_agent = True: expected false"),
        (parallel_env, {"decentralised": True}, "decentralised = True: expected false"),
        (env, {"num_ue": 3}, "unknown env_config key 'num_ue': did you mean 'num_ues'?"),
        (parallel_env, {"num_ues": 0}, "num_ues = 0: expected a whole number >= 1"),
    ],
)
def test_configurations_are_checked(make, env_config, message):
    with pytest.raises(InputError, match=message):
        make(**env_config)


def test_an_experiment_may_name_it():
    made = resolve(NAME).check({"num_ues": 2, "num_tasks": 3})
    observations, _ = made.reset(seed=0)
    assert {agent: o.shape for agent, o in observations.items()} == {
        CASE_DECISION: (8,),
        EMULATOR_CONFIG: (6,),
    }
    for t in range(1, 4):
        actions = made.action_space.sample()
        *_, terminateds, truncateds, infos = made.step(actions)
        assert truncateds["__all__"] == (t == 3)
        assert not terminateds["__all__"]
    assert infos[CASE_DECISION]["episode_metrics"]["reward"] < 0
    with pytest.raises(InputError, match="did you mean 'num_ues'"):
        resolve(NAME).check({"num_ue": 2})


def test_without_pettingzoo_the_message_says_what_to_install(monkeypatch):
    module = "rllib_mec.envs.pettingzoo_views"
    monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "pettingzoo", None)
    with pytest.raises(ImportError, match=r"pip install rllib_mec\[pettingzoo\]"):
        importlib.import_module(module)
    with pytest.raises(InputError, match=r"pip install rllib_mec\[pettingzoo\]"):
        resolve(NAME)


def test_a_broken_pettingzoo_is_not_called_missing(monkeypatch):
    module = "rllib_mec.envs.pettingzoo_views"
    monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "pettingzoo.utils.wrappers", None)
    with pytest.raises(ImportError, match=r"^(?!.*pip install).*pettingzoo.utils.wrappers"):
        importlib.import_module(module)
