"""What the agents observe, and which actions they may take."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_mec.envs import CASE_DECISION, EMULATOR_CONFIG
from rllib_mec.envs.agents import Agents
from rllib_mec.errors import InputError
from rllib_mec.system import Scenario, Simulator

SMALL = Scenario(num_ues=3, num_tasks=4)
KEEP = Scenario(num_ues=3, emulator_action="keep_or_retention")
NAN = float("nan")


def started(scenario, seed=0, num_envs=2):
    simulator = Simulator(scenario, num_envs)
    simulator.reset(seed)
    return simulator


def test_case_decision_observes_gain_complexity_data_and_cache_ue_by_ue():
    simulator = started(SMALL)
    simulator.step(np.zeros((2, 3), dtype=bool), np.array([[0.2, 0.5, 0.8]] * 2))
    observation = Agents(SMALL).observe_case_decision(simulator).reshape(2, 3, 4)
    tasks = simulator.tasks
    # The gain at sqrt(50 * 500) m is 1e-3 / 25000 = 4e-8
    gain = np.log10(simulator.last_gain / 4e-8)
    assert observation[..., 0] == pytest.approx(gain, rel=1e-5, abs=1e-5)
    assert observation[..., 1] == pytest.approx((tasks.complexity - 20) / 10, abs=1e-6)
    assert observation[..., 2] == pytest.approx((tasks.data_mb - 400) / 100, abs=1e-6)
    assert observation[..., 3] == pytest.approx(np.array([[-1.0, 0.0, 1.0]] * 2), abs=1e-6)


def test_emulator_config_observes_cache_case_and_complexity_ue_by_ue():
    simulator = started(SMALL)
    agents = Agents(SMALL)
    server = np.array([[True, False, True], [False, False, True]])
    observation = agents.observe_emulator_config(simulator, server).reshape(2, 3, 3)
    # Nothing cached: (0 - 0.5) / 0.3
    assert observation[..., 0] == pytest.approx(np.full((2, 3), -5 / 3))
    assert observation[..., 1].tolist() == [[1, -1, 1], [-1, -1, 1]]
    assert observation[..., 2] == pytest.approx((simulator.tasks.complexity - 20) / 10, abs=1e-6)
    not_yet = agents.observe_emulator_config(simulator, None).reshape(2, 3, 3)
    assert np.all(not_yet[..., 1] == 0)
    assert np.array_equal(not_yet[..., ::2], observation[..., ::2])


def test_action_slots_say_where_the_case_decision_goes():
    simulator, agents = started(SMALL), Agents(SMALL)
    server = np.array([[True, False, True], [False, False, True]])
    filled = agents.observe_emulator_config(simulator, None)
    filled[:, agents.action_slots[EMULATOR_CONFIG][CASE_DECISION]] = np.where(server, 1, -1)
    assert np.array_equal(filled, agents.observe_emulator_config(simulator, server))


def test_deep_fades_are_cut_at_60_db():
    simulator = started(SMALL)
    simulator.episode.first_gain[:] = [0.0, 4e-14, 4e-13]
    gain = Agents(SMALL).observe_case_decision(simulator).reshape(2, 3, 4)[..., 0]
    assert gain == pytest.approx(np.array([[-6, -6, -5]] * 2), abs=1e-5)


def test_constants_are_observed_as_zero():
    scenario = Scenario(num_ues=2, complexity=[20, 20], data_size_mb=[400, 400])
    observation = Agents(scenario).observe_case_decision(started(scenario)).reshape(2, 2, 4)
    assert np.all(observation[..., 1:3] == 0)


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 1000),
    st.integers(1, 5),
    st.sampled_from(("retention", "layers", "keep_or_retention")),
)
def test_observations_are_of_order_one_and_in_their_spaces(seed, num_ues, reading):
    scenario = Scenario(num_ues=num_ues, emulator_action=reading)
    agents, simulator = Agents(scenario), started(scenario, seed, 3)
    rng = np.random.default_rng(seed)
    shape = (3, num_ues)
    for _ in range(3):
        server = rng.random(shape) < 0.5
        first = agents.observe_case_decision(simulator)
        second = agents.observe_emulator_config(simulator, server)
        for agent, observation in ((CASE_DECISION, first), (EMULATOR_CONFIG, second)):
            space = agents.observation_spaces[agent]
            assert all(space.contains(row) for row in observation)
        ues = first.reshape(3, num_ues, 4)
        # At 50 m 10 dB above typical; fading exceeds 15 dB with probability e^-31.
        assert np.all((ues[..., 0] >= -6) & (ues[..., 0] <= 2.5))
        assert np.all(np.abs(ues[..., 1:3]) <= 1 + 1e-6)
        cached = ues[..., 3]
        assert np.all((np.abs(cached) <= 1 + 1e-6) | np.isclose(cached, -5 / 3))
        simulator.step(server, rng.uniform(0.2, 0.8, shape), rng.random(shape) < 0.5)


@pytest.mark.parametrize(
    "scenario", [SMALL, KEEP, Scenario(num_ues=1)], ids=["retention", "keep", "alone"]
)
def test_sampled_actions_are_valid(scenario):
    agents = Agents(scenario)
    for agent, space in agents.action_spaces.items():
        space.seed(0)
        for _ in range(20):
            action = space.sample()
            assert space.contains(action)
            if agent == CASE_DECISION:
                server = agents.read_case_decision(action[None], 1)
                assert np.array_equal(server[0], action == 1)
                continue
            parts = action if isinstance(action, dict) else {"retention": action}
            batch = {key: part[None] for key, part in parts.items()}
            retention, keep = agents.read_emulator_config(
                batch if "keep" in batch else batch["retention"], 1
            )
            assert retention[0] == pytest.approx(parts["retention"], abs=1e-6)
            assert np.all((retention >= 0.2) & (retention <= 0.8))
            assert (keep is None) == ("keep" not in parts)
            assert keep is None or np.array_equal(keep[0], parts["keep"] == 1)


def test_float32_overshoot_is_a_bound():
    top = np.full((1, 3), 0.8, dtype=np.float32)
    assert top.astype(float).max() > 0.8
    retention, _ = Agents(SMALL).read_emulator_config(top, 1)
    assert retention.tolist() == [[0.8] * 3]


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ([[0, 2, 1]], "case_decision action, UE 1 = 2: expected 0 or 1"),
        ([[0, 1, 0.5]], "case_decision action, UE 2 = 0.5: expected 0 or 1"),
        ([[NAN, 1, 1]], "case_decision action, UE 0 = nan: expected 0 or 1"),
        ([[0, 1]], "case_decision action has shape (2,): expected (3,), one entry per UE"),
        ([1], "case_decision action has shape (): expected (3,), one entry per UE"),
        ([None], "case_decision action has shape (): expected (3,), one entry per UE"),
        (["up"], "case_decision action = ['up']: expected numbers"),
        ([[0, [1], 1]], "case_decision action = [[0, [1], 1]]: expected numbers"),
    ],
)
def test_bad_case_decisions_are_refused_by_name(action, message):
    with pytest.raises(InputError) as caught:
        Agents(SMALL).read_case_decision(action, 1)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ([[0.5, 0.9, 0.5]], ", UE 1 = 0.9: expected a retention in [0.2, 0.8]"),
        ([[0.1, 0.5, 0.5]], ", UE 0 = 0.1: expected a retention in [0.2, 0.8]"),
        ([[0.5, 0.5, NAN]], ", UE 2 = nan: expected a retention in [0.2, 0.8]"),
        ([[float("inf")] * 3], ", UE 0 = inf: expected a retention in [0.2, 0.8]"),
        ([[0.5] * 4], " has shape (4,): expected (3,), one entry per UE"),
    ],
)
def test_bad_retentions_are_refused_by_name(action, message):
    with pytest.raises(InputError) as caught:
        Agents(SMALL).read_emulator_config(action, 1)
    assert str(caught.value) == f"emulator_config action{message}"
    with pytest.raises(InputError) as caught:
        Agents(KEEP).read_emulator_config({"keep": [[0, 1, 0]], "retention": action}, 1)
    assert str(caught.value) == f"emulator_config action[retention]{message}"


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ([[0.5] * 3], "expected a dict of keep and retention"),
        ({"retention": [[0.5] * 3]}, "expected a dict of keep and retention"),
        ({"keep": [[0] * 3], "retention": [[0.5] * 3], "more": 1}, "a dict of keep and retention"),
        ({"keep": [[0, 2, 0]], "retention": [[0.5] * 3]}, r"\[keep\], UE 1 = 2: expected 0 or 1"),
        ({"keep": [[0, NAN, 0]], "retention": [[0.5] * 3]}, r"\[keep\], UE 1 = nan: expected"),
    ],
)
def test_bad_keep_or_retention_is_refused_by_name(action, message):
    with pytest.raises(InputError, match=message) as caught:
        Agents(KEEP).read_emulator_config(action, 1)
    assert str(caught.value).startswith("emulator_config action")


def test_errors_of_a_batch_name_the_first_bad_entry():
    with pytest.raises(InputError, match=r"UE 2 = 7: expected 0 or 1"):
        Agents(SMALL).read_case_decision([[0, 1, 0], [0, 1, 7]], 2)
    with pytest.raises(InputError, match=r"has shape \(1, 3\): expected \(3,\)"):
        Agents(SMALL).read_case_decision([[0, 1, 0]], 2)
