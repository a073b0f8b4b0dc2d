"""The table of the scenario ``field``, worked by hand."""

import json

import made_up_studies as studies
import pytest

from rllib_mec.experiment.report.command import report_files
from rllib_mec.experiment.report.field import field_table, is_field
from rllib_mec.experiment.report.results import read_study

SPEC = {"config": {"env_config": {"scenario": "field"}}}


def trained(variant, seed, reward, algorithm="HMPPO"):
    training = {"kind": "trained", "trained_ues": 6, "seed": seed, "steps": 100}
    return studies.row(variant, algorithm, 6, reward, critic="decision_point", **training)


def runs():
    none = dict.fromkeys((*studies.METRICS[1:], *(f"{name}_se" for name in studies.METRICS)))
    return [
        studies.row("random", "random", 6, -170.0),
        studies.row("hold", "hold", 6, -160.0),
        studies.row("all-server", "all-server", 6, -150.0, reward_se=0.5),
        studies.row("greedy-observed", "greedy-observed", 6, -141.0),
        studies.row("greedy", "greedy", 6, -140.0),
        studies.row("oracle", "oracle", 6, -130.0, kind="bound", **none),
        *(trained("full: HMPPO", seed, r) for seed, r in enumerate((-141.0, -141.0, -138.0))),
        *(trained("full: IPPO", s, r, "IPPO") for s, r in enumerate((-142.0, -140.0))),
        trained("one seed", 0, -145.0),
    ]


@pytest.fixture
def study(tmp_path):
    return read_study(studies.write(tmp_path / "field", runs(), [], name="field", spec=SPEC))


def test_rewards_and_shares_of_the_gap(study):
    rows = {row["policy"]: row for row in field_table(study)["rows"]}
    assert rows["all-server"]["reward"]["ci95"] == pytest.approx([-150.98, -149.02])
    assert rows["all-server"]["gap_closed"] is None
    assert rows["oracle"]["reward"] == {"mean": -130.0, "ci95": None}
    ours = rows["full: HMPPO"]
    assert ours["seeds"] == 3
    assert ours["reward"]["mean"] == pytest.approx(-140.0)
    # A standard error of 1 and t(2) = 4.302653.
    assert ours["reward"]["ci95"] == pytest.approx([-144.302653, -135.697347])
    # Of 10 points from all-server to greedy: 9, 9 and 12.
    assert ours["gap_closed"]["mean"] == pytest.approx(1.0)
    assert ours["gap_closed"]["worst"] == pytest.approx(0.9)
    assert ours["gap_closed"]["ci95"] == pytest.approx([0.5697347, 1.4302653])
    assert ours["bound_closed"]["mean"] == pytest.approx(0.5)
    assert rows["one seed"]["reward"]["ci95"] is None
    assert rows["one seed"]["gap_closed"]["ci95"] is None


def test_what_the_critic_is_worth(study):
    (difference,) = field_table(study)["differences"]
    assert (difference["setting"], difference["seeds"]) == ("full", [3, 2])
    assert difference["difference"] == pytest.approx(1.0)
    # Two standard errors of 1 make 1.414; Welch's degrees of freedom are 4 / (1/2 + 1/1) = 2.67,
    # and t(2.67) = 3.420.
    low, high = difference["ci95"]
    assert (low + high) / 2 == pytest.approx(1.0)
    assert (high - low) / 2 == pytest.approx(3.420 * 2**0.5, rel=1e-3)


def test_the_report_has_it(study, tmp_path):
    assert is_field(study)
    main = read_study(studies.write(tmp_path / "table1", *studies.make()))
    assert not is_field(main)
    files = report_files([main, study])
    table = json.loads(files["field.json"])
    assert {"policy", "seeds", "reward", "gap_closed"} <= set(table["rows"][0])
    page = files["index.html"].decode()
    assert "<h2>Field: field</h2>" in page
    assert "Study: field" not in page
    assert "1.000 [0.570, 1.430] / 0.900" in page
    markdown = files["field.md"].decode()
    assert "| 6 | full: HMPPO | trained | 3 | -140.00 [-144.30, -135.70] | 1.000 [" in markdown
    assert "| full | 6 | HMPPO | 3 / 2 | 1.00 [" in markdown
