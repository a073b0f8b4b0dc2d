"""Studies on measured curves: the one that is kept, and what tells its units apart."""

import shutil
from pathlib import Path

import pytest
from made_up_profiles import CODE, REFERENCE, rows_of, write

from rllib_mec.errors import InputError
from rllib_mec.experiment.study.carry_out import carry_out
from rllib_mec.experiment.study.spec import make, read_file
from rllib_mec.experiment.study.units import units_of
from rllib_mec.system import Scenario
from rllib_mec.system.profile import write_profile

STUDIES = Path(__file__).parents[2] / "tuned_examples" / "studies"
PROFILE = "tuned_examples/profiles/offline.parquet"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A directory with a profile where the kept study looks for it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / PROFILE).parent.mkdir(parents=True)
    write(tmp_path / PROFILE)
    return tmp_path


def scenario_of(unit):
    config = unit.form.get("config", unit.form)["env_config"]
    return Scenario.of(config["scenario"], num_ues=unit.num_ues)


def test_the_kept_studies_differ_in_the_curve_alone(here):
    studies = read_file(STUDIES / "measured.yaml")
    names = ["quadratic", "f", "plug-in", "emulator-tuned"]
    assert [study.name for study in studies] == [f"measured-{name}" for name in names]
    forms = [study.form.model_dump() for study in studies]
    scenarios = [form["config"]["env_config"].pop("scenario") for form in forms]
    assert all(form == forms[0] for form in forms)
    assert len({str(scenario) for scenario in scenarios}) == 4
    made = [units_of(study) for study in studies]
    assert [[unit.variant for unit in own] for own in made] == [
        ["hold", "all-server", "greedy", "HMPPO"]
    ] * 4
    units = {name: own[-1] for name, own in zip(names, made, strict=True)}
    assert {(unit.seeds, unit.steps, unit.episodes) for unit in units.values()} == {
        ((0, 1, 2, 3, 4), 100_000, 500)
    }
    assert scenario_of(units["quadratic"]) == Scenario.of("field", num_ues=6)
    assert scenario_of(units["f"]) == Scenario.of("field", num_ues=6, emulator_tuned=None)
    curves = scenario_of(units["plug-in"]).quality.curves
    assert curves[0] == tuple(REFERENCE.items())
    worse = scenario_of(units["emulator-tuned"]).quality.curves
    assert worse[0][0] == (0.2, 2 * REFERENCE[0.2])


def test_without_the_profile_the_place_is_named(here):
    (here / PROFILE).unlink()
    *_, plug_in, _ = read_file(STUDIES / "measured.yaml")
    with pytest.raises(InputError, match=r"measured\.yaml:\d+.*offline\.parquet"):
        units_of(plug_in)


def units(quality):
    """A baseline's unit and a trained one."""
    scenario = {"base": "field", "emulator_tuned": False, "quality": quality}
    form = {
        "env": "mec",
        "num_ues": [2],
        "seeds": [0],
        "steps": 80,
        "baselines": ["hold"],
        "config": {"env_config": {"scenario": scenario}},
        "variants": {"HMPPO": {"run": "HMPPO"}},
    }
    return units_of(make("s", form))


def test_units_are_told_apart_by_the_curves(here):
    before = [unit.name for unit in units({"profile": PROFILE})]
    shutil.copy(PROFILE, "copy.parquet")
    assert [unit.name for unit in units({"profile": "copy.parquet"})] == before
    write_profile(here / "copy.parquet", rows_of({"reference": CODE, "code": REFERENCE}), {})
    changed = [unit.name for unit in units({"profile": "copy.parquet"})]
    assert not set(changed) & set(before)
    tuned = units({"profile": PROFILE, "metric": "emulator_tuned"})
    assert not {unit.name for unit in tuned} & set(before)


@pytest.mark.ray
def test_a_unit_needs_no_profile_and_says_what_was_decided(here, ray_session):
    study = read_file(STUDIES / "measured.yaml", seeds=2, steps=800)[-1]
    study.form.evaluation.episodes = 4
    made = units_of(study)
    (here / PROFILE).unlink()
    rows = [row for unit in made for row in carry_out(unit, here / unit.name, print).runs]
    assert [row["variant"] for row in rows] == ["hold", "all-server", "greedy", "HMPPO", "HMPPO"]
    hold, server, *_ = rows
    # Some batteries are too small to hold with.
    assert 0 < hold["server_share"] < server["server_share"] == 1
    for row in rows:
        assert (row["local_retention"] is None) == (row["server_share"] == 1)
