"""Reading what a study has left."""

import json

import made_up_benchmarks as benchmarks
import made_up_studies as studies
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from rllib_mec.errors import InputError
from rllib_mec.experiment.report.results import read_study
from rllib_mec.experiment.study.metrics import MEC
from rllib_mec.experiment.study.results import RUNS_SCHEMA, later, read, summary


@pytest.fixture
def folder(tmp_path):
    return studies.write(tmp_path / "table1", *studies.make(num_ues=(6,), seeds=2))


def change(file, change_of):
    parquet.write_table(change_of(parquet.read_table(file)), file)


def refused(folder, *words):
    with pytest.raises(InputError) as caught:
        read_study(folder)
    message = str(caught.value)
    assert all(word in message for word in (str(folder), *words))
    assert "\n" not in message


def test_what_was_written_is_read(folder):
    study = read_study(folder)
    assert study.name == "table1"
    assert study.origin.seconds == 5025.5
    assert len(study.runs) == 3 + 3 * 2
    assert {curve.steps.shape for curve in study.curves} == {(25,)}
    assert all((curve.steps[1:] > curve.steps[:-1]).all() for curve in study.curves)


def test_a_directory_that_is_not_there(tmp_path):
    refused(tmp_path / "none", "expected a directory")


@pytest.mark.parametrize("name", ["runs.parquet", "curves.parquet", "study.json"])
def test_a_missing_file(folder, name):
    (folder / name).unlink()
    refused(folder, f"there is no {name} in it")


@pytest.mark.parametrize("name", ["runs.parquet", "curves.parquet"])
def test_a_file_that_is_no_parquet(folder, name):
    (folder / name).write_text("not Parquet")
    refused(folder, name, "expected a Parquet file")


@pytest.mark.parametrize(
    ("name", "column"),
    [("runs.parquet", "perplexity_se"), ("curves.parquet", "steps")],
)
def test_a_missing_column(folder, name, column):
    change(folder / name, lambda table: table.drop_columns([column]))
    refused(folder, name, f"expected a column {column}")


def test_columns_that_older_results_lack_are_null(folder):
    names = set(parquet.read_schema(folder / "runs.parquet").names)
    assert not names & later(MEC)
    assert {run.means["server_share"] for run in read_study(folder).runs} == {None}
    assert {run.train_seconds for run in read_study(folder).runs} == {None}
    assert len(later(MEC)) == 5
    # A unit's rows are read in another way, to become part of a study's.
    rows = read(folder / "runs.parquet", RUNS_SCHEMA)
    assert all(row["local_retention_se"] is None and row["reward"] < 0 for row in rows)


def test_newer_columns_are_read(folder):
    share = pa.array([0.25] * (3 + 3 * 2))
    change(folder / "runs.parquet", lambda table: table.append_column("server_share", share))
    run = read_study(folder).runs[0]
    assert (run.means["server_share"], run.errors["server_share"]) == (0.25, None)


def test_a_summary_leaves_out_episodes_that_lack_a_metric():
    values = {"server_share": [1.0, 0.0, 0.5, 0.5], "local_retention": [np.nan, 0.4, 0.8, np.nan]}
    row = summary({name: np.array(each) for name, each in values.items()}, MEC)
    assert row["local_retention"] == pytest.approx(0.6)
    # Standard deviation 0.2828 of two.
    assert row["local_retention_se"] == pytest.approx(0.2)
    assert row["server_share"] == 0.5
    assert row["reward"] is None
    nowhere = summary({"local_retention": np.array([np.nan, np.nan])}, MEC)
    assert (nowhere["local_retention"], nowhere["local_retention_se"]) == (None, None)


@pytest.mark.parametrize(
    ("name", "column", "values", "said"),
    [
        ("runs.parquet", "num_ues", "many", "expected int32, found string"),
        ("runs.parquet", "reward", None, "expected a value in every row"),
        ("runs.parquet", "perplexity", float("nan"), "expected finite numbers or null"),
        ("runs.parquet", "kind", "learnt", "'learnt': expected one of trained, baseline, bound"),
        ("runs.parquet", "seed", None, "expected seed and trained_ues of trained"),
        ("runs.parquet", "variant", "IPPO", "given twice"),
        ("curves.parquet", "steps", 5, "expected each of steps once"),
    ],
)
def test_values_that_cannot_be(folder, name, column, values, said):
    def with_values(table):
        index = table.column_names.index(column)
        return table.set_column(index, column, pa.array([values] * len(table)))

    change(folder / name, with_values)
    refused(folder, name, said)


def test_a_study_without_rows(folder):
    change(folder / "runs.parquet", lambda table: table.slice(0, 0))
    refused(folder, "expected at least one row")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "Invalid JSON"),
        (json.dumps({}), "name: Field required"),
        (
            json.dumps(studies.origin("x") | {"seconds": "long"}),
            "seconds: Input should be",
        ),
    ],
)
def test_a_description_that_cannot_be(folder, text, said):
    (folder / "study.json").write_text(text)
    refused(folder, "study.json", said)


def test_what_is_published_is_read(tmp_path):
    folder = benchmarks.write(tmp_path / "walk")
    assert read_study(folder).origin.spec["published"] == benchmarks.PUBLISHED


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"published": "MAPPO"}, "spec.published = 'MAPPO': expected a mapping"),
        ({"published": [1]}, "spec.published = [1]: expected a mapping"),
        ({"published": {"returns": 5}}, "spec.published.returns = 5: expected a list"),
        (
            {"published": {"returns": [{"value": 1.0, "steps": 5, "source": "x"}]}},
            "spec.published.returns.0.algorithm is missing",
        ),
        (
            {"published": benchmarks.PUBLISHED | {"metric": "foo"}},
            "spec.published.metric = 'foo': expected one of reward, theirs",
        ),
        ({"config": "gamma"}, "spec.config = 'gamma': expected a mapping"),
        ({"config": {"env_config": "field"}}, "spec.config.env_config = 'field': expected a map"),
    ],
)
def test_a_specification_that_cannot_be(tmp_path, changes, said):
    spec = {"env": "walk", "published": benchmarks.PUBLISHED}
    refused(benchmarks.write(tmp_path / "walk", spec=spec | changes), "study.json", said)


@pytest.mark.parametrize(
    ("metrics", "said"),
    [(["theirs"], "metrics = ['theirs']: expected reward"), (["reward"] * 2, "comes twice")],
)
def test_metrics_that_cannot_be(tmp_path, metrics, said):
    refused(benchmarks.write(tmp_path / "walk", metrics=metrics), "study.json", said)
