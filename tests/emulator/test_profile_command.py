"""The command ``rllib profile``, from a checkpoint to a profile."""

import json

import pytest
import torch
from small_models import byte_tokenizer, gpt2, llama

from rllib_mec import cli
from rllib_mec.emulator import measure
from rllib_mec.emulator.adapters import Adapter
from rllib_mec.emulator.measure import Tuning, Unit
from rllib_mec.emulator.tokens import Sequences
from rllib_mec.emulator.training import Training
from rllib_mec.errors import InputError
from rllib_mec.experiment.profiling import run
from rllib_mec.experiment.profiling.summary import levels, points, spearman
from rllib_mec.experiment.workers import Job, RayWorkers, Workers
from rllib_mec.system.profile import read_profile


@pytest.fixture
def checkpoint(tmp_path):
    """A Llama of six layers in several files, as large models come."""
    path = tmp_path / "llama"
    llama(6).save_pretrained(path, max_shard_size="20KB")
    byte_tokenizer().save_pretrained(path)
    assert len(list(path.glob("*.safetensors"))) > 1
    return path


@pytest.fixture
def texts(tmp_path):
    """Two tasks that differ."""
    for name, words in (("numbers", "one two three four "), ("letters", "a b c d e f g ")):
        (tmp_path / f"{name}.txt").write_text(words * 60)
    return f"{tmp_path / 'numbers.txt'},words={tmp_path / 'letters.txt'}"


