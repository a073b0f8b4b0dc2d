"""A short study, for the tests of what its form means and of what is refused."""

from rllib_mec.experiment.study.spec import make

FORM = {
    "env": "mec",
    "num_ues": [2, 3],
    "seeds": [4, 5],
    "steps": 800,
    "evaluation": {"episodes": 20, "seed": 7},
    "baselines": ["hold"],
    "config": {
        "lr": [[0, 1e-3], ["steps", 1e-5]],
        "env_config": {"num_tasks": 5},
        "model_config": {"fcnet_hiddens": [8], "initial_log_std": 0.5},
    },
    "variants": {"HMPPO": {"run": "HMPPO"}},
}


RETURN = {"algorithm": "MAPPO", "value": -12.0, "steps": 800, "source": "a paper"}


WALK = {
    "env": "mpe-speaker-listener",
    "seeds": [4, 5],
    "steps": 800,
    "config": {"env_config": {"max_cycles": 5}},
    "variants": {"HMPPO": {"run": "HMPPO"}, "long": {"run": "HMPPO", "steps": 1600}},
    "published": {"metric": "mappo_return", "returns": [RETURN]},
}
"""One of an environment without UEs."""


def study(**change):
    return make("study", FORM | change)
