"""Studies in a YAML file: what they mean."""

import pytest
from short_studies import FORM, WALK, study

from rllib_mec.errors import InputError
from rllib_mec.experiment.study.spec import config_of, make, read_file
from rllib_mec.experiment.study.units import units_of


def test_a_variant_goes_on_top_of_what_is_shared():
    variants = {
        "own": {"run": "HMPPO", "config": {"model_config": {"fcnet_hiddens": [4]}, "gamma": 0.5}}
    }
    form = study(variants=variants).form
    config = config_of(form, form.variants["own"], 3)
    assert config["model_config"] == {"fcnet_hiddens": [4], "initial_log_std": 0.5}
    assert config["gamma"] == 0.5
    assert config["env_config"] == {"num_tasks": 5, "num_ues": 3}


def test_the_word_steps_is_the_number_of_steps():
    variants = {"long": {"run": "HMPPO", "steps": 1200}, "short": {"run": "HMPPO"}}
    form = study(variants=variants).form
    assert config_of(form, form.variants["long"], 2)["lr"][1] == [1200, 1e-5]
    assert config_of(form, form.variants["short"], 2)["lr"][1] == [800, 1e-5]


def test_what_is_not_shared():
    variants = {"alone": {"run": "PPO", "shared": False, "config": {"gamma": 0.9}}}
    form = study(variants=variants).form
    config = config_of(form, form.variants["alone"], 2)
    assert config == {"gamma": 0.9, "env_config": {"num_tasks": 5, "num_ues": 2}}


def test_seeds_are_stacked_where_that_is_possible():
    variants = {
        "HMPPO": {"run": "HMPPO"},
        "episodes": {"run": "HMPPO", "config": {"batched": False}},
        "random": {"run": "random", "shared": False},
    }
    made = units_of(study(variants=variants, num_ues=[2], baselines=[]))
    assert [(unit.variant, unit.seeds) for unit in made] == [
        ("HMPPO", (4, 5)),
        ("episodes", (4,)),
        ("episodes", (5,)),
        ("random", (4,)),
        ("random", (5,)),
    ]
    assert len({unit.name for unit in made}) == len(made)


def test_a_study_without_ues_has_the_env_config_as_it_is():
    units = units_of(make("walk", WALK))
    assert [(unit.variant, unit.num_ues, unit.tested) for unit in units] == [
        ("HMPPO", None, (None,)),
        ("long", None, (None,)),
    ]
    assert {unit.form["config"]["env_config"]["max_cycles"] for unit in units} == {5}
    assert not any("num_ues" in unit.form["config"]["env_config"] for unit in units)
    assert [unit.name.startswith("HMPPO-mpe-speaker-listener-") for unit in units] == [True, True]
    assert units[0].label == "walk: HMPPO"


def test_what_is_published_changes_no_unit():
    units = units_of(make("walk", WALK))
    without = {key: value for key, value in WALK.items() if key != "published"}
    assert [u.name for u in units_of(make("walk", without))] == [u.name for u in units]


def test_names_of_units_stay():
    """So that kept units of older versions are found."""
    names = [unit.name for unit in units_of(study(seeds=[4]))]
    assert names == [
        "hold-2ue-28659204",
        "hold-3ue-107d030c",
        "HMPPO-2ue-seed4-f5fc7977",
        "HMPPO-3ue-seed4-c3bc478e",
    ]


def test_units_of_baselines_and_variants():
    config = FORM["config"] | {"entity_shared": True}
    made = units_of(study(test_num_ues=[2, 8], config=config))
    assert [(u.variant, u.kind, u.num_ues, u.tested) for u in made] == [
        ("hold", "baseline", 2, (2,)),
        ("hold", "baseline", 3, (3,)),
        ("hold", "baseline", 8, (8,)),
        ("HMPPO", "trained", 2, (2, 8)),
        ("HMPPO", "trained", 3, (2, 8)),
    ]


def test_a_unit_is_another_one_when_its_results_would_be():
    name = units_of(study())[-1].name
    assert units_of(study())[-1].name == name
    for change in (
        {"steps": 1200},
        {"seeds": [4, 6]},
        {"evaluation": {"episodes": 21, "seed": 7}},
        {"config": {**FORM["config"], "gamma": 0.1}},
    ):
        assert units_of(study(**change))[-1].name != name