def profile(*arguments):
    """Runs the command and returns its exit code."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["profile", *map(str, arguments)])
    return ended.value.code


SHORT = ("--steps", 3, "--batch", 4, "--seeds", 2)


def test_a_checkpoint_becomes_a_profile(checkpoint, texts, tmp_path, capsys):
    out = tmp_path / "p.parquet"
    compressions = "layer_drop,pruning,distillation"
    options = ["--model", checkpoint, "--tasks", texts, "--out", out, *SHORT]
    code = profile(
        *options,
        "--compressions",
        compressions,
        "--distil-steps",
        2,
        "--distil-on",
        texts.split(",")[0],
    )
    printed = capsys.readouterr().out
    assert code == 0, printed
    found = read_profile(out)
    assert found.tasks == ("numbers", "words")
    assert found.compressions == tuple(compressions.split(","))
    # Two tasks, two seeds: server, full, and two retentions below 1 of three compressions.
    assert len(found.rows) == 2 * 2 * (2 + 2 * 3)
    assert {row.retention for row in found.rows} == {0.5, 0.75, 1.0}
    drop = [row for row in found.rows if row.compression == "layer_drop"]
    assert {(row.retention, row.kept_layers) for row in drop} == {(0.5, 2), (0.75, 3)}
    layer = sum(weight.numel() for weight in llama(2).model.layers[0].parameters())
    assert {row.adapter_parameters for row in drop} == {2 * layer}
    assert found.about["model"] == str(checkpoint)
    assert found.about["tuning"]["training"]["steps"] == 3
    for name in ("p.svg", "p-pruning.svg", "p-distillation.svg"):
        assert "numbers" in (tmp_path / name).read_text()
    assert "words, pruning" in printed
    assert f"profile {out}" in printed
    for task in found.tasks:
        curve = points(found, task, "layer_drop")
        assert [point.retention for point in curve] == [0.5, 0.75, 1.0]
        assert -1 <= spearman(found, task, "layer_drop") <= 1
    assert sum(levels(found).values()) == pytest.approx(2)


def test_an_interrupted_sweep_goes_on_and_gives_the_same(checkpoint, texts, tmp_path, monkeypatch):
    options = ["--model", checkpoint, "--tasks", texts, *SHORT]
    assert profile(*options, "--out", tmp_path / "whole.parquet") == 0
    count = 0
    actual = measure.measure

    def interrupted(*arguments):
        nonlocal count
        count += 1
        if count == 6:
            raise KeyboardInterrupt
        return actual(*arguments)

    monkeypatch.setattr(run, "measure", interrupted)
    part = tmp_path / "part.parquet"
    assert profile(*options, "--out", part) == 130
    assert not part.exists()
    assert profile(*options, "--out", part) == 0
    units = 2 * 2 * (2 + 2)
    assert count == 6 + units - 5
    whole = read_profile(tmp_path / "whole.parquet")
    for a, b in zip(whole.rows, read_profile(part).rows, strict=True):
        assert (a.tuned, a.plug_in, a.zero_shot) == (b.tuned, b.plug_in, b.zero_shot)


def test_a_sweep_grows_and_keeps_what_it_has(checkpoint, texts, tmp_path, monkeypatch):
    options = ["--model", checkpoint, "--tasks", texts, "--out", tmp_path / "p.parquet"]
    assert profile(*options, "--steps", 3, "--batch", 4, "--seeds", 1) == 0
    measured = []
    actual = measure.measure
    monkeypatch.setattr(
        run, "measure", lambda unit, *rest: measured.append(unit) or actual(unit, *rest)
    )
    assert profile(*options, *SHORT) == 0
    assert {unit.seed for unit in measured} == {1}


def test_other_settings_do_not_mix_with_what_is_there(checkpoint, texts, tmp_path, capsys):
    options = ["--model", checkpoint, "--tasks", texts, "--out", tmp_path / "p.parquet"]
    assert profile(*options, *SHORT) == 0
    assert profile(*options, *SHORT, "--lr", 0.1) == 2
    error = capsys.readouterr().err
    assert "tuning was" in error
    assert "another --out" in error


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--retentions", "0.1,0.5"], "retention = 0.1: expected at least 0.5, 2 of 4"),
        (["--retentions", "0.5,1.5"], "retention = 1.5: expected a share of layers, in (0, 1]"),
        (["--retentions", "0.5,0.55"], "both keep 2 of 4"),
        (["--retentions", "0.5,1"], "expected at least two below 1"),
        (["--retentions", "half"], "--retentions half: expected numbers"),
        (["--adapter-layers", "2"], "retentions = 1: expected at least two below 1"),
        (["--adapter-layers", "3"], "adapter_layers = 3: expected at most 2"),
        (["--compressions", "zip"], "compression = 'zip': expected one of layer_drop"),
        (["--length", "17"], "length = 17: expected at most 16"),
        (["--steps", "0"], "steps = 0: expected a positive number"),
        (["--tasks", "refrence"], "unknown task 'refrence': did you mean 'reference'?"),
        (["--tasks", ""], "--tasks '': expected at least one"),
        (["--out", "p.csv"], "--out p.csv: expected a .parquet file"),
        (["--model", "./gone"], "model ./gone: expected a directory with config.json"),
    ],
)
def test_bad_input_is_one_line(options, words, checkpoint, texts, tmp_path, capsys):
    rest = ["--model", checkpoint, "--tasks", texts, "--out", tmp_path / "p.parquet", *SHORT]
    assert profile(*rest, *options) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_empty_text_is_one_line(checkpoint, tmp_path, capsys):
    (tmp_path / "empty.txt").write_text("")
    assert profile("--model", checkpoint, "--tasks", tmp_path / "empty.txt") == 2
    assert capsys.readouterr().err == ("error: text empty: expected some text, and there is none\n")


def test_an_adapter_that_diverges_names_its_measurement(checkpoint, texts, tmp_path, capsys):
    options = ["--model", checkpoint, "--tasks", texts, "--out", tmp_path / "p.parquet", *SHORT]
    assert profile(*options, "--lr", 1e30) == 2
    error = capsys.readouterr().err
    assert "numbers-server-seed0: the loss is" in error
    assert "expected a smaller lr" in error
    # All weights are tuned with a rate of their own: those measurements are kept.
    assert (tmp_path / "p.parquet.work" / "rows" / "numbers-full-seed0.json").is_file()


def test_missing_libraries_are_named(monkeypatch, capsys):
    import importlib.util

    actual = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "peft" else actual(name)
    )
    assert profile() == 2
    assert "rllib profile needs peft: pip install 'rllib_mec[emulator]'" in capsys.readouterr().err


def test_the_server_tunes_on_the_whole_model_and_full_tuning_all_weights(checkpoint):
    torch.manual_seed(0)
    tokens = torch.randint(256, (40, 16))
    sequences = Sequences("t", tokens[:30], tokens[30:])
    tuning = Tuning(Adapter(), Training(3, 4, 1e-3), 1e-3)
    model = gpt2(6)
    server = measure.measure(Unit("t", "server", 0), model, sequences, tuning)
    full = measure.measure(Unit("t", "full", 0), model, sequences, tuning)
    numbers = sum(weight.numel() for weight in model.parameters())
    assert server.tuned == server.plug_in
    assert server.zero_shot == full.zero_shot
    assert (server.retention, server.kept_layers) == (1.0, 4)
    assert server.adapter_parameters + server.emulator_parameters == numbers
    assert full.adapter_parameters == numbers
    assert full.adapter_bytes == 4 * numbers
    assert full.flops_per_token > server.flops_per_token
    assert full.peak_memory_bytes > server.peak_memory_bytes


@pytest.mark.ray
@pytest.mark.parametrize("kind", ["here", "ray"])
def test_workers_keep_what_goes_well_and_name_what_does_not(kind, ray_session, capsys):
    import functools

    def times_two(number, shared):
        if number == 3:
            raise InputError("three is refused")
        return number * shared

    workers = Workers() if kind == "here" else RayWorkers(2)
    kept = {}
    jobs = [
        Job(f"job {n}", functools.partial(times_two, n), functools.partial(kept.__setitem__, n))
        for n in (1, 3, 4)
    ]
    with pytest.raises(InputError, match="1 of 3 failed: job 3: three is refused"):
        workers.run("doubling", jobs, 2)
    assert kept == {1: 2, 4: 8}


@pytest.mark.ray
def test_several_workers_measure_the_same(checkpoint, texts, tmp_path, ray_session, monkeypatch):
    import contextlib

    from rllib_mec.experiment import workers

    @contextlib.contextmanager
    def in_this_session(*arguments):
        yield RayWorkers(4)  # of four CPUs: a thread each

    options = ["--model", checkpoint, "--tasks", texts, *SHORT]
    assert profile(*options, "--out", tmp_path / "one.parquet") == 0
    monkeypatch.setattr(workers, "workers", in_this_session)
    assert profile(*options, "--out", tmp_path / "two.parquet", "--workers", 2) == 0
    one, two = (read_profile(tmp_path / f"{name}.parquet") for name in ("one", "two"))
    for a, b in zip(one.rows, two.rows, strict=True):
        assert (a.task, a.case, a.retention, a.seed) == (b.task, b.case, b.retention, b.seed)
        assert a.plug_in == pytest.approx(b.plug_in, rel=1e-5)
    settings = json.loads((tmp_path / "two.parquet.work" / "settings.json").read_text())
    assert set(settings["texts"]) == {"numbers", "words"}
