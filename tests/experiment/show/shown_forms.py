"""Policies whose episodes the tests show, trained for a moment, in every form of environment."""

from rllib_mec.experiment.plan import prepare
from rllib_mec.experiment.spec import make

TINY = {"num_ues": 3, "num_tasks": 6}
FIELD = {"scenario": "field", **TINY}
ROUNDS = {"num_ues": 3, "num_rounds": 6}
SMALL = {
    "num_env_runners": 0,
    "train_batch_size_per_learner": 40,
    "minibatch_size": 20,
    "num_epochs": 1,
}


def _form(run, env, env_config, **settings):
    return {"run": run, "env": env, "config": {"env_config": env_config, **SMALL, **settings}}


FORMS = {
    "published": _form("HMPPO", "mec", TINY),
    "single_agent": _form("PPO", "mec", {**TINY, "single_agent": True}),
    "turn_based": _form("PPO", "mec", {**TINY, "turn_based": True}),
    "decentralised": _form("HMPPO", "mec", {**TINY, "decentralised": True}),
    "field": _form("HMPPO", "mec", FIELD, case_head="autoregressive", entity_shared=True),
    "case_decision": {
        "run": "DQN",
        "env": "mec-case-decision",
        "config": {"env_config": TINY, "min_sample_timesteps_per_iteration": 40},
    },
    "fedpeat": _form("HMPPO", "fedpeat", {**ROUNDS, "agents": 4}, ratio="branch"),
    "sabppo": _form("SABPPO", "fedpeat", ROUNDS),
    "CartPole": {"run": "PPO", "env": "CartPole-v1", "config": SMALL},
}
OF_MEC = ("published", "single_agent", "turn_based", "decentralised", "field", "case_decision")
OF_FEDPEAT = ("fedpeat", "sabppo")


def save(name, path):
    """Trains a form for an iteration and writes its checkpoint."""
    plan = prepare(make("exp", FORMS[name]))
    trial = plan.trainable(config=plan.param_space)
    trial.train()
    trial.save(str(path))
    trial.stop()
