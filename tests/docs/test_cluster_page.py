"""docker/CLUSTER.md says what was measured, and names tests that there are."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docker" / "CLUSTER.md").read_text()


def rows(header):
    """Returns the cells of the table whose header begins so."""
    lines = PAGE[PAGE.index(header) :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_tables_of_scale_are_those_that_are_kept():
    kept = json.loads((ROOT / "tests/benchmarks/results/scale.json").read_text())
    measured = rows("| nodes | workers |")
    assert len(measured) == len(kept["measured"])
    for cells, row in zip(measured, kept["measured"], strict=True):
        assert cells == [
            str(row["nodes"]),
            str(row["runners"]),
            f"{row['steps']:,}",
            f"{row['steps_per_s']:,}",
            *(f"{row[part]:.3f}" for part in ("sampling_s", "learning_s", "sync_s")),
            f"{row['store_bytes_per_iteration'] / 1e6:.1f}",
        ]
    predicted = rows("| nodes | steps per iteration | steps/s | trial")
    parts = ("trial_s", "runner_s", "learning_s", "sync_s", "network_s")
    for cells, row in zip(predicted, kept["predicted"], strict=True):
        assert cells[:3] == [str(row["nodes"]), f"{row['steps']:,}", f"{row['steps_per_s']:,}"]
        assert cells[3:] == [f"{row[part]:.3f}" for part in parts]


def test_the_recorded_run_is_what_the_page_says():
    runs = json.loads((ROOT / "tests/cluster/recorded_run.json").read_text())["runs"]
    assert {run["exit_code"] for run in runs.values()} == {0}
    assert {run["env_steps"] for run in runs.values()} == {300_000}
    assert runs["killed"]["killed_after_steps"] > 0
    assert runs["killed"]["runner_restarts"] == 1


FAULTS = rows("| fault | what happens")


@pytest.mark.parametrize("row", FAULTS, ids=[cells[0] for cells in FAULTS])
def test_every_fault_has_a_test(row):
    named = re.findall(r"`((?:tests/)?[\w/]+\.py)`", row[2])
    assert named
    for name in named:
        path = ROOT / name if name.startswith("tests/") else ROOT / "tests" / "hmppo" / name
        assert path.is_file(), path
