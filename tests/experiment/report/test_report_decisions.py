"""What policies decide, in the report: worked by hand, and compared within one file of studies."""

import json

import made_up_studies as studies
import pytest

from rllib_mec.experiment.report.command import report_files
from rllib_mec.experiment.report.field import field_table, field_tables
from rllib_mec.experiment.report.results import read_study

SPEC = {"config": {"env_config": {"scenario": {"base": "field", "emulator_tuned": False}}}}
FILE = ["zeta", "alpha", "one-seed"]
"""The studies of one file, in its order, which is not that of the alphabet."""


def decided(row, server_share, local_retention, error=0.01):
    """A row of runs.parquet with decisions."""
    values = {"server_share": server_share, "local_retention": local_retention}
    errors = {f"{name}_se": None if value is None else error for name, value in values.items()}
    return row | values | errors


def trained(seed, server_share, local_retention, changes, variant="HMPPO"):
    training = {"kind": "trained", "trained_ues": 6, "seed": seed, "steps": 100}
    row = studies.row(variant, "HMPPO", 6, -140.0 - seed, emulator_changes=changes, **training)
    return decided(row, server_share, local_retention)


BASELINES = [
    decided(studies.row("hold", "hold", 6, -160.0), 0.0, 0.75),
    decided(studies.row("all-server", "all-server", 6, -150.0), 1.0, None),
    decided(studies.row("greedy", "greedy", 6, -130.0), 0.5, 0.5),
]


def oracle():
    names = (*studies.METRICS[1:], *(f"{name}_se" for name in studies.METRICS))
    none = dict.fromkeys((*names, "server_share", "local_retention"))
    return studies.row("oracle", "oracle", 6, -120.0, kind="bound", **none)


def study(folder, name, runs, together=FILE):
    written = studies.write(
        folder / name, [*BASELINES, *runs], [], name=name, spec=SPEC, together=together
    )
    return read_study(written)


@pytest.fixture
def zeta(tmp_path):
    runs = [trained(0, 0.2, 0.3, 5.0), trained(1, 0.4, None, 9.0), trained(2, 0.6, 0.5, 7.0)]
    return study(tmp_path, "zeta", [*runs, oracle()])


@pytest.fixture
def alpha(tmp_path):
    # The same with drawn actions is no variant to compare.
    runs = [trained(0, 0.8, 0.6, 1.0), trained(1, 0.6, 0.8, 1.0)]
    return study(tmp_path, "alpha", [*runs, trained(0, 0.1, 0.1, 9.0, "HMPPO, explored")])


@pytest.fixture
def one_seed(tmp_path):
    return study(tmp_path, "one-seed", [trained(0, 0.5, None, 4.0)])


def test_what_each_policy_decides(zeta):
    rows = {row["policy"]: row for row in field_table(zeta)["decisions"]}
    # In the order of the rewards, and without the bound, which decides nothing.
    assert list(rows) == ["hold", "all-server", "HMPPO", "greedy"]
    assert rows["all-server"]["server_share"]["mean"] == 1.0
    assert rows["all-server"]["server_share"]["ci95"] == pytest.approx([0.9804, 1.0196])
    assert rows["all-server"]["local_retention"] is None
    ours = rows["HMPPO"]
    assert ours["seeds"] == 3
    # Standard deviation 0.2, t(2) = 4.302653: 0.4968.
    assert ours["server_share"]["mean"] == pytest.approx(0.4)
    assert ours["server_share"]["ci95"] == pytest.approx([-0.096828, 0.896828], abs=1e-5)
    # Of the two seeds that train locally: standard error 0.1, t(1) = 12.7062.
    assert ours["local_retention"]["mean"] == pytest.approx(0.4)
    assert ours["local_retention"]["ci95"] == pytest.approx([-0.87062, 1.67062], abs=1e-5)
    assert ours["emulator_changes"]["mean"] == pytest.approx(7.0)
    assert {"perplexity", "total_delay_min"} <= set(ours)


