"""Studies whose ``env_config`` names files: units are told apart by what the files say."""

import pytest
import yaml

from rllib_mec.experiment.record import record
from rllib_mec.experiment.study.spec import make
from rllib_mec.experiment.study.units import units_of
from rllib_mec.system import Scenario


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Paths are relative to a directory of the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def units(env_config):
    """A baseline's unit and a trained one."""
    form = {
        "env": "mec",
        "num_ues": [2],
        "seeds": [0],
        "steps": 80,
        "evaluation": {"episodes": 2},
        "baselines": ["hold"],
        "config": {"env_config": env_config},
        "variants": {"HMPPO": {"run": "HMPPO"}},
    }
    return units_of(make("s", form))


def names(env_config):
    return [unit.name for unit in units(env_config)]


def write(path, **scenario):
    path.write_text(yaml.safe_dump({"base": "published", **scenario}))


@pytest.mark.parametrize("suffix", [".yaml", ".yml"])
@pytest.mark.parametrize("in_a_mapping", [False, True])
def test_an_edited_scenario_is_another_one(here, suffix, in_a_mapping):
    file = here / f"scen{suffix}"
    write(file, num_tasks=5)
    scenario = {"base": file.name, "uplink_bandwidth_hz": 2e6} if in_a_mapping else file.name
    before = names({"scenario": scenario})
    file.rename(here / f"elsewhere{suffix}")
    moved = f"elsewhere{suffix}"
    scenario = {**scenario, "base": moved} if in_a_mapping else moved
    assert names({"scenario": scenario}) == before
    write(here / moved, num_tasks=6)
    assert not set(names({"scenario": scenario})) & set(before)


def test_a_unit_has_the_scenario_itself(here):
    write(here / "a.yaml", num_tasks=7)
    write(here / "b.yaml", base="a.yaml", compute=True)
    made = units({"scenario": "b.yaml", "uplink_bandwidth_hz": 2e6})
    (here / "a.yaml").unlink()
    (here / "b.yaml").unlink()
    for unit in made:
        values = dict(unit.form.get("config", unit.form)["env_config"])
        scenario = Scenario.of(values.pop("scenario"), **values)
        assert (scenario.num_tasks, scenario.uplink_bandwidth_hz) == (7, 2e6)
        assert scenario.compute is not None


def test_what_names_no_file_stays_as_it_is():
    """So that kept units of older versions are found."""
    for env_config in ({}, {"scenario": "published"}, {"scenario": {"base": "published"}}):
        baseline, trained = units(env_config)
        assert baseline.form["env_config"] == env_config
        assert trained.form["config"]["env_config"] == {**env_config, "num_ues": 2}
        assert (baseline.trace, trained.trace) == (None, None)


def test_another_trace_in_the_same_place_is_another_one(here):
    record({"num_ues": 2, "num_tasks": 5}, 3, 0, here / "trace")
    env_config = {"trace": "trace", "num_tasks": 5}
    before = names(env_config)
    assert names(env_config) == before
    (here / "trace").rename(here / "old")
    record({"num_ues": 2, "num_tasks": 5}, 3, 1, here / "trace")
    assert not set(names(env_config)) & set(before)