def test_a_shorter_form(tmp_path):
    file = tmp_path / "f.yaml"
    file.write_text(
        """
one:
  env: mec
  num_ues: [2]
  seeds: [0, 1, 2]
  steps: 800
  variants:
    HMPPO: {run: HMPPO}
    few: {run: HMPPO, seeds: [7], steps: 400}
two: {env: mec, num_ues: [2], seeds: [0], steps: 800, variants: {IPPO: {run: IPPO}}}
"""
    )
    one, two = read_file(file, seeds=2, steps=600)
    assert (one.form.seeds, one.form.steps) == ([0, 1], 600)
    assert (one.form.variants["few"].seeds, one.form.variants["few"].steps) == ([7], 600)
    assert (two.form.seeds, two.form.steps) == ([0], 600)


def test_a_base_is_shared(tmp_path):
    (tmp_path / "base.yaml").write_text(
        "e: {run: HMPPO, env: mec, config: {seed: 3, gamma: 0.5, lr: 0.1, "
        "env_config: {num_ues: 9, num_tasks: 5}}}"
    )
    (tmp_path / "studies").mkdir()
    file = tmp_path / "studies" / "f.yaml"
    file.write_text(
        "s: {env: mec, num_ues: [2], seeds: [0], steps: 80, base: ../base.yaml, "
        "config: {lr: 0.2}, variants: {IPPO: {run: IPPO}}}"
    )
    (made,) = read_file(file)
    assert config_of(made.form, made.form.variants["IPPO"], 2) == {
        "gamma": 0.5,
        "lr": 0.2,
        "env_config": {"num_tasks": 5, "num_ues": 2},
    }
    file.write_text(
        "s: {env: mec, num_ues: [2], seeds: [0], steps: 80, config: {lr: 0.2}, "
        "variants: {own: {run: HMPPO, base: ../base.yaml, config: {gamma: 0.7}}}}"
    )
    (made,) = read_file(file)
    assert config_of(made.form, made.form.variants["own"], 2) == {
        "gamma": 0.7,
        "lr": 0.1,
        "env_config": {"num_tasks": 5, "num_ues": 2},
    }
    file.write_text(file.read_text().replace("base.yaml", "bse.yaml"))
    with pytest.raises(InputError, match=r"cannot read .*bse\.yaml"):
        read_file(file)


def test_an_empty_env_config_is_none(tmp_path):
    base = tmp_path / "base.yaml"
    base.write_text("e: {run: HMPPO, env: mec, config: {gamma: 0.5, env_config: }}")
    form = {
        "config": {"env_config": None},
        "variants": {
            "own": {"run": "HMPPO", "config": {"env_config": None}},
            "based": {"run": "HMPPO", "base": str(base)},
        },
    }
    made = study(**form).form
    for label in ("own", "based"):
        assert config_of(made, made.variants[label], 2)["env_config"] == {"num_ues": 2}
    assert config_of(made, made.variants["based"], 2)["gamma"] == 0.5
    # Nothing on top of what a base says leaves it.
    base.write_text("e: {run: HMPPO, env: mec, config: {env_config: {num_tasks: 5}}}")
    made = study(**form, base=str(base)).form
    assert config_of(made, made.variants["own"], 2)["env_config"] == {"num_tasks": 5, "num_ues": 2}


def test_whole_numbers_may_be_written_as_powers_of_ten(tmp_path):
    file = tmp_path / "f.yaml"
    file.write_text(
        "s: {env: mec, num_ues: [2e0], seeds: [0, 1e0], steps: 4e2, evaluation: {episodes: 1e2}, "
        "variants: {a: {run: HMPPO, steps: 3e5}}}"
    )
    (powers,) = read_file(file)
    assert (powers.form.steps, powers.form.variants["a"].steps) == (400, 300_000)
    file.write_text(
        "s: {env: mec, num_ues: [2], seeds: [0, 1], steps: 400, evaluation: {episodes: 100}, "
        "variants: {a: {run: HMPPO, steps: 300000}}}"
    )
    (whole,) = read_file(file)
    assert [unit.name for unit in units_of(powers)] == [unit.name for unit in units_of(whole)]
