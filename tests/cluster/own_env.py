"""What users send along with a job: environments that tell where and from what they were made.

Copied into the working directories of jobs; not imported by the tests.
"""

import os
import time
from pathlib import Path

import gymnasium as gym
import ray
from ray.rllib.callbacks.callbacks import RLlibCallback

import rllib_mec
from rllib_mec.envs import make_env


def sent_mec(env_config):
    """The environment mec, if the package is the one that was sent (see test_jobs.py)."""
    if rllib_mec.__version__ != "0.0.0+sent":
        raise RuntimeError(f"not what was sent: {rllib_mec.__file__}")
    return make_env(env_config)


class Slow(gym.Env):
    """Takes ``seconds`` for a step and ends after ten."""

    def __init__(self, env_config):
        self.seconds = env_config.get("seconds", 0.0)
        self.observation_space = gym.spaces.Box(0.0, 1.0, (2,))
        self.action_space = gym.spaces.Discrete(2)
        _note("runner", env_config.get("folder"))

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        time.sleep(self.seconds)
        self.steps += 1
        return self.observation_space.sample(), 1.0, self.steps == 10, False, {}


class NoteMain(RLlibCallback):
    """Notes where the main process is."""

    def on_algorithm_init(self, *, algorithm, **kwargs):
        _note("main", algorithm.config.env_config.get("folder"))


def _note(role, folder):
    """Writes the node of this process to ``folder``, if it is one of a trial."""
    if folder and ray.is_initialized() and ray.get_runtime_context().get_actor_id():
        node = ray.get_runtime_context().get_node_id()
        Path(folder, f"{role}-{os.getpid()}").write_text(node)
