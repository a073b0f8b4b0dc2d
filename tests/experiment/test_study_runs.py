"""Studies that run: their results, what is done again and what is not, and failures."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import ray
from pyarrow import parquet

from rllib_mec.experiment.evaluate import evaluate
from rllib_mec.experiment.study import carry_out as module
from rllib_mec.experiment.study import run
from rllib_mec.experiment.study.carry_out import Done, carry_out
from rllib_mec.experiment.study.results import CURVES_SCHEMA, RUNS_SCHEMA
from rllib_mec.experiment.study.spec import make
from rllib_mec.experiment.study.units import units_of
from rllib_mec.system import DECISIONS, METRICS

FORM = {
    "env": "mec",
    "num_ues": [2],
    "test_num_ues": [2, 4],
    "seeds": [4, 5],
    "steps": 240,
    "evaluation": {"episodes": 20, "seed": 7},
    "baselines": ["hold"],
    "config": {
        "env_config": {"num_tasks": 5},
        "num_envs_per_env_runner": 2,
        "train_batch_size_per_learner": 40,
        "minibatch_size": 20,
        "num_epochs": 1,
        "entity_shared": True,
        "model_config": {"fcnet_hiddens": [8]},
    },
    "variants": {"HMPPO": {"run": "HMPPO"}},
}


def nothing(steps, reward):
    """Says nothing."""


def unit_of(**change):
    return units_of(make("study", FORM | change))[-1]


@pytest.mark.ray
def test_rows_are_those_of_evaluation(ray_session, tmp_path):
    done = carry_out(unit_of(), tmp_path, nothing)
    assert [(row["seed"], row["num_ues"], row["trained_ues"]) for row in done.runs] == [
        (4, 2, 2),
        (4, 4, 2),
        (5, 2, 2),
        (5, 4, 2),
    ]
    checkpoint = tmp_path / "240" / "state" / "seed_5"
    values = evaluate(str(checkpoint), None, {"num_ues": 4}, 20, 7)
    for name in (*METRICS, *DECISIONS):
        known = values[name][~np.isnan(values[name])]
        assert done.runs[-1][name] == pytest.approx(known.mean())
        error = known.std(ddof=1) / len(known) ** 0.5
        assert done.runs[-1][f"{name}_se"] == pytest.approx(error)
    assert done.runs[0]["critic"] == "decision_point"
    assert {(point["seed"], point["steps"]) for point in done.curves} == {
        (seed, steps) for seed in (4, 5) for steps in range(40, 241, 40)
    }
    assert len({point["reward"] for point in done.curves}) > 6


@pytest.mark.ray
@pytest.mark.parametrize("change", [{}, {"seeds": [4]}])
def test_an_interrupted_training_goes_on(ray_session, tmp_path, monkeypatch, change):
    monkeypatch.setattr(module, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)

    def interrupt(steps, reward):
        if steps == 120:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        carry_out(unit_of(**change), tmp_path, interrupt)
    assert [path.name for path in tmp_path.iterdir()] == ["80"]
    said = []
    done = carry_out(unit_of(**change), tmp_path, lambda steps, reward: said.append(steps))
    assert said == [120, 160, 200, 240]
    first = done.curves[0]["seed"]
    assert [p["steps"] for p in done.curves if p["seed"] == first] == list(range(40, 241, 40))
    assert [path.name for path in tmp_path.iterdir()] == ["240"]
    again = carry_out(unit_of(**change), tmp_path, nothing)
    assert (again.runs, again.curves) == (done.runs, done.curves)


@pytest.mark.ray
def test_what_is_trained_is_evaluated_with_drawn_actions_too(ray_session, tmp_path):
    evaluation = FORM["evaluation"] | {"explored": True}
    done = carry_out(unit_of(seeds=[4], evaluation=evaluation), tmp_path, nothing)
    first, drawn = done.runs[:2]
    assert drawn["variant"] == f"{first['variant']}, explored"
    assert drawn["reward"] != first["reward"]
    assert {point["variant"] for point in done.curves} == {first["variant"]}


@pytest.mark.ray
def test_a_baseline_is_evaluated(ray_session, tmp_path):
    unit = units_of(make("study", FORM))[1]
    done = carry_out(unit, tmp_path, nothing)
    values = evaluate("hold", "mec", {"num_tasks": 5, "num_ues": 4}, 20, 7)
    (row,) = done.runs
    assert (row["kind"], row["algorithm"], row["num_ues"]) == ("baseline", "hold", 4)
    assert row["reward"] == values["reward"].mean()
    assert done.curves == []


@pytest.mark.ray
def test_a_unit_that_cannot_be_kept_fails_alone(ray_session, tmp_path, capsys):
    first, second = units_of(make("study", FORM))[:2]
    (tmp_path / "units" / first.name / "unit.json").mkdir(parents=True)
    assert run._carry_out([first, second], tmp_path, 2) == 1
    assert [path.parent.name for path in tmp_path.glob("units/*/runs.parquet")] == [second.name]
    errors = capsys.readouterr().err
    assert f"{first.label}: failed:" in errors
    assert "unit.json" in errors


@pytest.mark.parametrize("explored", [False, True])
@pytest.mark.parametrize("label", ["HMPPO", "HMPPO, explored"])
def test_labels_are_those_of_the_study(tmp_path, explored, label):
    """Also of a unit that another study has carried out under its own label."""
    evaluation = FORM["evaluation"] | {"explored": explored}
    form = FORM | {"baselines": [], "test_num_ues": None, "evaluation": evaluation, "seeds": [4]}

    def made(label):
        return make("study", form | {"variants": {label: {"run": "HMPPO"}}})

    (carried_out,) = units_of(made("another, explored"))
    metrics = dict.fromkeys(METRICS, -1.0)
    row = {"algorithm": "HMPPO", "critic": None, "study": "s", "num_ues": 2, "seed": 4, "steps": 8}
    row |= {"kind": "trained", "episodes": 20, "trained_ues": 2, **metrics}
    labels = ["another, explored", "another, explored, explored"][: 1 + explored]
    rows = [row | {"variant": each} for each in labels]
    run._keep(carried_out, Done(rows, rows[:1], 1.0), tmp_path)
    study = made(label)
    run._write(study, units_of(study), tmp_path, "rllib study", ["study"])
    found = parquet.read_table(tmp_path / "study" / "runs.parquet")["variant"].to_pylist()
    assert found == [label, f"{label}, explored"][: 1 + explored]
    curves = parquet.read_table(tmp_path / "study" / "curves.parquet")["variant"].to_pylist()
    assert curves == [label]


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("file", "--out file: expected a directory, found a file"),
        ("file/inside", "cannot write"),
        ("s3://bucket/x", "--out s3://bucket/x: expected a directory, no URI"),
    ],
)
def test_where_no_results_can_go(tmp_path, monkeypatch, rllib, out, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray, "init", pytest.fail)
    (tmp_path / "file").touch()
    (tmp_path / "f.yaml").write_text(json.dumps({"s": FORM}))
    status, _, errors = rllib("study", "f.yaml", "--out", out)
    assert status == 2
    assert message in errors
    assert errors.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"file", "f.yaml"}


def test_help_says_where_results_go(rllib):
    assert "results/studies" in rllib("study", "--help")[1]


def test_examples_that_are_studies_are_marked(rllib):
    lines = rllib("list", "examples")[1].splitlines()
    assert any("studies/table1.yaml" in line for line in lines)
    for line in lines:
        assert ("[rllib study] " in line) == ("/studies/" in line), line


def study_in(folder, file, out):
    command = [sys.executable, "-m", "rllib_mec.cli", "study", str(file), "--out", str(out)]
    return subprocess.run(
        [*command, "--num-cpus", "2"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.ray  # starts Ray: about 15 s
def test_only_what_is_missing_is_done(tmp_path, monkeypatch, rllib):
    failing = {
        "run": "HMPPO",
        "config": {"callbacks_class": "failing_callbacks:Failing", "batched": True},
    }
    shared = FORM | {"evaluation": FORM["evaluation"] | {"explored": True}}
    form = shared | {"variants": {"HMPPO": {"run": "HMPPO"}, "bad": failing}}
    file, out = tmp_path / "f.yaml", tmp_path / "out"
    file.write_text(json.dumps({"s": form}))
    (tmp_path / "failing_callbacks.py").write_text(
        "from rllib_mec.hmppo.sampling.callbacks import EpisodeMetrics\n"
        "class Failing(EpisodeMetrics):\n"
        "    def on_batched_episodes_end(self, **kwargs):\n"
        "        raise ValueError('it broke')\n"
    )
    done = study_in(tmp_path, file, out)
    assert done.returncode == 1, done.stderr
    assert "ValueError: it broke" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (out / "s" / "runs.parquet").exists()
    rows = next((out / "units").glob("HMPPO*/runs.parquet"))
    before = rows.stat().st_mtime_ns

    again = shared | {"variants": {"the same": {"run": "HMPPO"}}}
    file.write_text(json.dumps({"s": shared, "other": again}))
    monkeypatch.setattr(ray, "init", pytest.fail)
    status, printed, errors = rllib("study", file, "--out", out)
    assert status == 0, errors
    assert "3 units, 3 of them there already" in printed
    assert rows.stat().st_mtime_ns == before
    runs = parquet.read_table(out / "s" / "runs.parquet")
    assert runs.schema == RUNS_SCHEMA
    assert len(runs) == 2 + 2 * 4
    assert parquet.read_schema(out / "s" / "curves.parquet") == CURVES_SCHEMA
    others = parquet.read_table(out / "other" / "runs.parquet").to_pylist()
    assert {row["variant"] for row in others} == {"hold", "the same", "the same, explored"}
    assert {row["study"] for row in others} == {"other"}
    assert (out / "report" / "f" / "index.html").is_file()
    about = json.loads((out / "s" / "study.json").read_text())
    assert about["name"] == "s"
    assert about["spec"]["seeds"] == [4, 5]
    assert about["together"] == ["s", "other"]
    assert about["seconds"] > 0
