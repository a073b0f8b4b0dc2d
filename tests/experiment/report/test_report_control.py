"""Figure 5 of FedPEAT: tables of fedpeat and of federations, and the report that has them."""

import json
import math

import made_up_controls as controls
import made_up_studies as studies
import pytest

from rllib_mec.errors import InputError
from rllib_mec.experiment.report.command import report_command, report_files
from rllib_mec.experiment.report.control import control_table, is_control
from rllib_mec.experiment.report.control_wording import findings
from rllib_mec.experiment.report.federation import federation_table
from rllib_mec.experiment.report.results import read_study
from rllib_mec.system.fedpeat import METRICS


@pytest.fixture
def table(tmp_path):
    return control_table(read_study(controls.write(tmp_path / "fedpeat")))


def by_policy(rows, name="policy"):
    return {row[name]: row for row in rows}


def test_each_policy_has_all_metrics_and_its_training_time(table):
    rows = by_policy(table["rows"])
    assert set(list(rows)[:2]) == {"SABPPO", "random"}
    assert list(rows)[-1] == "hold"
    assert table["metrics"] == list(METRICS)
    ours = rows["SABPPO"]
    assert ours["reward"]["mean"] == 101
    # Student's t of three seeds with a deviation of 1: 4.303 / sqrt(3).
    assert ours["reward"]["ci95"] == pytest.approx([101 - 2.484, 101 + 2.484], abs=1e-3)
    assert ours["train_seconds"]["mean"] == pytest.approx(2.0)
    speeds = [1000 / 1.9, 1000 / 2.0, 1000 / 2.1]
    assert ours["steps_per_second"]["mean"] == pytest.approx(sum(speeds) / 3)
    assert rows["HMPPO, 3 agents"]["steps_per_second"]["mean"] == 250
    assert rows["PPO"]["train_seconds"] is None
    assert rows["PPO"]["reward"] == {"mean": 90, "ci95": None}
    # It was not trained again.
    assert rows["SABPPO, explored"]["train_seconds"] is None
    assert rows["hold"]["seeds"] is None
    assert rows["hold"]["reward"]["ci95"] == pytest.approx([80 - 0.98, 80 + 0.98])


def test_differences_have_welch_intervals(table):
    differences = by_policy(table["differences"], "less")
    assert set(differences) == {"random", "hold", "HMPPO, 3 agents", "SABPPO, explored", "PPO"}
    hmppo = differences["HMPPO, 3 agents"]
    assert hmppo["seeds"] == [3, 3]
    assert hmppo["reward"]["mean"] == pytest.approx(1.0)
    # Equal variances: 4 degrees of freedom, 2.776 * sqrt(2 / 3).
    half = 2.7764 * math.sqrt(2 / 3)
    assert hmppo["reward"]["ci95"] == pytest.approx([1 - half, 1 + half], abs=1e-3)
    assert hmppo["train_seconds"]["mean"] == pytest.approx(-2.0)
    # A baseline's error is over episodes: a = 1 / 3, b = 0.25 of 100 episodes.
    hold = differences["hold"]
    a, b = 1 / 3, 0.25
    degrees = (a + b) ** 2 / (a**2 / 2 + b**2 / 99)
    low, high = hold["reward"]["ci95"]
    assert 6.0 < degrees < 6.1
    assert high - low == pytest.approx(2 * 2.445 * math.sqrt(a + b), abs=0.01)
    assert hold["train_seconds"] is None
    assert differences["PPO"]["reward"] == {"mean": 11.0, "ci95": None}


def test_findings_say_whether_intervals_are_apart(table):
    (line,) = findings(table)
    assert "SABPPO with 6 UEs" in line
    assert "above that of: hold" in line
    assert "no difference beyond the interval: random; HMPPO, 3 agents" in line
    assert "one seed, no interval: SABPPO, explored; PPO" in line


