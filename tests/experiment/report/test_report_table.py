"""The rows of a table, and what they say in words."""

import made_up_studies as studies
import pytest

from rllib_mec.errors import InputError
from rllib_mec.experiment.report import wording
from rllib_mec.experiment.report.markdown import further_markdown, markdown
from rllib_mec.experiment.report.results import read_study
from rllib_mec.experiment.report.table import make_table


def table_of(folder, runs, curves, with_paper=True):
    return make_table(read_study(studies.write(folder, runs, curves)), with_paper)


def find(table, variant, num_ues, trained_ues=None):
    (row,) = (
        row
        for row in table.rows
        if (row["variant"], row["num_ues"]) == (variant, num_ues)
        and (row["trained_ues"] == trained_ues or trained_ues is None)
    )
    return row


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return table_of(tmp_path_factory.mktemp("runs"), *studies.make())


def test_a_row_for_each_variant_and_number_of_ues(table):
    assert len(table.rows) == 2 * 6
    assert [row["kind"] for row in table.rows[:6]] == ["trained"] * 3 + ["baseline"] * 2 + ["bound"]
    row = find(table, "IPPO", 8)
    assert (row["seeds"], row["steps"], row["critic"]) == (4, 300_000, "separate")
    assert table.reference == "HMPPO, decision_point"


def test_a_baseline_is_a_mean_over_episodes(table):
    random, hold = find(table, "random", 6), find(table, "hold", 6)
    assert random["reward"] == {"iqm": -177.0, "ci95": pytest.approx([-177.196, -176.804])}
    assert random["seeds"] is None
    assert (random["normalised_score"]["iqm"], hold["normalised_score"]["iqm"]) == (0.0, 1.0)
    assert random["normalised_score"]["worst"] is None


def test_the_oracle_has_a_reward_alone(table):
    oracle = find(table, "oracle", 6)
    assert oracle["reward"] == {"iqm": -102.5, "ci95": None}
    assert oracle["perplexity"] is None
    assert oracle["normalised_score"]["iqm"] > 1


def test_scores_by_hand(tmp_path):
    runs, _ = studies.make(num_ues=(6,), seeds=1)
    run = next(r for r in runs if r["variant"] == "IPPO")
    runs += [run | {"seed": seed} for seed in (1, 2)]
    seeds = [row for row in runs if row["variant"] == "IPPO"]
    for row, reward in zip(seeds, (-140.0, -103.0, -66.0), strict=True):
        row["reward"] = reward
    # Random is at -177 and hold at -103: a score is 74 of reward.
    scores = find(table_of(tmp_path, runs, []), "IPPO", 6)["normalised_score"]
    assert scores["seeds"] == pytest.approx([0.5, 1.0, 1.5])
    assert (scores["iqm"], scores["worst"]) == (pytest.approx(1.0), pytest.approx(0.5))


def test_steps_to_a_good_score_are_of_the_curves(tmp_path):
    runs, _ = studies.make(num_ues=(6,), seeds=2, variants=("IPPO",))
    trained = [run for run in runs if run["kind"] == "trained"]
    points = {0: ((100, -150.0), (200, -103.0), (300, -103.0)), 1: ((100, -150.0), (300, -120.0))}
    curves = [
        {**run, "steps": steps, "reward": reward}
        for run in trained
        for steps, reward in points[run["seed"]]
    ]
    row = find(table_of(tmp_path, runs, curves), "IPPO", 6)
    assert row["steps_to_095"] == {"median": None, "worst": None, "reached": 1}
    assert wording.steps_to_good(row) == "never / never (1 of 2 seeds)"


def test_the_papers_figures_stand_beside_those_of_the_same_row(table):
    assert find(table, "IPPO", 6)["paper"]["reward"] == -78.98
    assert find(table, "HMPPO, joint_state", 8)["paper"] == {
        "reward": -63.24,
        "total_delay_min": 32.14,
        "perplexity": 13.63,
        "source": "from the stated margins",
    }
    assert find(table, "hold", 6)["paper"] is None


