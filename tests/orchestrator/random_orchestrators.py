"""Orchestrators of policies with random weights, and whether two decisions are the same."""

from random_policies import policy_of

from rllib_mec.experiment import environments
from rllib_mec.experiment.export.write import About, write_policy
from rllib_mec.orchestrator import Orchestrator

SHARED = {"entity_shared": True}


IN_TURN = {**SHARED, "case_head": "autoregressive"}


FIELD = {"scenario": "field", "num_ues": 4}


def orchestrator_of(folder, algorithm, env, env_config, training):
    """A random policy, and the orchestrator of its export."""
    policy = policy_of(algorithm, env, env_config, **training)
    scenario = environments.scenario(env, env_config)
    about = About(algorithm, {"name": env, "config": env_config}, scenario)
    write_policy(policy, about, folder / "exported")
    return policy, Orchestrator(folder / "exported")


def alike(one, other, tolerance=2e-5):
    """Whether two mappings are the same, numbers up to a tolerance."""
    assert set(one) == set(other)
    for name, value in one.items():
        if isinstance(value, float) and other[name] is not None:
            assert abs(value - other[name]) <= tolerance * max(1.0, abs(value)), (name, one, other)
        else:
            assert value == other[name], (name, one, other)
    return True