def test_studies_of_one_file_are_compared_with_its_first(alpha, one_seed, zeta):
    tables = {field["study"]: field for field in field_tables([alpha, one_seed, zeta])}
    assert tables["alpha"]["compared"] == tables["one-seed"]["compared"] == []
    first, second, third = tables["zeta"]["compared"]
    assert [first["study"], second["study"], third["study"]] == FILE
    assert first["server_share"]["difference"] is None
    assert first["server_share"]["mean"] == pytest.approx(0.4)
    share = second["server_share"]
    assert share["mean"] == pytest.approx(0.7)
    assert share["difference"]["mean"] == pytest.approx(0.3)
    # Squared errors 0.04 / 3 and 0.02 / 2: sqrt = 0.152753, 2.882 degrees of freedom, t = 3.2572.
    low, high = share["difference"]["ci95"]
    assert (high - low) / 2 == pytest.approx(0.497547, rel=1e-5)
    assert second["emulator_changes"]["difference"]["mean"] == pytest.approx(-6.0)
    assert third["server_share"]["difference"] == {"mean": pytest.approx(0.1), "ci95": None}
    assert third["local_retention"] is None


def test_only_studies_of_the_same_file_and_ues_are_compared(tmp_path, zeta):
    other = study(tmp_path, "other", [trained(0, 0.5, 0.5, 1.0)], together=["other"])
    older = study(tmp_path, "older", [trained(0, 0.5, 0.5, 1.0)], together=[])
    more = [run | {"num_ues": 8} for run in (*BASELINES, trained(0, 0.5, 0.5, 1.0))]
    written = studies.write(tmp_path / "alpha", more, [], name="alpha", spec=SPEC, together=FILE)
    tables = field_tables([zeta, other, older, read_study(written)])
    assert len(tables) == 4
    assert [table["compared"] for table in tables] == [[], [], [], []]


def test_results_that_know_no_decisions_have_no_table(tmp_path):
    training = {"kind": "trained", "trained_ues": 6, "seed": 0, "steps": 100}
    runs = [studies.row(name, name, 6, -150.0) for name in ("hold", "greedy")]
    runs.append(studies.row("HMPPO", "HMPPO", 6, -140.0, **training))
    made = [
        read_study(
            studies.write(tmp_path / name, runs, [], name=name, spec=SPEC, together=["a", "b"])
        )
        for name in ("a", "b")
    ]
    for table in field_tables(made):
        assert table["rows"]
        assert table["decisions"] == table["compared"] == []
    main = read_study(studies.write(tmp_path / "table1", *studies.make()))
    files = report_files([main, *made])
    assert b"decisions" not in files["field.md"]
    assert "a, decisions" not in files["index.html"].decode()


def test_the_report_has_them(tmp_path, zeta, alpha):
    main = read_study(studies.write(tmp_path / "table1", *studies.make()))
    files = report_files([main, alpha, zeta])
    assert [row["study"] for row in json.loads(files["zeta.json"])["compared"]] == FILE[:2]
    assert json.loads(files["alpha.json"])["decisions"][0]["policy"] == "hold"
    markdown = files["field.md"].decode()
    assert "zeta, decisions:\n" in markdown
    assert "| 6 | all-server | baseline | - | 1.000 [0.980, 1.020] | - |" in markdown
    table = markdown[markdown.index("zeta and others, decisions of HMPPO:") :]
    assert "| zeta | 6 | 3 | 0.400 [-0.097, 0.897] | - | 0.400" in table
    assert "| alpha | 6 | 2 | 0.700 [-0.571, 1.971] | 0.300 [-0.198, 0.798] |" in table
    page = files["index.html"].decode()
    assert "zeta, decisions" in page
    assert "zeta and others, decisions of HMPPO" in page
    assert "1.000<br><small>[0.980, 1.020]</small>" in page


def test_a_report_on_a_file_of_field_studies_alone(tmp_path, zeta, alpha):
    """None is called table1: the first stands for it, and has its tables of field all the same."""
    curves = studies.make(num_ues=(6,), seeds=1)[1]
    curves = [point | {"variant": "HMPPO", "algorithm": "HMPPO"} for point in curves[:25]]
    runs = [trained(0, 0.2, 0.3, 5.0), trained(1, 0.4, 0.5, 9.0)]
    written = studies.write(
        tmp_path / "zeta", [*BASELINES, *runs], curves, name="zeta", spec=SPEC, together=FILE
    )
    files = report_files([read_study(written), alpha])
    assert len(json.loads(files["zeta.json"])["compared"]) == 2
    assert "zeta and others" in files["field.md"].decode()