def test_hmppo_is_compared_with_each_other_trained_variant(table):
    pairs = {(pair["over"], pair["num_ues"]): pair for pair in table.improvements}
    assert set(pairs) == {(o, n) for o in ("HMPPO, joint_state", "IPPO") for n in (6, 8)}
    worse = pairs["HMPPO, joint_state", 6]
    assert (worse["probability"], worse["ci95"]) == (1.0, [1.0, 1.0])
    assert wording.verdict(worse) == "better"
    said = " ".join(wording.answers(table))
    assert "over HMPPO, joint_state, probability of improvement: better with 6, 8 UEs" in said
    assert "the paper states reward 33.79 %, delay 80.49 %" in said


@pytest.mark.parametrize("other", [{"steps": 50_000}, {"episodes": 20}])
def test_what_was_trained_or_evaluated_otherwise_is_not_compared(tmp_path, other):
    runs, curves = studies.make(num_ues=(6, 8), seeds=2)
    runs = [run | other if (run["variant"], run["num_ues"]) == ("IPPO", 8) else run for run in runs]
    table = table_of(tmp_path, runs, curves)
    pairs = {(pair["over"], pair["num_ues"]) for pair in table.improvements}
    assert pairs == {("HMPPO, joint_state", 6), ("HMPPO, joint_state", 8), ("IPPO", 6)}
    said = wording.answers(table)
    assert any("of improvement of HMPPO, decision_point over IPPO: trained for" in s for s in said)
    assert not any(line.startswith("Gains of") for line in said)


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        (None, "one seed, no interval"),
        ([0.5, 0.9], "no difference beyond the interval"),
        ([0.1, 0.4], "worse"),
    ],
)
def test_verdicts(interval, said):
    assert wording.verdict({"ci95": interval}) == said


@pytest.mark.parametrize("missing", ["random", "hold"])
def test_without_random_or_hold_there_are_no_scores(tmp_path, missing):
    runs, curves = studies.make(num_ues=(6, 8), seeds=2)
    runs = [run for run in runs if (run["variant"], run["num_ues"]) != (missing, 6)]
    table = table_of(tmp_path, runs, curves)
    row = find(table, "IPPO", 6)
    assert row["normalised_score"] is None
    assert row["steps_to_095"] is None
    assert find(table, "IPPO", 8)["normalised_score"] is not None
    assert any(line.startswith("No scores with 6 UEs") for line in wording.answers(table))


def test_what_played_other_episodes_has_no_score(tmp_path):
    runs, curves = studies.make(num_ues=(6,), seeds=2)
    runs = [run | {"episodes": 20} if run["variant"] == "oracle" else run for run in runs]
    table = table_of(tmp_path, runs, curves)
    assert find(table, "oracle", 6)["normalised_score"] is None
    assert any(line.startswith("No scores of oracle:") for line in wording.answers(table))


def test_zero_shot_rows_stand_apart(tmp_path):
    runs, curves = studies.make(num_ues=(6,), seeds=2)
    runs += [*studies.baselines(9)]
    runs += [run | {"num_ues": 9} for run in runs if run["kind"] == "trained"]
    table = table_of(tmp_path, runs, curves)
    row = find(table, "IPPO", 9, trained_ues=6)
    assert (row["paper"], row["steps_to_095"]) == (None, None)
    assert row not in table.own
    assert {(pair["trained_ues"], pair["num_ues"]) for pair in table.improvements} == {
        (6, 6),
        (6, 9),
    }


def test_a_metric_that_only_some_seeds_have(tmp_path):
    runs, curves = studies.make(num_ues=(6,), seeds=2)
    runs[-1] = runs[-1] | {"perplexity": None}
    with pytest.raises(InputError, match="IPPO with 6 UEs: perplexity: expected all seeds or none"):
        table_of(tmp_path, runs, curves)


def test_the_markdown_has_a_row_for_each_of_the_headline(table):
    lines = markdown(table).splitlines()
    assert len(lines) == 2 + 2 * 6
    assert len({line.count("|") for line in lines}) == 1
    assert "| 8 | random |  | -197.00 [-197.20, -196.80] |" in lines[11]
    assert lines[11].endswith("| 0.000 | -200.63 |")
    assert "| 8 | oracle |  | -103.50 |" in lines[13]


def test_the_markdown_of_further_studies_has_what_is_trained(table):
    lines = further_markdown([table, table]).splitlines()
    assert len(lines) == 2 + 2 * 6
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2].startswith("| table1 | HMPPO, decision_point | 6 | 4 | 300,000 | -102.99 [")
