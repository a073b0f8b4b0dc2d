"""What an env_config may hold."""

import pytest

from rllib_mec.envs import EnvConfig, MECEnv, TurnBasedMECEnv, make_env
from rllib_mec.errors import InputError
from rllib_mec.system import Scenario


@pytest.mark.parametrize("env_config", [None, {}, {"scenario": "published"}])
def test_default_is_the_published_scenario_with_both_agents_in_a_step(env_config):
    assert EnvConfig.of(env_config) == EnvConfig(Scenario(), turn_based=False)
    assert isinstance(make_env(env_config), MECEnv)


def test_other_keys_override_the_scenario():
    config = EnvConfig.of({"scenario": {"num_ues": 3, "num_tasks": 7}, "num_ues": 4})
    assert config.scenario == Scenario(num_ues=4, num_tasks=7)
    assert make_env({"scenario": "published-8bit"}).scenario.bits_per_byte == 8


def test_a_scenario_may_come_from_a_file(tmp_path):
    file = tmp_path / "small.yaml"
    file.write_text("num_ues: 2\nnum_tasks: 3\n")
    assert EnvConfig.of({"scenario": str(file)}).scenario == Scenario(num_ues=2, num_tasks=3)


def test_turn_based():
    assert isinstance(make_env({"turn_based": True, "num_ues": 2}), TurnBasedMECEnv)


def test_the_env_config_is_left_as_it_is():
    env_config = {"scenario": {"num_ues": 3}, "turn_based": True, "num_tasks": 4}
    make_env(env_config)
    assert env_config == {"scenario": {"num_ues": 3}, "turn_based": True, "num_tasks": 4}


@pytest.mark.parametrize(
    ("env_config", "message"),
    [
        ({"num_ue": 3}, "unknown env_config key 'num_ue': did you mean 'num_ues'?"),
        ({"turn_base": True}, "unknown env_config key 'turn_base': did you mean 'turn_based'?"),
        ({"name": "mine"}, "unknown env_config key 'name': "),
        ({"turn_based": "yes"}, "env_config.turn_based = 'yes': expected true or false"),
        ({"single_agent": 1}, "env_config.single_agent = 1: expected true or false"),
        (
            {"single_agent": True, "turn_based": True},
            "env_config.single_agent = True: expected false with turn_based",
        ),
        ({"scenario": "publishd"}, "unknown scenario 'publishd': did you mean 'published'?"),
        ({"num_ues": 0}, "scenario published.num_ues = 0: expected a whole number >= 1"),
    ],
)
def test_what_makes_no_sense_is_refused(env_config, message):
    with pytest.raises(InputError) as caught:
        make_env(env_config)
    assert str(caught.value).startswith(message)
