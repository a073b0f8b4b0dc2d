"""Random valid actions, for every form of the environment."""

import numpy as np
import pytest

from rllib_mec.envs import CASE_DECISION, EMULATOR_CONFIG


@pytest.fixture
def draw_actions():
    """Returns a function that draws the actions of both agents for B environments, (B, …)."""

    def draw(scenario, rng, num_envs):
        shape = (num_envs, scenario.num_ues)
        low, high = scenario.retention
        emulator = rng.uniform(low, high, shape).astype(np.float32)
        if scenario.emulator_action == "keep_or_retention":
            emulator = {"keep": rng.integers(0, 2, shape), "retention": emulator}
        return {CASE_DECISION: rng.integers(0, 2, shape), EMULATOR_CONFIG: emulator}

    return draw


@pytest.fixture
def of_env():
    """Returns a function that picks environment k's part of batched actions."""

    def pick(actions, k):
        return {
            agent: {key: part[k] for key, part in action.items()}
            if isinstance(action, dict)
            else action[k]
            for agent, action in actions.items()
        }

    return pick
