"""Any situation is scaled to the numbers that the agents of a running system see, bit for bit."""

import subprocess
import sys

import numpy as np
import pytest

from rllib_mec.envs import BatchedMECEnv
from rllib_mec.envs.fedpeat import BatchedFedPEATEnv

CONFIGS = {
    "paper": {},
    "paper with memory": {"model_size_gb": 5.4, "memory": True},
    "full": {"observation": "full", "emulator_action": "layers"},
    "field": {"scenario": "field"},
    "field without batteries": {"scenario": "field", "energy": False},
    "field without devices": {"scenario": "field", "compute": False, "memory": False},
    "one agent": {"scenario": "field", "single_agent": True},
}


def sampled(env):
    """Random actions of all environments in a batch."""
    drawn = {}
    for agent, space in env.action_spaces.items():
        actions = [space.sample() for _ in range(env.num_envs)]
        drawn[agent] = stacked(actions)
    return drawn


def stacked(actions):
    if isinstance(actions[0], dict):
        return {key: stacked([action[key] for action in actions]) for key in actions[0]}
    return np.stack(actions)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_situation_of_mec_is_seen_as_the_agents_see_it(config):
    env = BatchedMECEnv({"num_ues": 4, **config}, 3)
    seen, done = env.reset(5), False
    while not done:
        left = max(env.scenario.num_tasks - env.simulator.t, 1)
        numbers = env.agents.numbers.of(env.simulator.last_situation, left)
        again = env.agents.lay_out(numbers)
        for agent, observation in seen.items():
            np.testing.assert_array_equal(again[agent], observation)
        seen, _, _, done = env.step(sampled(env))


def test_a_situation_does_not_hang_on_the_episode_that_is_running():
    env = BatchedMECEnv({"scenario": "field"}, 2)
    env.reset(1)
    first = env.simulator.last_situation
    before = env.agents.numbers.of(first, 50)
    env.step(sampled(env))
    env.reset(2)
    np.testing.assert_array_equal(env.agents.numbers.of(first, 50), before)


@pytest.mark.parametrize("agents", [1, 3, 4])
def test_a_situation_of_fedpeat_is_seen_as_the_agents_see_it(agents):
    env = BatchedFedPEATEnv({"num_ues": 4, "agents": agents}, 3)
    seen, done = env.reset(5), False
    while not done:
        again = env.agents.lay_out(env.agents.numbers.of(env.federation.last_situation))
        for agent, observation in seen.items():
            np.testing.assert_array_equal(again[agent], observation)
        seen, _, _, done = env.step(sampled(env))


def test_observations_need_no_ray():
    code = (
        "import sys, rllib_mec.envs.fedpeat, rllib_mec.envs as envs\n"
        "envs.BatchedMECEnv({}, 1).reset(0)\n"
        "assert 'ray' not in sys.modules\n"
        "assert envs.MECEnv.__name__ == 'MECEnv' and 'ray' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
