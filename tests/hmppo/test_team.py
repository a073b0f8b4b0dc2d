"""The team: slots are checked and filled in, and who knows what when."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from toy_teams import AGENTS, SLOTS, CopyEnv, box, entity_team, random_batch, toy_team

from rllib_mec.envs import make_env
from rllib_mec.errors import InputError
from rllib_mec.hmppo import Team


def test_slots_are_filled_with_codes_in_the_order_of_the_positions():
    team = toy_team()
    observations = torch.full((2, 6), 7.0)
    actions = {
        "leader": torch.tensor([[2.0], [0.0]]),
        "painter": torch.tensor([[1.0, 0.0], [0.0, 0.0]]),
    }
    filled = team.fill_slots("tail", observations, actions)
    # leader: one-hot at 1, 2, 3; painter: first coin at 5, second at 0.
    assert filled.tolist() == [[-1, 0, 0, 1, 7, 1], [-1, 1, 0, 0, 7, -1]]
    assert (observations == 7).all()


def test_only_slots_of_agents_that_have_decided_are_filled():
    team = toy_team()
    observations = torch.zeros(1, 6)
    filled = team.fill_slots("tail", observations, {"leader": torch.tensor([[1.0]])})
    assert filled.tolist() == [[0, 0, 1, 0, 0, 0]]
    assert team.fill_slots("leader", observations[:, :3], {}).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize(
    ("slots", "message"),
    [
        ({"painter": {"leader": (0, 1)}}, "2 positions: expected 3"),
        ({"painter": {"leader": (0, 1, 4)}}, "expected positions in the observation"),
        ({"painter": {"leader": (0, 1, -1)}}, "expected positions in the observation"),
        ({"leader": {"painter": (0, 1)}}, r"action_slots\[leader\]\[painter\].*acts earlier"),
        ({"painter": {"painter": (0, 1)}}, "acts earlier"),
        ({"painter": {"nobody": (0,)}}, "acts earlier"),
        ({"nobody": {"leader": (0, 1, 2)}}, "action_slots of 'nobody': expected one of"),
    ],
)
def test_slots_that_do_not_fit_are_refused(slots, message):
    with pytest.raises(InputError, match=message):
        Team(
            agents=AGENTS,
            observation_spaces=toy_team().observation_spaces,
            action_spaces=toy_team().action_spaces,
            slots=slots,
        )


def test_agent_ids_must_be_strings():
    with pytest.raises(InputError, match="agent 0: expected a string"):
        Team((0,), {0: box(1)}, {0: gym.spaces.Discrete(2)})


def test_team_of_an_environment():
    team = Team.of_env(CopyEnv())
    assert team.agents == AGENTS
    assert team.slots == SLOTS
    assert team.num_entities is None
    assert Team.from_dict(team.to_dict(), team.observation_spaces, team.action_spaces) == team


def test_team_of_the_mobile_edge():
    team = Team.of_env(make_env({"num_ues": 4}))
    assert team.agents == ("case_decision", "emulator_config")
    assert team.require_entities() == 4
    assert team.decision_points == {"case_decision": 0, "emulator_config": 1}


def test_agent_order_must_name_all_agents():
    env = CopyEnv()
    env.agent_order = AGENTS[:2]
    with pytest.raises(InputError, match=r"agent_order = .*expected all of"):
        Team.of_env(env)


def test_without_slots_nobody_knows_anything_and_there_is_one_point():
    assert set(toy_team(slots={}).decision_points.values()) == {0}


def test_decision_points_of_two_agents():
    team = toy_team(agents=AGENTS[:2])
    assert team.decision_points == {"leader": 0, "painter": 1}
    assert team.undecided_slots(0) == {"painter": [0, 1, 3]}
    assert team.undecided_slots(1) == {"painter": []}


def test_decision_points_of_three_agents():
    team = toy_team()
    assert team.decision_points == {"leader": 0, "painter": 1, "tail": 2}
    assert team.undecided_slots(0) == {"painter": [0, 1, 3], "tail": [0, 1, 2, 3, 5]}
    assert team.undecided_slots(1) == {"painter": [], "tail": [0, 5]}
    assert team.undecided_slots(2) == {"painter": [], "tail": []}


@pytest.mark.parametrize(
    ("slots", "points"),
    [
        ({"tail": {"leader": (1, 2, 3)}}, {"leader": 0, "painter": 1, "tail": 1}),
        ({"tail": {"painter": (5, 0)}}, {"leader": 0, "painter": 0, "tail": 1}),
    ],
)
def test_an_action_that_nobody_sees_makes_no_point(slots, points):
    assert toy_team(slots=slots).decision_points == points


def test_an_agents_own_action_is_undecided_at_its_point_and_earlier_ones_are_not():
    for slots in (SLOTS, {"tail": SLOTS["tail"]}, {"tail": {"painter": (5, 0)}}):
        team = toy_team(slots=slots)
        for index, agent in enumerate(AGENTS):
            undecided = team.undecided_slots(team.decision_points[agent])
            for observer, seen in slots.items():
                for other, positions in seen.items():
                    known = AGENTS.index(other) < index
                    assert set(positions).isdisjoint(undecided[observer]) == known


def test_entities_must_divide_observations_and_actions():
    assert entity_team(3).require_entities() == 3
    with pytest.raises(InputError, match="declares num_entities"):
        toy_team().require_entities()
    with pytest.raises(InputError, match="observation and action of leader to be 2 equal-shaped"):
        toy_team(num_entities=2).require_entities()


@pytest.mark.parametrize(
    "action_space",
    [
        gym.spaces.MultiDiscrete([2, 3]),
        gym.spaces.Box(0, 1, (3,)),
        gym.spaces.Dict({"a": gym.spaces.MultiBinary(2), "b": gym.spaces.Discrete(4)}),
    ],
)
def test_entities_with_unequal_actions_are_refused(action_space):
    team = Team(("a",), {"a": box(4)}, {"a": action_space}, num_entities=2)
    with pytest.raises(InputError, match="2 equal-shaped entities"):
        team.require_entities()


def test_observation_size_counts_every_axis():
    team = Team(("a",), {"a": box(2, 3)}, {"a": gym.spaces.Discrete(2)})
    assert team.observation_size("a") == 6


def test_filling_is_what_flatten_and_code_give():
    team = toy_team()
    observations, actions = random_batch(team, 20)
    filled = team.fill_slots("painter", observations["painter"], actions)
    code = team.codecs["leader"].code(actions["leader"])
    np.testing.assert_array_equal(filled[:, [3, 0, 1]], code)
    np.testing.assert_array_equal(filled[:, 2], observations["painter"][:, 2])