def test_without_sabppo_the_first_that_is_trained_is_compared(tmp_path):
    rows = [row for row in controls.runs() if row["algorithm"] != "SABPPO"]
    table = control_table(read_study(controls.write(tmp_path / "s", rows)))
    assert table["reference"] == "HMPPO, 3 agents"
    none = [row for row in rows if row["kind"] != "trained"]
    table = control_table(read_study(controls.write(tmp_path / "t", none)))
    assert (table["reference"], table["differences"]) == (None, [])


def test_federations_are_compared_seed_by_seed(tmp_path):
    table = federation_table(controls.write_federations(tmp_path / "fed.parquet"))
    cases = by_policy(table["cases"], "case")
    ours = cases["fedpeat"]
    assert (ours["seeds"], ours["rounds"]) == (2, 2)
    assert ours["adapter_bytes_up"]["mean"] == 1e6
    assert ours["emulator_bytes_down"]["mean"] == 1e6  # 2 MB in one of two rounds
    assert ours["total_bytes"] == {"mean": 3e6, "ci95": [3e6, 3e6]}
    assert ours["exchanges"]["mean"] == 2
    assert (ours["perplexity_before"]["mean"], ours["perplexity"]["mean"]) == (100, 63)
    assert cases["fl"]["exchanges"]["mean"] == 4
    (ratio,) = table["ratios"]
    assert (ratio["case"], ratio["other"], ratio["seeds"]) == ("fedpeat", "fl", 2)
    assert ratio["bytes"]["mean"] == pytest.approx(4)
    assert ratio["seconds"]["mean"] == pytest.approx(6)
    assert ratio["perplexity"]["mean"] == pytest.approx(0.05)


def test_the_report_has_both_beside_mec_or_alone(tmp_path):
    fedpeat = controls.write(tmp_path / "fedpeat")
    federations = controls.write_federations(tmp_path / "fed.parquet")
    mec = studies.write(tmp_path / "table1", *studies.make(num_ues=(6,), seeds=2))
    of_mec = report_files([read_study(mec)])
    every = report_files([read_study(fedpeat), read_study(mec)], [federations])
    own = {"fedpeat.json", "fedpeat.md", "figure5.svg"}
    of_federations = {"federation.json", "federation.md", "figure5-federation.svg"}
    assert set(every) == set(of_mec) | own | of_federations
    assert all(every[name] == of_mec[name] for name in set(of_mec) - {"index.html"})
    text = every["index.html"].decode()
    assert "Table I: ours and the paper" in text
    assert "http" not in text
    for words in ("Control: fedpeat", "HMPPO, 3 agents", "FL, FL with adapters", "times fewer"):
        assert words in text
    assert "Control:" not in of_mec["index.html"].decode()

    alone = report_files([read_study(fedpeat)])
    assert set(alone) == own | {"index.html"}
    assert "Table I" not in alone["index.html"].decode()
    assert json.loads(alone["fedpeat.json"])["reference"] == "SABPPO"
    assert "training time, s" in alone["figure5.svg"].decode()
    assert set(report_files([], [federations])) == of_federations | {"index.html"}


def test_what_is_refused(tmp_path):
    federations = controls.write_federations(tmp_path / "fed.parquet")
    with pytest.raises(InputError, match="expected one file of rllib fedtune, not"):
        report_command([federations, federations], tmp_path / "out")
    with pytest.raises(InputError, match=r"none\.parquet: there is no such file"):
        report_command([tmp_path / "none.parquet"], tmp_path / "out")
    lacking = controls.write(tmp_path / "s", metrics=["reward", "jitter"])
    with pytest.raises(InputError, match="expected a column jitter"):
        read_study(lacking)
    assert not (tmp_path / "out").exists()


def test_studies_of_mec_are_no_control_studies(tmp_path):
    mec = studies.write(tmp_path / "table1", *studies.make(num_ues=(6,), seeds=2))
    assert not is_control(read_study(mec))
