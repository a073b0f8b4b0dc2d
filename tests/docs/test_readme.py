"""What the README and the pages beside the code say of the package is true."""

import ast
import dataclasses
import json
import re
from pathlib import Path

import pytest

from rllib_mec import registry
from rllib_mec.experiment.study.results import EXPLORED
from rllib_mec.system import Scenario
from rllib_mec.system.fedpeat import FedPEATScenario
from rllib_mec.system.measured_part import MeasuredQuality
from rllib_mec.system.parts import PARTS

ROOT = Path(__file__).parents[2]
EXTENDING = ROOT / "tuned_examples" / "extending" / "README.md"
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "rllib_mec").glob("*/README.md")),
    *sorted((ROOT / "tuned_examples").glob("*/README.md")),
]
TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}
# The page on extending has tests of its own.
README = "\n".join(text for page, text in TEXTS.items() if page != EXTENDING)
STUDIES = sorted((ROOT / "tuned_examples" / "studies").glob("*.yaml"))
RESULTS = ROOT / "tuned_examples" / "studies" / "results"
EXAMPLES = sorted(set((ROOT / "tuned_examples").rglob("*.yaml")) - set(STUDIES))


def _value(value):
    if value is None:
        return "off"
    if value == "":
        return "-"
    if isinstance(value, tuple):
        return f"[{', '.join(_value(v) for v in value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def row(field, part=""):
    """The README's row about a field of the scenario, or of a part of it."""
    meta = field.metadata
    cells = (_value(field.default), meta["unit"], meta["meaning"], meta["source"])
    return f"| `{part}{field.name}` | {' | '.join(cells)} |"


@pytest.mark.parametrize("field", dataclasses.fields(Scenario), ids=lambda field: field.name)
def test_the_scenario_table_holds_every_constant(field):
    assert row(field) in README


@pytest.mark.parametrize("field", dataclasses.fields(FedPEATScenario), ids=lambda each: each.name)
def test_the_tables_hold_every_constant_of_fedpeat(field):
    assert row(field) in README


@pytest.mark.parametrize("part", [*PARTS, "quality"])
def test_the_table_of_parts_holds_every_constant(part):
    kind = (PARTS | {"quality": MeasuredQuality})[part]
    assert all(row(field, f"{part}.") in README for field in dataclasses.fields(kind))


def test_the_results_are_those_that_are_kept():
    from rllib_mec.experiment.report.control import is_control
    from rllib_mec.experiment.report.field import field_tables, is_field
    from rllib_mec.experiment.report.markdown import field_markdown, further_markdown, markdown
    from rllib_mec.experiment.report.results import read_study
    from rllib_mec.experiment.report.table import make_table

    folders = sorted(path for path in RESULTS.iterdir() if path.is_dir())
    studies = {path.name: read_study(path) for path in folders}
    main = studies.pop("table1")
    assert markdown(make_table(main, with_paper=True)) in README
    assert main.origin.command in README
    of_mec = [study for study in studies.values() if not is_control(study)]
    others = [make_table(study) for study in of_mec if not is_field(study)]
    assert further_markdown(others) == (RESULTS / "studies.md").read_text(encoding="utf-8")
    fields = {table["study"]: table for table in field_tables(list(studies.values()))}
    kept = (RESULTS / "field.md").read_text(encoding="utf-8")
    assert field_markdown(list(fields.values())) == kept
    tables = [block for block in field_markdown([fields["field"]]).split("\n\n") if block[0] == "|"]
    assert len(tables) == 2
    assert all(table.strip() in README for table in tables)
    assert fields["field"]["command"] in README
    *_, compared = (block for block in kept.split("\n\n") if "less the first's" in block)
    assert compared.strip() in README


def test_the_control_of_federated_tuning_is_as_it_is_kept():
    from rllib_mec.experiment.report.control import control_table
    from rllib_mec.experiment.report.control_wording import in_words
    from rllib_mec.experiment.report.results import read_study

    for row in control_table(read_study(RESULTS / "fedpeat"))["rows"]:
        digits = (("log_delay", 2), ("exchanges", 1), ("perplexity", 1), ("train_seconds", 0))
        cells = [f"{row[name]['mean']:.{n}f}" if row[name] else "-" for name, n in digits]
        assert (
            f"| {row['policy']} | {in_words(row['reward'], 'reward')} | {' | '.join(cells)} |"
            in README
        )


