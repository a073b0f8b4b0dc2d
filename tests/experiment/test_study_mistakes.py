"""Studies that cannot be: what is refused before anything runs, and with which place."""

import pytest
from short_studies import RETURN, WALK, study

from rllib_mec.errors import InputError
from rllib_mec.experiment.spec import read_file as read_experiments
from rllib_mec.experiment.study.spec import make, read_file
from rllib_mec.experiment.study.units import units_of


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_num_ues": [2]}, r"test_num_ues = \[2\]: expected num_ues, too"),
        (
            {"published": {"returns": [RETURN], "metric": "delay"}},
            "'delay': expected one of reward, mappo_return, which mpe-speaker-listener measures",
        ),
        ({"published": {"returns": []}}, "published.returns"),
    ],
)
def test_what_a_study_without_ues_cannot_say(change, message):
    with pytest.raises(InputError, match=message):
        units_of(make("walk", WALK | change))


@pytest.mark.parametrize(
    ("experiments", "message"),
    [
        ("e: {run: HMPPO, env: mec, config: {env_config: [1]}}", r"env_config = \[1\]: expected"),
        ("e: {run: HMPPO, env: mec, config: {env_config: field}}", "env_config = 'field': exp"),
        ("e: {run: HMPPO, env: mec}\nf: {run: PPO, env: mec}", "expected a file of one experiment"),
        ("e: {run: HMPPO}", r"b\.yaml:1: e\.env is missing"),
        (None, r"cannot read .*b\.yaml: No such file"),
    ],
)
def test_a_base_that_cannot_be_is_named_with_its_place(tmp_path, experiments, message):
    if experiments is not None:
        (tmp_path / "b.yaml").write_text(experiments)
    file = tmp_path / "f.yaml"
    shared = "s:\n  env: mec\n  num_ues: [2]\n  seeds: [0]\n  steps: 80\n"
    file.write_text(shared + "  base: b.yaml\n  variants: {a: {run: HMPPO}}\n")
    with pytest.raises(InputError, match=rf"f\.yaml:6: s\.base = 'b\.yaml': .*{message}"):
        read_file(file)
    file.write_text(shared + "  variants:\n    a: {run: HMPPO, base: b.yaml}\n")
    place = r"f\.yaml:7: s\.variants\.a\.base = 'b\.yaml'"
    with pytest.raises(InputError, match=f"{place}: .*{message}"):
        read_file(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": [1]}, "seed: unknown key: did you mean 'seeds'"),
        ({"num_ues": [0]}, "num_ues.0 = 0"),
        ({"num_ues": [6, 6]}, "6 comes twice"),
        ({"seeds": []}, r"^seeds = \[\]: expected at least 1 entry$"),
        ({"evaluation": 5}, "^evaluation = 5: expected a mapping$"),
        ({"variants": {5: {"run": "HMPPO"}}}, "^variants.5: the key is 5: expected a string, in"),
        ({"config": {5: 1}}, "^config.5: the key is 5: expected a string, in quotes$"),
        ({"variants": {"a": {"run": 5}}}, "^variants.a.run = 5: expected a string$"),
        ({"stacked": "no"}, "^stacked = 'no': expected true or false$"),
        ({"steps": 4.5}, "^steps = 4.5: expected a whole number$"),
        (
            {"published": {"returns": [RETURN, RETURN | {"value": "3"}]}},
            "^published.returns.1.value = '3': expected a number$",
        ),
        (
            {"published": {"returns": [RETURN | {"valu": 3}]}},
            "^published.returns.0.valu: unknown key: did you mean 'value'",
        ),
        ({"published": {"returns": [{}]}}, "^published.returns.0.algorithm is missing$"),
        ({"steps": "many"}, "steps = 'many': expected a whole number"),
        (
            {"evaluation": {"episode": 3}},
            "evaluation.episode: unknown key: did you mean 'episodes'",
        ),
        ({"variants": {}}, "^variants = {}: expected at least 1 entry$"),
        ({"variants": {"a": {"run": "HMPPO", "stop": {}}}}, "variants.a.stop: unknown key"),
        (
            {
                "evaluation": {"explored": True},
                "variants": {"a": {"run": "HMPPO"}, "a, explored": {"run": "IPPO"}},
            },
            "variants.a, explored: is the name of a with drawn actions, too",
        ),
        ({"config": {"env_config": {"num_ues": 3}}}, "num_ues: is set by num_ues of the study"),
        (
            {"variants": {"a": {"run": "HMPPO", "config": {"env_config": {"num_ues": 5}}}}},
            "variants.a.config.env_config.num_ues: is set by num_ues of the study",
        ),
        ({"config": {"env_config": "field"}}, "^config.env_config = 'field': expected a mapping"),
        ({"config": {"env_config": [1]}}, r"^config.env_config = \[1\]: expected a mapping"),
        (
            {"variants": {"a": {"run": "HMPPO", "config": {"env_config": [1]}}}},
            r"^variants.a.config.env_config = \[1\]: expected a mapping",
        ),
    ],
)
def test_forms_that_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        study(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"baselines": ["hld"]}, "baselines: .*'hld'"),
        ({"config": {"env_config": {"num_tsks": 5}}}, "^config.env_config: .*key 'num_tsks'"),
        ({"baselines": ["greedy"], "num_ues": [2, 40]}, "num_ues = 40"),
        ({"env": "mc"}, "env 'mc'"),
        ({"variants": {"a": {"run": "HMPO"}}}, "variants.a: .*did you mean 'HMPPO'"),
        ({"variants": {"a": {"run": "HMPPO", "config": {"gama": 1}}}}, "variants.a: .*gamma"),
        ({"variants": {"a": {"run": "HMPPO", "config": {"seed": 1}}}}, "seed is set by seeds"),
        (
            {"variants": {"a": {"run": "HMPPO", "config": {"num_env_runners": 2}}}},
            "num_env_runners = 2: expected 0",
        ),
        ({"variants": {"hold": {"run": "HMPPO"}}}, "is the name of a baseline"),
    ],
)
def test_what_cannot_work(change, message):
    with pytest.raises(InputError, match=message):
        units_of(study(**change))


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ("config: {lr: {grid_search: [1.0e-3]}}", r"f\.yaml:6: s\.config\.lr: a search space: "),
        (
            "config: {env_config: {num_tasks: {choice: [3, 4]}}}",
            r"f\.yaml:6: s\.config\.env_config\.num_tasks: a search space: ",
        ),
        ("base: base.yaml", r"f\.yaml:7: s\.variants\.a: config\.gamma: a search space: "),
    ],
)
def test_a_study_does_not_search(tmp_path, own, message):
    (tmp_path / "base.yaml").write_text(
        "e: {run: HMPPO, env: mec, config: {gamma: {uniform: [0.1, 0.9]}}}"
    )
    file = tmp_path / "f.yaml"
    file.write_text(
        f"s:\n  env: mec\n  num_ues: [2]\n  seeds: [0]\n  steps: 80\n  {own}\n"
        "  variants: {a: {run: HMPPO}}\n"
    )
    (made,) = read_file(file)
    with pytest.raises(InputError, match=f"{message}expected a value in a study"):
        units_of(made)
    # A value on top of a base's search is one.
    config = {"lr": 0.1, "gamma": 0.5, "env_config": {"num_tasks": 3}}
    made.form.variants["a"].config = config
    assert [unit.variant for unit in units_of(made)] == ["a"]


