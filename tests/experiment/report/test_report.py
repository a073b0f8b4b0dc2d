"""`rllib report` as a whole: its files, and what it refuses."""

import html
import json
import re
from html.parser import HTMLParser

import made_up_studies as studies
import matplotlib as mpl
import pytest

from rllib_mec import cli
from rllib_mec.errors import InputError
from rllib_mec.experiment.report import figures
from rllib_mec.experiment.report.command import report_command, report_files
from rllib_mec.experiment.report.results import read_study

FILES = {"table1.json", "table1.md", "figure2.svg", "figure2.png", "scores.svg", "index.html"}


def further(folder):
    """A study with another name, of UEs that were not trained on, and signs that HTML knows."""
    runs, curves = studies.make(num_ues=(6,), seeds=2, variants=("HMPPO, decision_point", "IPPO"))
    zero_shot = [run | {"num_ues": 9} for run in runs if run["kind"] == "trained"]
    rows = [row | {"variant": f"{row['variant']} <i>&"} for row in [*runs, *zero_shot]]
    return studies.write(folder, rows, curves, name="zero-shot <b>")


def exit_code(*arguments):
    with pytest.raises(SystemExit) as ended:
        cli.main([str(argument) for argument in arguments])
    return ended.value.code


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """The study of Table I is the second."""
    folder = tmp_path_factory.mktemp("studies")
    return [further(folder / "other"), studies.write(folder / "table1", *studies.make())]


@pytest.fixture(scope="module")
def files(paths):
    return report_files([read_study(path) for path in paths])


def test_kept_studies_are_reported_and_always_the_same(paths, files, tmp_path, monkeypatch, capsys):
    kept, out = tmp_path / "studies" / "results", tmp_path / "a" / "report"
    kept.mkdir(parents=True)
    for path in paths:
        (kept / path.name).symlink_to(path)
    monkeypatch.setattr(cli, "_tuned_examples", lambda: [tmp_path])
    # A user's own style does not get in.
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black"}):
        assert exit_code("report", "--out", out) == 0
        assert mpl.rcParams["font.size"] == 30
    assert capsys.readouterr().out.split() == [str(out / name) for name in files]
    assert {file.name: file.read_bytes() for file in out.iterdir()} == files
    assert set(files) == FILES | {"studies.md"}


def test_the_json_is_strict(files):
    def refuse(constant):
        raise AssertionError(constant)

    table = json.loads(files["table1.json"], parse_constant=refuse)
    assert table["study"] == "table1"
    assert len(table["rows"]) == 12
    assert len(table["probability_of_improvement"]) == 4


class Page(HTMLParser):
    """Collects tags, attributes and ids, and whether what is opened is closed."""

    EMPTY = ("meta", "br")

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.ids, self.open = set(), [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_needs_nothing_but_itself(files):
    text = files["index.html"].decode()
    page = Page(text)
    assert page.open == []
    assert not page.tags & {"script", "link", "img", "iframe", "image"}
    assert "http" not in text
    assert "@import" not in text
    assert len(page.ids) == len(set(page.ids))
    wanted = {value[1:] for name, value in page.attributes if name.endswith("href")}
    wanted |= set(re.findall(r"url\(#([^)]+)\)", text))
    assert wanted <= set(page.ids)


def test_the_page_tells_of_each_variant_and_study(files):
    text = files["index.html"].decode()
    for variant in (*studies.TRAINED, "hold", "oracle", "IPPO <i>&"):
        assert f">{html.escape(variant)}</td>" in text
    assert "Study: zero-shot &lt;b&gt;" in text
    assert "<b>" not in text
    assert "<i>" not in text
    assert "rllib study tuned_examples/studies/table1.yaml" in text
    assert "-78.98" not in text  # numbers have a minus sign, not a hyphen
    assert "\N{MINUS SIGN}78.98" in text


def test_one_seed_and_no_scores(tmp_path):
    runs, curves = studies.make(num_ues=(7,), seeds=1)
    runs = [run for run in runs if run["variant"] != "random"]
    files = report_files([read_study(studies.write(tmp_path, runs, curves, name="small"))])
    assert set(files) == FILES - {"scores.svg"}
    text = files["index.html"].decode()
    assert "No scores with 7 UEs" in text
    assert "one seed, no interval" in text


def test_what_is_refused(paths, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="of a study 'table1' too"):
        report_files([read_study(paths[1])] * 2)
    with pytest.raises(InputError, match="at least one study"):
        report_files([])
    without = studies.write(tmp_path / "w", studies.make()[0], [])
    with pytest.raises(InputError, match=r"curves\.parquet: expected the training curves"):
        report_files([read_study(without)])
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expected a directory, found a file"):
        report_command(paths, tmp_path / "file")
    monkeypatch.setattr(figures.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'rllib_mec\[plot\]'"):
        report_command(paths, tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_the_command_line_refuses(tmp_path, monkeypatch, capsys):
    assert exit_code("report", tmp_path / "none", "--out", tmp_path / "out") == 2
    assert "none: expected a directory" in capsys.readouterr().err
    monkeypatch.setattr(cli, "_tuned_examples", lambda: [tmp_path])
    assert exit_code("report") == 2
    assert "there are no studies in" in capsys.readouterr().err
