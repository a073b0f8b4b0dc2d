"""Environments that misbehave on command, wherever their processes are.

A command is a file in a directory that all processes see: one for all environments, or for those of
one runner. Environments look for it at every call.
"""

import json
import os
import pathlib
import signal
import sys
import time

import numpy as np
import toy_teams
from ray import cloudpickle
from ray.tune.registry import register_env
from toy_teams import MobileEdge, toy_config

from rllib_mec.envs import BatchedMECEnv

# Runners need not find these modules.
cloudpickle.register_pickle_by_value(toy_teams)
cloudpickle.register_pickle_by_value(sys.modules[__name__])

MEC = {"num_ues": 2, "num_tasks": 8}
AGENT = "case_decision"


class FaultError(RuntimeError):
    pass


class Faults:
    """The commands of a test: which fault, at which call ("make", "reset" or "step")."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)

    def begin(self, fault, call="step", runner="all", once=False, **more):
        """``once``: whoever does it first takes the command away."""
        order = {"fault": fault, "call": call, "once": once, **more}
        aside = self.directory / "new"
        aside.write_text(json.dumps(order))
        aside.rename(self._file(runner))

    def end(self, runner="all"):
        self._file(runner).unlink(missing_ok=True)

    def ordered(self, runner="all"):
        """Whether the command is still there."""
        return self._file(runner).exists()

    def commit(self, runner, call, number=0):
        """Does what is ordered; returns the order if it is about numbers."""
        for name in (f"runner_{runner}", "all"):
            try:
                order = json.loads((self.directory / name).read_text())
            except FileNotFoundError:
                continue
            if order["call"] != call or order.get("number", number) != number:
                continue
            if order["once"]:
                try:
                    (self.directory / name).unlink()
                except FileNotFoundError:
                    continue
            return _do(order)
        return None

    def _file(self, runner):
        return self.directory / (runner if runner == "all" else f"runner_{runner}")


def _do(order):
    fault = order["fault"]
    if fault == "raise":
        raise FaultError(f"no licence to {order['call']}")
    if fault == "exit":
        os._exit(3)
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "slow":
        time.sleep(order["seconds"])
    while fault == "hang":
        time.sleep(0.05)
    return order


class FaultyEnv(MobileEdge):
    """The MEC environment; ``env_config["faults"]`` is the commands' directory."""

    def __init__(self, env_config=None):
        self.faults = Faults(env_config["faults"])
        self.runner = getattr(env_config, "worker_index", 0)
        self.steps = 0
        self.faults.commit(self.runner, "make")
        super().__init__(MEC)

    def batched(self, num_envs):
        return FaultyBatch(self.faults, self.runner, num_envs)

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        order = self.faults.commit(self.runner, "reset")
        observations, infos = super().reset(seed=seed, options=options)
        if order and "observation" in order:
            observations[AGENT][3] = order["observation"]
        return observations, infos

    def step(self, actions):
        self.steps += 1
        order = self.faults.commit(self.runner, "step", self.steps)
        observations, rewards, *rest = super().step(actions)
        if order and "observation" in order:
            observations[AGENT][3] = order["observation"]
        if order and "reward" in order:
            rewards[AGENT] = order["reward"]
        return observations, rewards, *rest


class FaultyBatch(BatchedMECEnv):
    """The same in batches; wrong numbers are those of environment 1."""

    def __init__(self, faults, runner, num_envs):
        super().__init__(MEC, num_envs)
        self.faults, self.runner, self.steps = faults, runner, 0

    def reset(self, seed=None):
        self.steps = 0
        order = self.faults.commit(self.runner, "reset")
        observations = super().reset(seed)
        if order and "observation" in order:
            observations[AGENT][1, 3] = order["observation"]
        return observations

    def step(self, actions):
        self.steps += 1
        order = self.faults.commit(self.runner, "step", self.steps)
        observations, rewards, *rest = super().step(actions)
        if order and "observation" in order:
            observations[AGENT][1, 3] = order["observation"]
        if order and "reward" in order:
            rewards = np.where(np.arange(len(rewards)) == 1, order["reward"], rewards)
        return observations, rewards, *rest


def faulty_config(directory, runners=2, **training):
    """A configuration whose remote runners (0: the local one) obey the commands."""
    register_env("faulty", FaultyEnv)
    made = toy_config("faulty", {"faults": str(directory)}, **training)
    return made.env_runners(num_env_runners=runners)
