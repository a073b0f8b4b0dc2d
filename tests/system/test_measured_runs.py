"""Experiments on measured curves: no worker and no checkpoint needs the profile."""

import json

import numpy as np
import pytest
import yaml
from made_up_profiles import CODE, REFERENCE, write

from rllib_mec import registry
from rllib_mec.baselines import BestRetentionConfig
from rllib_mec.errors import InputError
from rllib_mec.experiment.environments import without_files
from rllib_mec.experiment.evaluate import evaluate
from rllib_mec.experiment.plan import prepare
from rllib_mec.experiment.record import record
from rllib_mec.experiment.spec import make
from rllib_mec.system import Scenario

FIELD = {"scenario": "field", "num_ues": 3, "num_tasks": 5, "emulator_tuned": False}
CURVES = [[list(point) for point in curve.items()] for curve in (REFERENCE, CODE)]
WORSE = [[[e, p if e == 1 else 2 * p] for e, p in curve] for curve in CURVES]


@pytest.fixture
def profile(tmp_path, monkeypatch):
    """The relative path of a profile."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "p.parquet")
    return "p.parquet"


def test_an_env_config_gets_the_curves(profile, tmp_path):
    quality = {"profile": profile, "server_perplexity": None}
    found = without_files("mec", {**FIELD, "quality": quality})
    assert found["quality"]["curves"] == CURVES
    assert found["quality"]["server_perplexity"] is None
    assert found["quality"]["profile"] == str(tmp_path / "p.parquet")
    inside = without_files("mec", {"scenario": {"base": "published", "quality": quality}})
    assert inside["scenario"]["quality"]["curves"] == CURVES
    assert without_files("mec", found) == found
    assert json.loads(json.dumps(found)) == found
    assert without_files("CartPole-v1", {"quality": quality}) == {"quality": quality}
    assert without_files("mec", {"quality": False}) == {"quality": False}


def test_the_curves_of_a_scenarios_file_come_along(profile, tmp_path):
    scenario = {"base": "field", "emulator_tuned": False, "quality": {"profile": profile}}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(scenario))
    given = {"scenario": "s.yaml", "quality": {"metric": "emulator_tuned"}}
    found = without_files("mec", given)
    assert found["scenario"]["quality"]["curves"] == CURVES
    assert found["quality"]["curves"] == WORSE
    (tmp_path / "p.parquet").unlink()
    values = dict(found)
    read = Scenario.of(values.pop("scenario"), **values)
    assert read.quality.curves == tuple(tuple(map(tuple, curve)) for curve in WORSE)


@pytest.mark.parametrize(
    "search",
    [
        {"profile": "p.parquet", "metric": {"grid_search": ["plug_in", "emulator_tuned"]}},
        {"profile": {"grid_search": ["p.parquet", "p.parquet"]}},
        {"grid_search": [{"profile": "p.parquet"}, {"profile": "p.parquet", "tasks": ["code"]}]},
    ],
    ids=["metric", "profile", "all"],
)
def test_trials_may_differ_in_their_curves(profile, tmp_path, search):
    env_config = {**FIELD, "quality": search}
    plan = prepare(make("x", {"run": "HMPPO", "env": "mec", "config": {"env_config": env_config}}))
    assert plan.num_trials == 2
    first, second = (config.env_config for config in plan.configs)
    assert str(tmp_path / "p.parquet") in (
        first["quality"]["profile"],
        second["quality"]["profile"],
    )
    assert "'p.parquet'" not in repr((first, second))


def test_a_fault_of_the_profile_names_the_setting_and_the_file(profile, tmp_path):
    (tmp_path / profile).write_text("no profile")
    form = {
        "run": "hold",
        "env": "mec",
        "config": {"env_config": {"quality": {"profile": profile}}},
    }
    with pytest.raises(InputError) as caught:
        prepare(make("x", form))
    assert "env_config" in str(caught.value)
    assert f"{tmp_path / profile}: expected a Parquet file" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["hold", "best-fixed", "greedy", "greedy-coordinate", "all-server", "random", "oracle"]
)
def test_all_that_can_be_evaluated_takes_measured_curves(profile, name):
    env_config = {**FIELD, "quality": {"profile": profile}}
    metrics = evaluate(name, "mec", env_config, 4, 0)
    bound = evaluate("oracle", "mec", env_config, 4, 0)
    assert np.isfinite(metrics["reward"]).all()
    assert (metrics["reward"] <= bound["reward"] + 1e-9).all()


def test_traces_go_with_measured_curves(profile, tmp_path):
    measured = {**FIELD, "quality": {"profile": profile}}
    record(measured, 2, 0, tmp_path / "two")
    drawn = evaluate("hold", "mec", measured, 2, 0)
    replayed = evaluate("hold", "mec", {**measured, "trace": "two"}, 2, 0)
    np.testing.assert_array_equal(drawn["reward"], replayed["reward"])
    # The field's third domain is no task of the profile.
    record(FIELD, 2, 0, tmp_path / "three")
    with pytest.raises(InputError, match=r"domain .* = 2: expected a domain of the scenario, 0 to"):
        evaluate("hold", "mec", {**measured, "trace": "three"}, 2, 0)


def test_best_retention_is_for_the_papers_curve_alone(profile):
    registry.register()
    config = BestRetentionConfig().environment("mec", env_config={"quality": {"profile": profile}})
    with pytest.raises(InputError, match="best-retention: scenario published has quality: expect"):
        config.validate()


@pytest.mark.ray
@pytest.mark.parametrize("batched", [True, False])
def test_remote_workers_train_when_the_profile_is_gone(profile, tmp_path, ray_session, batched):
    config = {
        "env_config": {**FIELD, "quality": {"profile": profile}},
        "num_env_runners": 1,
        "num_envs_per_env_runner": 2,
        "train_batch_size_per_learner": 20,
        "minibatch_size": 10,
        "num_epochs": 1,
        "batched": batched,
        "entity_shared": True,
    }
    plan = prepare(make("x", {"run": "HMPPO", "env": "mec", "config": config}))
    (tmp_path / profile).unlink()
    algorithm = plan.configs[0].build_algo()
    try:
        result = algorithm.train()
    finally:
        algorithm.stop()
    assert np.isfinite(result["env_runners"]["episode_return_mean"])
