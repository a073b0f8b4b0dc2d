"""Checkpoints as training runs write them."""

import pytest
from forms import FORMS, plan_of


@pytest.fixture(scope="session")
def saved(ray_session, tmp_path_factory):
    """Returns a function that gives a checkpoint after one iteration, the same at each call."""
    made = {}

    def of(name):
        if name not in made:
            plan = plan_of(FORMS[name])
            trial = plan.trainable(config=plan.param_space)
            trial.train()
            made[name] = tmp_path_factory.mktemp("saved") / name
            trial.save(str(made[name]))
            trial.stop()
        return made[name]

    return of
