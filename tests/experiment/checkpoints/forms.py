"""Experiments whose checkpoints the tests look at, small enough to train in a moment."""

from rllib_mec.experiment.plan import prepare
from rllib_mec.experiment.spec import make

TINY = {"num_ues": 2, "num_tasks": 5}
SMALL = {
    "num_env_runners": 0,
    "train_batch_size_per_learner": 40,
    "minibatch_size": 20,
    "num_epochs": 1,
}
FORMS = {
    "HMPPO": {"run": "HMPPO", "env": "mec", "config": {"env_config": TINY, **SMALL, "gamma": 0.7}},
    "PPO": {
        "run": "PPO",
        "env": "mec",
        "config": {"env_config": {**TINY, "single_agent": True}, **SMALL},
    },
    "turn_based": {
        "run": "PPO",
        "env": "mec",
        "config": {"env_config": {**TINY, "turn_based": True}, **SMALL},
    },
    "CartPole": {"run": "PPO", "env": "CartPole-v1", "config": SMALL},
    "DQN": {
        "run": "DQN",
        "env": "mec-case-decision",
        "config": {"env_config": TINY, "min_sample_timesteps_per_iteration": 40},
    },
    "hold": {"run": "hold", "env": "mec", "config": {"env_config": TINY}},
    "stack": {
        "run": "HMPPO",
        "env": "mec",
        "seeds": [0, 1],
        "config": {"env_config": TINY, **SMALL},
    },
}


def plan_of(form, **changes):
    return prepare(make("exp", {**form, **changes}))
