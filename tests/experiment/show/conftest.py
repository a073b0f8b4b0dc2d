"""Checkpoints whose episodes are shown."""

import pytest
from shown_forms import save


@pytest.fixture(scope="session")
def trained(ray_session, tmp_path_factory):
    """Returns a function that gives the checkpoint of a form, the same at each call."""
    made = {}

    def of(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp("trained") / name
            save(name, made[name])
        return made[name]

    return of