def test_the_tasks_of_others_are_as_they_are_kept():
    from rllib_mec.experiment.report.benchmark import (
        at_steps,
        benchmark_table,
        curves_of,
        is_benchmark,
    )
    from rllib_mec.experiment.report.benchmark_page import returns
    from rllib_mec.experiment.report.results import read_study
    from rllib_mec.experiment.report.statistics import welch_difference

    studies = [read_study(path) for path in sorted(RESULTS.iterdir()) if path.is_dir()]
    found = [benchmark_table(study) for study in studies if is_benchmark(study)]
    assert found
    for table in found:
        assert table["command"] in README
        for cells in returns(table):
            assert f"| {' | '.join(cells)} |" in README
    (speaker,) = (study for study in studies if study.name == "speaker-listener")
    halfway = (
        [at_steps(curve, "mappo_return", 1_000_000) for curve in curves_of(speaker, name)]
        for name in ("HMPPO", "IPPO")
    )
    more = welch_difference(*halfway)
    low, high = more["ci95"]
    assert f"have {more['mean']:.1f} [{low:.1f}, {high:.1f}] more" in " ".join(README.split())


def test_federations_are_as_they_are_kept():
    pytest.importorskip("transformers")
    from rllib_mec.experiment.federation.results import read_results
    from rllib_mec.experiment.federation.summary import outcomes

    rows, _ = read_results(ROOT / "tuned_examples" / "federated" / "fed.parquet")
    found = {case.case: case for case in outcomes(rows)}
    for name, case in found.items():
        cells = (
            f"`{name}`",
            f"{case.perplexity:.1f} ({min(case.perplexities):.1f} to {max(case.perplexities):.1f})",
            f"{case.bytes_per_round / 1e6:.1f}",
            f"{case.seconds_per_round:.1f}",
            f"{case.exchanges:.0f}",
            f"{case.peak_memory_bytes / 1e6:.0f}",
        )
        assert f"| {' | '.join(cells)} |" in README
    fewer = found["fl"].bytes_per_round / found["fedpeat"].bytes_per_round
    above = 100 * (found["fedpeat"].perplexity / found["fl-peft"].perplexity - 1)
    assert f"sends {fewer:.1f} times fewer bytes than FL" in README
    assert f"a perplexity {above:.1f} % above that of FL + PEFT" in README


def test_the_measured_curves_are_those_that_are_kept():
    pytest.importorskip("transformers")
    from rllib_mec.experiment.profiling.summary import levels, markdown, points
    from rllib_mec.system.profile import read_profile

    kept = read_profile(ROOT / "tuned_examples" / "profiles" / "offline.parquet")
    assert markdown(kept, "layer_drop") in README
    distilled = read_profile(ROOT / "tuned_examples" / "profiles" / "distillation.parquet")
    for compression, name in (
        ("distillation", "zero_shot"),
        ("layer_drop", "zero_shot"),
        ("distillation", "plug_in"),
    ):
        first = [points(distilled, task, compression)[0] for task in distilled.tasks]
        said = " / ".join(f"{getattr(point, name)[1]:.1f}" for point in first)
        assert said in " ".join(README.split())
    low, middle, high = sorted(levels(kept).values())
    assert f"({middle:.2f}, {high:.2f} and {low:.2f} of their mean)" in README


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_studies_can_be_run_and_their_results_are_kept(file):
    from rllib_mec.experiment.report.results import read_study
    from rllib_mec.experiment.study.spec import read_file
    from rllib_mec.experiment.study.units import units_of

    for study in read_file(file):
        units = units_of(study)
        kept = read_study(RESULTS / study.name)
        kept_variants = {run.variant.removesuffix(EXPLORED) for run in kept.runs}
        assert kept_variants == {unit.variant for unit in units}
        spec = study.form.model_dump(exclude_none=True)
        assert kept.origin.spec == spec, "the study has been changed since it was run"
    assert file.read_text(encoding="utf-8").startswith("# ")


