"""``rllib show``: its files, the table, the figure, and one line for bad input."""

import html
import importlib.util
import json
import re

import numpy as np
import pytest
from pyarrow import parquet
from shown_forms import FIELD, ROUNDS, TINY

from rllib_mec.experiment.show.command import show_files
from rllib_mec.experiment.show.episode import play

FILES = ["episode.html", "episode.svg", "episode.png", "episode.parquet"]


def test_the_command_writes_all_files(rllib, tmp_path):
    out = tmp_path / "made" / "shown"
    arguments = ("--env", "mec", "--config", json.dumps(TINY), "--seed", 2, "--out", out)
    status, printed, _ = rllib("show", "random", *arguments)
    assert status == 0
    assert printed.splitlines() == [str(out / name) for name in FILES]
    expected = show_files(play("random", "mec", TINY, 2), "random", 2, explore=False)
    assert {name: (out / name).read_bytes() for name in FILES} == expected


@pytest.mark.ray
def test_a_checkpoint_needs_no_more_than_its_path(rllib, trained, tmp_path):
    status, _, errors = rllib("show", trained("field"), "--out", tmp_path)
    assert (status, errors) == (0, "")
    played = play(str(trained("field")), None, {}, 0)
    rows = parquet.read_table(tmp_path / "episode.parquet").to_pydict()
    assert sum(rows["step_reward"][::3]) == pytest.approx(played.metrics["reward"])


@pytest.mark.parametrize(
    ("env", "env_config"), [("mec", TINY), ("mec", FIELD), ("fedpeat", ROUNDS)]
)
def test_the_table_holds_every_number_with_its_unit(env, env_config, tmp_path):
    played = play("random", env, env_config, 2)
    file = tmp_path / "episode.parquet"
    file.write_bytes(show_files(played, "random", 2, explore=False)["episode.parquet"])
    table = parquet.read_table(file)
    assert set(table.column_names) == {"step", "ue", *played.ues, *played.steps}
    for name, values in played.ues.items():
        np.testing.assert_array_equal(table[name].to_numpy(), values.ravel())
    for name, values in played.steps.items():
        np.testing.assert_array_equal(table[name].to_numpy(), np.repeat(values, 3))
    np.testing.assert_array_equal(table["step"].to_numpy(), np.repeat(np.arange(6), 3))
    np.testing.assert_array_equal(table["ue"].to_numpy(), np.tile(np.arange(3), 6))
    units = {"_s": "s", "_kj": "kJ", "_mb": "MB", "_w": "W"}
    for field in table.schema:
        assert field.metadata[b"meaning"]
        ending = next((each for each in units if field.name.endswith(each)), None)
        if ending is not None:
            assert field.metadata[b"unit"].decode() == units[ending]
    origin = json.loads(table.schema.metadata[b"origin"])
    assert (origin["policy"], origin["seed"], origin["environment"]) == ("random", "2", env)


@pytest.mark.parametrize(("env", "env_config"), [("mec", FIELD), ("fedpeat", ROUNDS)])
def test_the_figure_shows_every_panel_and_ue(env, env_config):
    files = show_files(play("random", env, env_config, 2), "random", 2, explore=False)
    drawing, page = (html.unescape(files[f"episode.{end}"].decode()) for end in ("svg", "html"))
    titles = re.findall(r"<figcaption><b>(.*?)</b>", page)
    assert all(title in drawing for title in titles)
    lines = 4 if env == "mec" else 3
    assert len(titles) == 3 + lines
    for ue in range(3):
        assert drawing.count(f">UE {ue}<") == 3  # in each panel but those of lines
    assert "hold, in the same episode" in drawing
    assert files["episode.png"].startswith(b"\x89PNG")


BAD = {
    "hodl": (
        ("hodl", "--env", "mec"),
        "unknown checkpoint or baseline 'hodl': did you mean 'hold'",
    ),
    "oracle": (("oracle", "--env", "mec"), "rllib show oracle: a bound decides nothing"),
    "no env": (("hold",), "rllib show hold: expected --env"),
    "twice": (
        ("hold", "--env", "mec", "--config", '{"num_ues": 3, "num_ues": 4}'),
        "'num_ues' comes twice in one object",
    ),
    "deep": (("hold", "--env", "mec", "--config", "[" * 100_000), "--config"),
    "seed": (("hold", "--env", "mec", "--seed", "-1"), "--seed"),
    "config": (("hold", "--env", "mec", "--config", "{"), "--config"),
    "field": (("hold", "--env", "mec", "--config", '{"num_ues": 0}'), "num_ues = 0"),
    "foreign": (("random", "--env", "CartPole-v1"), "expected a MultiAgentEnv"),
    "checkpoint": (("nowhere/checkpoint",), "nowhere/checkpoint: there is no such checkpoint"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(rllib, tmp_path, name):
    arguments, message = BAD[name]
    status, printed, errors = rllib("show", *arguments, "--out", tmp_path / "out")
    assert (status, printed) == (2, "")
    assert errors.startswith("error: ")
    assert message in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_file_in_place_of_the_directory_is_one_line(rllib, tmp_path):
    (tmp_path / "out").write_text("mine")
    status, _, errors = rllib("show", "hold", "--env", "mec", "--out", tmp_path / "out")
    assert status == 2
    assert "expected a directory, found a file" in errors
    assert (tmp_path / "out").read_text() == "mine"
    status, _, errors = rllib("show", "hold", "--env", "mec", "--out", tmp_path / "out" / "deeper")
    assert status == 2
    assert "cannot write" in errors
    assert errors.count("\n") == 1


def test_matplotlib_is_asked_for(rllib, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *a: None if name == "matplotlib" else find(name, *a),
    )
    status, _, errors = rllib("show", "hold", "--env", "mec", "--out", tmp_path / "out")
    assert status == 2
    assert errors == "error: rllib show needs matplotlib: pip install 'rllib_mec[plot]'\n"
