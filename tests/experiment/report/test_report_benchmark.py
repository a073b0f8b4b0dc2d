"""Tables and learning curves of tasks without UEs, beside what others report of them."""

import json
import math

import made_up_benchmarks as benchmarks
import made_up_controls as controls
import made_up_studies as studies
import pytest

from rllib_mec.errors import InputError
from rllib_mec.experiment.report.benchmark import benchmark_table, is_benchmark
from rllib_mec.experiment.report.benchmark_page import benchmark_tables, findings
from rllib_mec.experiment.report.command import report_files
from rllib_mec.experiment.report.results import read_study


@pytest.fixture
def table(tmp_path):
    return benchmark_table(read_study(benchmarks.write(tmp_path / "walk")))


def test_each_policy_has_all_metrics_beside_what_is_published(table):
    rows = {row["policy"]: row for row in table["rows"]}
    assert list(rows) == ["still", "HMPPO", "IPPO", "PPO"]
    assert (table["unit"], table["reference"]) == ("theirs", "HMPPO")
    ours = rows["HMPPO"]
    assert (ours["seeds"], ours["steps"], ours["episodes"]) == (3, 4000, 100)
    assert ours["theirs"]["mean"] == ours["theirs"]["iqm"] == -16
    low, high = ours["theirs"]["ci95"]
    assert -18 <= low < -16 < high <= -14
    assert rows["PPO"]["reward"] == {"iqm": -30, "mean": -30, "ci95": None}
    assert rows["still"]["reward"]["ci95"] == pytest.approx([-40.98, -39.02])
    assert (rows["still"]["seeds"], rows["still"]["steps"]) == (None, None)
    assert table["published"] == benchmarks.PUBLISHED["returns"]


def test_differences_are_of_as_many_steps(table):
    differences = {row["less"]: row for row in table["differences"]}
    assert set(differences) == {"IPPO", "PPO"}
    ippo = differences["IPPO"]
    assert (ippo["steps"], ippo["episodes"], ippo["seeds"]) == (4000, "unseen", [3, 3])
    # Equal variances: 4 degrees of freedom, 2.776 * sqrt(2 / 3).
    half = 2.7764 * math.sqrt(2 / 3)
    assert ippo["reward"]["ci95"] == pytest.approx([3 - half, 3 + half], abs=1e-3)
    ppo = differences["PPO"]
    assert (ppo["steps"], ppo["episodes"]) == (1000, "training")
    # HMPPO's curve begins at -17; before that, nothing is known.
    assert ppo["reward"] == {"mean": pytest.approx(-17 + 30), "ci95": None}


def test_the_longer_training_is_shown_after_as_many_steps_as_the_shorter(tmp_path):
    rows = [benchmarks.run("HMPPO", "HMPPO", -8.0, 0)]
    rows.append(benchmarks.run("PPO", "PPO", -30.0, 0, steps=3700))
    sooner = benchmark_table(read_study(benchmarks.write(tmp_path / "s", rows)))["sooner"]
    assert [(row["policy"], row["steps"]) for row in sooner] == [("HMPPO", 3700), ("PPO", 3700)]
    # On the line from -17 after 3,100 steps to -8 after 4,000.
    assert [row["reward"]["mean"] for row in sooner] == pytest.approx([-11, -30])
    alike = benchmark_table(read_study(benchmarks.write(tmp_path / "t", rows[:1])))
    assert (alike["sooner"], alike["differences"]) == ([], [])


@pytest.mark.parametrize(
    ("value", "found"), [(-30.0, "above"), (-16.5, "around"), (-10.0, "below")]
)
def test_findings_say_where_the_published_returns_are(table, value, found):
    table["published"] = [{"algorithm": "MAPPO", "value": value, "steps": 4000, "source": "p. 3"}]
    (line,) = findings(table)
    assert line.startswith("HMPPO after 4,000 steps: -16.000 [")
    assert f", {found} the {value:.1f} of MAPPO after 4,000 (p. 3)." in line


def test_published_returns_are_rows_of_the_table(table):
    (_, columns, rows), *_ = benchmark_tables(table)
    cells = [[cell(row) for _, cell in columns] for row in rows]
    assert [head for head, _ in columns] == [
        *("policy", "seeds", "steps", "reward [95 %]", "theirs [95 %]", "source")
    ]
    assert cells[-1] == ["MAPPO, published", "-", "4,000", "-", "-20.000", "a paper"]
    assert cells[-2] == ["PPO", "1", "1,000", "-30.00", "-60.000", "ours"]


def test_the_report_has_them_beside_the_others(tmp_path):
    walk = read_study(benchmarks.write(tmp_path / "walk"))
    run = read_study(benchmarks.write(tmp_path / "run", name="run"))
    mec = read_study(studies.write(tmp_path / "mec", *studies.make(num_ues=(6,), seeds=2)))
    fedpeat = read_study(controls.write(tmp_path / "fedpeat"))
    assert [is_benchmark(each) for each in (walk, run, mec, fedpeat)] == [True, True, False, False]
    alone = report_files([walk, run])
    own = {"walk.json", "walk.md", "run.json", "run.md", "learning.svg"}
    assert set(alone) == own | {"index.html"}
    others = report_files([mec, fedpeat])
    every = report_files([walk, mec, fedpeat, run])
    assert set(every) == set(others) | own
    assert all(every[name] == others[name] for name in set(others) - {"index.html"})
    assert json.loads(alone["walk.json"])["reference"] == "HMPPO"
    drawn = alone["learning.svg"].decode()
    for words in (">walk<", ">run<", ">HMPPO<", ">PPO<", "MAPPO, 4k steps", "training steps"):
        assert words in drawn
    text = alone["index.html"].decode()
    for words in ("walk (walk)", "MAPPO, published", "training episodes after as many steps"):
        assert words in text
    assert report_files([walk, run]) == alone


def test_runs_without_ues_are_told_apart_by_their_seeds(tmp_path):
    twice = [benchmarks.run("HMPPO", "HMPPO", -8.0, 0)] * 2
    with pytest.raises(InputError, match="HMPPO, seed 0 is given twice"):
        read_study(benchmarks.write(tmp_path / "s", twice))
