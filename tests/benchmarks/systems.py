"""What the throughput benchmark measures: systems that do the same work, an iteration at a time.

``stock``: RLlib's PPO on the turn-based environment; ``episodes``: HMPPO by RLlib's episodes;
``batched``: HMPPO as it is by default; ``compiled``: the same with ``compiled=True``; ``bare``: a
loop in plain PyTorch; ``seeds8``: eight seeds of ``batched`` in one stack.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bare_loop import BareLoop
from ray.rllib.algorithms.ppo import PPOConfig

from rllib_mec.experiment.plan import prepare
from rllib_mec.experiment.spec import read_file
from rllib_mec.hmppo import HMPPOConfig
from rllib_mec.hmppo.config import module_of_agent
from rllib_mec.hmppo.stacked import StackedTraining

ROOT = Path(__file__).parents[2]
TASKS = 50
"""Steps of an episode; an iteration samples one episode of every environment."""

SEEDS = 8
ENTROPY = 0.002

Work = dict[str, Any]

WORKS: dict[str, Work] = {
    "large": {"num_ues": 8, "num_envs": 64, "minibatch": 400, "epochs": 10, "hidden": [128, 128]},
    "small": {"num_ues": 6, "num_envs": 8, "minibatch": 100, "epochs": 10, "hidden": [64, 64]},
    "tuned": {"file": "tuned_examples/hmppo-published-6ue.yaml"},
}


class Training:
    """An RLlib algorithm in this process, with clocks on its sampling and its learning.

    RLlib's own timers are smoothed over iterations.
    """

    def __init__(self, config: Any, steps: int) -> None:
        self.algorithm, self.steps = config.build_algo(), steps
        self.split: dict[str, list[float]] = {"sampling_s": [], "learning_s": []}
        runner, learners = self.algorithm.env_runner, self.algorithm.learner_group
        runner.sample = self._timed(runner.sample, "sampling_s")
        learners.update = self._timed(learners.update, "learning_s")

    def _timed(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            result = function(*args, **kwargs)
            self.split[name].append(time.perf_counter() - began)
            return result

        return call

    def iterate(self) -> int:
        """Returns the steps taken; a step is one task of every UE."""
        self.algorithm.train()
        return self.steps

    def stop(self) -> None:
        self.algorithm.stop()


class Stack:
    """Eight seeds in one process."""

    def __init__(self, config: Any, steps: int) -> None:
        self.steps = SEEDS * steps
        self.stack = StackedTraining(config, [{"seed": seed} for seed in range(SEEDS)])

    def iterate(self) -> int:
        """Returns the steps that all have taken together."""
        self.stack.train()
        return self.steps

    def stop(self) -> None:
        self.stack.stop()


def described(work: Work) -> Work:
    """Returns the work with what its file says, if it has one."""
    if "file" not in work:
        return work
    config = hmppo(work)
    return work | {
        "num_ues": config.env_config["num_ues"],
        "num_envs": config.num_envs_per_env_runner,
        "minibatch": config.minibatch_size,
        "epochs": config.num_epochs,
        "hidden": config.model_config["fcnet_hiddens"],
        "entity_shared": config.entity_shared,
    }


def hmppo(work: Work, num_envs: int | None = None, **training: Any) -> Any:
    """Returns HMPPO's configuration; ``num_envs`` goes before the work's."""
    if "file" in work:
        (experiment,) = read_file(ROOT / work["file"], {})
        return prepare(experiment).configs[0].training(**training)
    config = HMPPOConfig().environment("mec", env_config={"num_ues": work["num_ues"]})
    config.env_runners(num_env_runners=0, num_envs_per_env_runner=num_envs or work["num_envs"])
    config.training(
        train_batch_size_per_learner=work["num_envs"] * TASKS,
        minibatch_size=work["minibatch"],
        num_epochs=work["epochs"],
        entropy_coeff=ENTROPY,
        **training,
    )
    return config.rl_module(model_config={"fcnet_hiddens": work["hidden"]})


def stock(work: Work, num_envs: int) -> Any:
    env_config = {"num_ues": work["num_ues"], "turn_based": True}
    config = PPOConfig().environment("mec", env_config=env_config)
    config.multi_agent(
        policies={"case_decision", "emulator_config"}, policy_mapping_fn=module_of_agent
    )
    config.env_runners(num_env_runners=0, num_envs_per_env_runner=num_envs)
    config.training(
        train_batch_size_per_learner=2 * work["num_envs"] * TASKS,  # two turns per task
        minibatch_size=work["minibatch"],
        num_epochs=work["epochs"],
        entropy_coeff=ENTROPY,
        use_kl_loss=False,
    )
    return config.rl_module(model_config={"fcnet_hiddens": work["hidden"]})


def systems(work: Work) -> dict[str, Callable[[], Any]]:
    """Returns what makes each system, by name; a work from a file has HMPPO's own only."""
    known = described(work)
    steps = known["num_envs"] * TASKS
    fewer = min(known["num_envs"], 32)  # more only slow RLlib's own sampler down
    others: dict[str, Callable[[], Any]] = {
        "stock": lambda: Training(stock(work, fewer), steps),
        "episodes": lambda: Training(hmppo(work, fewer, batched=False), steps),
        "bare": lambda: BareLoop(
            {"num_ues": work["num_ues"]},
            work["num_envs"],
            work["hidden"],
            work["minibatch"],
            work["epochs"],
        ),
    }
    return ({} if "file" in work else others) | {
        "batched": lambda: Training(hmppo(work, batched=True), steps),
        "compiled": lambda: Training(hmppo(work, batched=True, compiled=True), steps),
        "seeds8": lambda: Stack(hmppo(work, batched=True), steps),
    }
