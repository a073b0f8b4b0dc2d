"""The same work as HMPPO's, in plain PyTorch without any framework: what the hardware allows.

    python tests/benchmarks/bare_loop.py tuned_examples/hmppo-published-6ue.yaml

Two actors and one critic evaluated at two decision points, GAE, clipped surrogates, Adam; on the
batched environment. Written for the benchmarks alone: one scenario, few options.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from bare_networks import EntityActor, EntityCritic, PlainCritic, mlp
from torch import Tensor, nn
from torch.nn import functional

from rllib_mec.envs import CASE_DECISION, EMULATOR_CONFIG, BatchedMECEnv

GAMMA, LAMBDA, CLIP, GRAD_CLIP, ENTROPY = 0.8, 0.95, 0.2, 0.5, 0.002


class BareLoop:
    """``iterate()`` samples one episode of every environment and learns from it.

    Args:
        lr: points [step, rate] of a piecewise linear schedule.
    """

    def __init__(
        self,
        env_config: dict[str, Any],
        num_envs: int,
        hidden: list[int],
        minibatch: int,
        epochs: int,
        entity_shared: bool = False,
        initial_log_std: float = 0.0,
        lr: Sequence[Sequence[float]] = ((0, 1e-3),),
    ) -> None:
        self.env = BatchedMECEnv(env_config, num_envs)
        self.slot = torch.tensor(self.env.action_slots[EMULATOR_CONFIG][CASE_DECISION])
        self.minibatch, self.epochs, self.steps = minibatch, epochs, 0
        self.schedule = np.array(lr).T
        n = self.env.num_entities
        if entity_shared:
            self.case: nn.Module = EntityActor(n, 4, hidden)
            self.emulator: nn.Module = EntityActor(n, 3, hidden)
            self.critic: nn.Module = EntityCritic(n, hidden)
        else:
            self.case, self.emulator = mlp(4 * n, hidden, n), mlp(3 * n, hidden, n)
            self.critic = PlainCritic(n, hidden)
        # All entities share theirs.
        self.log_std = nn.Parameter(torch.full((1 if entity_shared else n,), initial_log_std))
        self.groups = (
            list(self.case.parameters()),
            [*self.emulator.parameters(), self.log_std],
            list(self.critic.parameters()),
        )
        self.optimiser = torch.optim.Adam([p for group in self.groups for p in group])

    def iterate(self) -> int:
        """Returns the steps taken."""
        rows = self.sample()
        self.steps += len(rows[0])
        self.optimiser.param_groups[0]["lr"] = float(np.interp(self.steps, *self.schedule))
        self.learn(*rows)
        return len(rows[0])

    @torch.no_grad()
    def sample(self) -> tuple[Tensor, ...]:
        """Returns flat rows: observations, actions and log probs of both, advantages, returns."""
        observed = self.env.reset()
        steps: list[tuple[Tensor, ...]] = []
        done = False
        while not done:
            o1 = torch.from_numpy(observed[CASE_DECISION])
            o2 = torch.from_numpy(observed[EMULATOR_CONFIG]).clone()
            logits = self.case(o1)
            z = torch.bernoulli(torch.sigmoid(logits))
            o2[:, self.slot] = 2 * z - 1
            mean = self.emulator(o2)
            a = mean + self.log_std.exp() * torch.randn_like(mean)
            retention = (0.5 + 0.3 * a.clamp(-1, 1)).numpy()
            observed, reward, _, done = self.env.step(
                {CASE_DECISION: z.numpy(), EMULATOR_CONFIG: retention}
            )
            log1, log2 = self.coin(logits, z), self.gauss(mean, a)
            steps.append((o1, o2, z, a, log1, log2, torch.from_numpy(reward).float()))
        o1, o2, z, a, log1, log2, rewards = (
            torch.stack(column) for column in zip(*steps, strict=True)
        )
        last = (
            torch.from_numpy(observed[CASE_DECISION]),
            torch.from_numpy(observed[EMULATOR_CONFIG]),
        )
        values = self.values(o1, o2)
        final = self.values(*last)[..., 0]
        advantages = torch.empty_like(rewards)
        following, running = final, torch.zeros_like(final)
        for t in range(len(rewards) - 1, -1, -1):
            delta = rewards[t] + GAMMA * following - values[t, :, 0]
            running = delta + GAMMA * LAMBDA * running
            advantages[t] = running
            following = values[t, :, 0]
        returns = advantages + values[..., 0]
        flat = (column.flatten(0, 1) for column in (o1, o2, z, a, log1, log2))
        both = (returns[..., None] - values).flatten(0, 1)
        both = (both - both.mean(0)) / both.std(0)
        target = returns.flatten()
        return (*flat, both, (target - target.mean()) / target.std())

    def learn(self, *rows: Tensor) -> None:
        count = len(rows[0])
        for _ in range(self.epochs):
            order = torch.randperm(count)
            for start in range(0, count, self.minibatch):
                o1, o2, z, a, old1, old2, advantages, target = (
                    column[order[start : start + self.minibatch]] for column in rows
                )
                logits, mean = self.case(o1), self.emulator(o2)
                loss = self.surrogate(self.coin(logits, z) - old1, advantages[:, 0])
                loss = loss + self.surrogate(self.gauss(mean, a) - old2, advantages[:, 1])
                p = torch.sigmoid(logits)
                entropy = (functional.softplus(logits) - p * logits).sum(-1).mean()
                loss = loss - ENTROPY * (entropy + self.log_std.expand_as(mean[0]).sum())
                loss = loss + (self.values(o1, o2) - target[:, None]).square().mean()
                self.optimiser.zero_grad(set_to_none=True)
                loss.backward()
                for group in self.groups:
                    nn.utils.clip_grad_norm_(group, GRAD_CLIP)
                self.optimiser.step()

    def values(self, o1: Tensor, o2: Tensor) -> Tensor:
        """Values before and after agent 1's action is known, (…, 2)."""
        before = o2.clone()
        before[..., self.slot] = 0.0
        marker = torch.eye(2).expand(*o1.shape[:-1], 2, 2)
        seen = torch.stack([before, o2], dim=-2)
        both = o1.unsqueeze(-2).expand(*o1.shape[:-1], 2, o1.shape[-1])
        return self.critic(both, seen, marker)

    @staticmethod
    def coin(logits: Tensor, z: Tensor) -> Tensor:
        return functional.logsigmoid(logits * (2 * z - 1)).sum(-1)

    def gauss(self, mean: Tensor, a: Tensor) -> Tensor:
        z = (a - mean) * (-self.log_std).exp()
        return (-0.5 * z * z - self.log_std - 0.5 * math.log(2 * math.pi)).sum(-1)

    @staticmethod
    def surrogate(log_ratio: Tensor, advantages: Tensor) -> Tensor:
        ratio = log_ratio.exp()
        return -torch.min(ratio * advantages, ratio.clamp(1 - CLIP, 1 + CLIP) * advantages).mean()


def of_file(file: Path) -> tuple[BareLoop, int]:
    """Returns the loop with the settings of an experiment's YAML file, and its steps."""
    (form,) = yaml.safe_load(file.read_text()).values()
    config = form["config"]
    fixed = ("gamma", "lambda_", "clip_param", "grad_clip", "entropy_coeff")
    assert [config[name] for name in fixed] == [GAMMA, LAMBDA, CLIP, GRAD_CLIP, ENTROPY]
    torch.manual_seed(config["seed"])
    loop = BareLoop(
        config["env_config"],
        config["num_envs_per_env_runner"],
        config["model_config"]["fcnet_hiddens"],
        config["minibatch_size"],
        config["num_epochs"],
        config["entity_shared"],
        config["model_config"]["initial_log_std"],
        config["lr"],
    )
    # An iteration samples one episode of each environment.
    rows = loop.env.num_envs * loop.env.scenario.num_tasks
    assert config["train_batch_size_per_learner"] == rows
    return loop, form["stop"]["num_env_steps_sampled_lifetime"]


def main() -> None:
    torch.set_num_threads(1)
    loop, steps = of_file(Path(sys.argv[1]))
    while loop.steps < steps:
        loop.iterate()


if __name__ == "__main__":
    main()
