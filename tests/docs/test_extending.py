"""The page on extending: it shows its files, which are short, and they run."""

import re
from pathlib import Path

import numpy as np
import pytest

from rllib_mec.experiment.evaluate import evaluate

FOLDER = Path(__file__).parents[2] / "tuned_examples" / "extending"
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
SHOWN = ("factory.yaml", "rendezvous.py", "attention.py")


@pytest.mark.parametrize("name", SHOWN)
def test_the_page_shows_the_file_which_is_short(name):
    content = (FOLDER / name).read_text(encoding="utf-8")
    kind = {"yaml": "yaml", "py": "python"}[name.rpartition(".")[2]]
    assert f"```{kind}\n{content}```" in PAGE
    assert len(content.splitlines()) <= 40


def test_its_links_lead_somewhere():
    links = re.findall(r"\]\(([^)]+)\)", PAGE)
    assert links
    assert [link for link in links if not (FOLDER / link).exists()] == []


@pytest.mark.ray
@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("name", ["factory", "rendezvous", "attention"])
def test_its_examples_train(name, tmp_path, monkeypatch, rllib):
    """By the page's own command, for some iterations, and what comes out can be evaluated."""
    monkeypatch.chdir(FOLDER.parents[1])
    assert f"rllib train file tuned_examples/extending/{name}.yaml" in PAGE
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    short, count = re.subn(r"(num_env_steps_sampled_lifetime:) \d+", r"\1 1600", text)
    assert count == 1
    file = tmp_path / f"{name}.yaml"
    file.write_text(short, encoding="utf-8")
    status, _, errors = rllib("train", "file", str(file), "--storage-path", str(tmp_path))
    assert status == 0, errors
    (checkpoint,) = tmp_path.glob(f"{name}/*/checkpoint_*")
    metrics = evaluate(str(checkpoint), None, {}, 10, 0, trust=True)
    assert np.isfinite(metrics["reward"]).all()