def test_an_unknown_environment_is_named_where_it_stands():
    with pytest.raises(InputError, match=r"^env: unknown env 'mecc'"):
        units_of(study(env="mecc"))
    variants = {"a": {"run": "HMPPO", "env": "mecc"}}
    with pytest.raises(InputError, match=r"^variants\.a\.env: unknown env 'mecc'"):
        units_of(study(variants=variants))


@pytest.mark.parametrize(
    "variant",
    [
        {"run": "HMPPO"},
        {"run": "PPO", "shared": False, "config": {"num_env_runners": 0}},
        {
            "run": "DQN",
            "env": "mec-case-decision",
            "shared": False,
            "config": {"num_env_runners": 0},
        },
    ],
)
def test_a_policy_that_fits_one_number_of_ues_alone(variant):
    variants = {"a": variant}
    change = {"num_ues": [2], "baselines": [], "seeds": [4]}
    with pytest.raises(InputError, match="test_num_ues: 4: expected 2, as a is trained"):
        units_of(study(variants=variants, test_num_ues=[2, 4], **change))
    (unit,) = units_of(study(variants=variants, test_num_ues=[2], **change))
    assert unit.tested == (2,)


def test_policies_that_fit_any_number_of_ues():
    variants = {
        "entities": {"run": "HMPPO", "config": {"entity_shared": True}},
        "random": {"run": "random", "shared": False},
        "members": {"run": "IPPO", "config": {"env_config": {"decentralised": True}}},
    }
    change = {"num_ues": [2], "baselines": [], "seeds": [4], "variants": variants}
    assert {unit.tested for unit in units_of(study(test_num_ues=[2, 4], **change))} == {(2, 4)}


def test_experiments_and_studies_are_told_apart(tmp_path):
    file = tmp_path / "f.yaml"
    file.write_text("# comment\ns: {env: mec, seeds: [0], steps: 80, variants: {a: {run: HMPPO}}}")
    with pytest.raises(InputError, match=r"f\.yaml:2: s: is a study: use `rllib study`$"):
        read_experiments(file)
    file.write_text("# comment\ne: {run: HMPPO, env: mec, num_samples: 2}")
    with pytest.raises(InputError, match=r"f\.yaml:2: e: is an experiment: use `rllib train file`"):
        read_file(file)


def test_errors_name_file_and_line(tmp_path):
    file = tmp_path / "f.yaml"
    file.write_text("s:\n  env: mec\n  num_ues: [2]\n  sede: [0]\n")
    with pytest.raises(InputError, match=r"f\.yaml:4: s\.sede: unknown key"):
        read_file(file)