def test_the_speeds_are_those_that_are_kept():
    report = json.loads((ROOT / "tests/benchmarks/results/throughput.json").read_text())
    names = (
        "batched_over_stock",
        "batched_over_episodes",
        "batched_over_bare",
        "compiled_over_bare",
        "seeds8_over_one",
    )
    for work in report["works"].values():
        ratios = [work["ratios"].get(name) for name in names]
        cells = ["-" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
        assert f" | {' | '.join(cells)} |" in README
    assert report["ratios"] == report["works"]["large"]["ratios"]


def test_the_gain_of_sampling_ahead_is_the_one_that_is_kept():
    report = json.loads((ROOT / "tests/benchmarks/results/sample_ahead.json").read_text())
    batched, episodes = (report[way]["ahead_over_turns"] for way in ("batched", "episodes"))
    said = re.search(
        r"is ([\d.]+)\s+times as fast in batches.* ([\d.]+) times as fast by", README, re.S
    )
    assert said is not None
    assert said.groups() == (f"{batched:.2f}", f"{episodes:.2f}")


def test_the_time_of_a_whole_run_is_the_one_that_is_kept():
    report = json.loads((ROOT / "tests/benchmarks/results/end_to_end.json").read_text())
    assert f"took {report['rllib_train_over_bare_loop']:.2f} of the bare loop's time" in README
    assert {len(taken) for taken in report["seconds"].values()} == {1}  # "one pair of runs"


@pytest.mark.parametrize("name", [*registry.ALGORITHMS, *registry.BOUNDS, *registry.ENVIRONMENTS])
def test_names_are_explained(name):
    assert f"`{name}`" in README


def test_the_yaml_that_is_shown_is_accepted(tmp_path):
    from rllib_mec.experiment.plan import prepare
    from rllib_mec.experiment.spec import read_file

    (block,) = re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL)
    file = tmp_path / "readme.yaml"
    file.write_text(block)
    (experiment,) = read_file(file, {})
    assert prepare(experiment).num_trials == 3


def test_the_python_that_is_shown_runs(ray_session, capsys):
    scope: dict = {}
    exec(python_with("build_algo"), scope)
    scope["algorithm"].stop()
    assert "total_delay_min" in capsys.readouterr().out


def python_with(text):
    """The block of Python that holds this."""
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    (block,) = [block for block in blocks if text in block]
    return block


def test_the_orchestrator_that_is_shown_decides(tmp_path, monkeypatch, capsys):
    from rllib_mec.experiment.environments import scenario
    from rllib_mec.experiment.export.write import About, write_policy
    from rllib_mec.hmppo import HMPPOConfig

    registry.register()
    config = HMPPOConfig().environment("mec", env_config={"num_ues": 6})
    config.validate()
    policy = config.get_multi_rl_module_spec(inference_only=True).build()
    about = About("HMPPO", {"name": "mec", "config": {}}, scenario("mec", {}))
    write_policy(policy, about, tmp_path / "policy")
    monkeypatch.chdir(tmp_path)
    block = python_with("Orchestrator")
    exec(block, {})
    (shown,) = re.findall(r"^# (\{.*\})$", block, re.MULTILINE)
    decided = ast.literal_eval(capsys.readouterr().out)
    assert set(decided) == set(ast.literal_eval(shown))


def test_the_memory_that_is_kept_is_worth_what_was_measured():
    path = "tests/benchmarks/results/freed_memory.json"
    wide, narrow, _ = json.loads((ROOT / path).read_text())["works"]
    assert (wide["minibatch"], narrow["minibatch"]) == (3200, 320)
    low, high = wide["range"]
    text = " ".join(README.split())
    assert f"{wide['kept_over_untouched']:.2f} times as fast ({low:.2f} to {high:.2f}, " in text
    assert narrow["range"][0] <= 1 <= narrow["range"][1]
    assert path in text


def test_the_latencies_of_serving_are_those_that_are_kept():
    kept = json.loads((ROOT / "tests/benchmarks/results/serving.json").read_text())
    latency = kept["latency_ms"]
    shown = f"{latency['p50']:.1f} ms (median), {latency['p95']:.1f} ms (95 %) and"
    assert shown in README
    assert f"{latency['p99']:.1f} ms (99 %)" in README
    assert f"all {kept['statuses']['well-formed 200']:,} decisions were the policy's" in README
    assert kept["wrong"] == 0
    assert not [status for status in kept["statuses"] if status.split()[1] >= "500"]


def test_files_that_are_named_exist():
    named = set(
        re.findall(r"(?:tuned_examples|tests|rllib_mec)/[\w/.-]+\.(?:yaml|py|json|csv)", README)
    )
    assert len(named) > 4
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


def test_the_readme_is_short():
    assert len(TEXTS[ROOT / "README.md"].splitlines()) <= 250


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)\s]+)\)", TEXTS[page])
    assert links
    for link in links:
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {_anchor(heading) for heading in headings}, link


def _anchor(heading):
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_tuned_examples_can_be_run(file):
    from rllib_mec.experiment.plan import prepare
    from rllib_mec.experiment.spec import read_file

    (experiment,) = read_file(file, {})
    plan = prepare(experiment)
    assert (plan.num_trials > 1) == (file.parent.name == "tune") == bool(plan.searched)
    assert experiment.name == file.stem
    assert file.read_text(encoding="utf-8").startswith("# ")
