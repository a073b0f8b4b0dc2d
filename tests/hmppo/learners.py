"""Learners without an algorithm around them, batches for them, and what an update leaves."""

import numpy as np
import torch
from toy_teams import random_batch

from rllib_mec.hmppo.learning.learner import HMPPOTorchLearner
from rllib_mec.hmppo.team_batch import TeamBatch

ROWS, SEGMENTS = 60, 4
SETTINGS = {"minibatch_size": 16, "num_epochs": 2, "shuffle_batch_per_epoch": True}
TIMESTEPS = {"num_env_steps_sampled_lifetime": 0}


class ByAutograd(HMPPOTorchLearner):
    """The same losses, as any subclass may have its own."""

    def compute_losses(self, **kwargs):
        return super().compute_losses(**kwargs)


def build(config, seed=1, by_autograd=False):
    config = config.copy(copy_frozen=False).debugging(seed=seed)
    config.learners(learner_class=ByAutograd if by_autograd else None)
    config.validate()
    torch.manual_seed(seed)
    return config.build_learner()


def batch_for(learner, seed=0):
    """Random steps on which the learner's own policy acts."""
    team = learner.plan.team
    generator = np.random.default_rng(seed)
    observations, _ = random_batch(team, ROWS, seed)
    final, _ = random_batch(team, SEGMENTS, seed + 100)
    torch.manual_seed(seed)
    actions, log_probs, parameters = learner.module.act(observations, explore=True)
    columns = (observations, actions, log_probs, parameters)
    return TeamBatch(
        *({a: value.numpy() for a, value in column.items()} for column in columns),
        rewards=generator.normal(3, 2, ROWS).astype(np.float32),
        lengths=np.full(SEGMENTS, ROWS // SEGMENTS),
        final_observations={a: value.numpy() for a, value in final.items()},
        terminated=generator.random(SEGMENTS) < 0.5,
    )


def update(learner, batch, **kwargs):
    torch.manual_seed(0)
    return learner.update(episodes=[batch], timesteps=TIMESTEPS, **SETTINGS | kwargs)


def state(learner):
    modules = {mid: learner.module[mid].unwrapped().state_dict() for mid in learner.module_configs}
    moments = {mid: learner.get_optimizer(mid).state_dict()["state"] for mid in modules}
    return {"modules": modules, "moments": moments}


def assert_same(ours, theirs, rtol=2e-4, atol=2e-6):
    torch.testing.assert_close(state(ours), state(theirs), rtol=rtol, atol=atol)
