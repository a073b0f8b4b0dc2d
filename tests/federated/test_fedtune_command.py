"""The command ``rllib fedtune``, from a checkpoint to results."""

import dataclasses
import json
import os
import signal

import pytest
from small_models import byte_tokenizer, gpt2

from rllib_mec import cli
from rllib_mec.errors import InputError
from rllib_mec.experiment import workers
from rllib_mec.experiment.federation import run
from rllib_mec.experiment.federation.results import KEY, read_results
from rllib_mec.experiment.federation.summary import lines, outcomes
from rllib_mec.experiment.workers import RayWorkers
from rllib_mec.federated.rounds import Federation
from rllib_mec.federated.tuning import Update, answered


@pytest.fixture
def options(tmp_path):
    """A GPT-2 of six layers and a text, and little to do."""
    path = tmp_path / "gpt2"
    gpt2(6).save_pretrained(path)
    byte_tokenizer().save_pretrained(path)
    text = tmp_path / "numbers.txt"
    text.write_text(" ".join(str(number) for number in range(600)))
    return [
        *("--model", path, "--task", text, "--clients", 3, "--local-steps", 2, "--batch", 4),
        *("--server-steps", 2, "--retentions", "0.5,0.75", "--step-seconds", 0.5, "--rounds", 2),
        *("--validation", 16),
    ]


def fedtune(*arguments):
    """Runs the command and returns its exit code."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["fedtune", *map(str, arguments)])
    return ended.value.code


def played(path):
    """The rows of a file, but for how long they took."""
    return [dataclasses.replace(row, wall_seconds=0.0) for row in read_results(path)[0]]


def test_three_cases_are_played_and_compared(options, tmp_path, capsys):
    out = tmp_path / "fed.parquet"
    code = fedtune(*options, "--seeds", 2, "--out", out)
    printed = capsys.readouterr().out
    assert code == 0, printed
    rows, about = read_results(out)
    assert {(row.case, row.seed, row.round) for row in rows} == {
        (case, seed, number)
        for case in ("fedpeat", "fl-peft", "fl")
        for seed in (0, 1)
        for number in (0, 1, 2)
    }
    assert len(rows) == 18
    assert about["rules"]["retentions"] == [0.5, 0.75]
    by_case = {each.case: each for each in outcomes(rows)}
    fedpeat, fl = by_case["fedpeat"], by_case["fl"]
    assert fedpeat.bytes_per_round < by_case["fl-peft"].bytes_per_round < fl.bytes_per_round
    assert (fedpeat.exchanges, fl.exchanges, fl.rounds) == (3, 6, 2)
    assert fedpeat.seconds_per_round < fl.seconds_per_round
    assert fedpeat.peak_memory_bytes < fl.peak_memory_bytes
    ratio = fl.bytes_per_round / fedpeat.bytes_per_round
    assert f"fedpeat against fl: {ratio:.2f} x fewer bytes" in printed
    assert list(lines(rows)) == printed.splitlines()[:-2]
    assert "fedpeat" in (tmp_path / "fed.svg").read_text()


@pytest.mark.parametrize("case", ["fedpeat", "fl"])
def test_an_interrupted_run_goes_on_and_gives_the_same(case, options, tmp_path, monkeypatch):
    options += ["--case", case, "--rounds", 3, "--clip-norm", 1, "--noise", 0.01, "--rotate", 2]
    assert fedtune(*options, "--out", tmp_path / "whole.parquet") == 0
    count, actual = 0, Federation.round

    def interrupted(*arguments):
        nonlocal count
        count += 1
        if count == 2:
            raise KeyboardInterrupt
        return actual(*arguments)

    monkeypatch.setattr(Federation, "round", interrupted)
    part = tmp_path / "part.parquet"
    assert fedtune(*options, "--out", part) == 130
    assert not part.exists()
    assert fedtune(*options, "--out", part) == 0
    assert count == 2 + 2
    assert played(part) == played(tmp_path / "whole.parquet")
    (one,) = (tmp_path / "whole.parquet.work" / f"{case}-seed0").glob("*.safetensors")
    other = tmp_path / "part.parquet.work" / f"{case}-seed0" / one.name
    assert one.read_bytes() == other.read_bytes()


def test_more_rounds_seeds_and_cases_are_added_to_what_is_there(options, tmp_path, monkeypatch):
    options += ["--out", tmp_path / "fed.parquet"]
    assert fedtune(*options, "--case", "fedpeat") == 0
    first = played(tmp_path / "fed.parquet")
    rounds, actual = [], Federation.round
    monkeypatch.setattr(
        Federation,
        "round",
        lambda self, *rest: rounds.append(self.ground.case.name) or actual(self, *rest),
    )
    assert fedtune(*options, "--case", "fedpeat", "--case", "fl-peft", "--rounds", 3) == 0
    assert rounds == ["fedpeat"] + ["fl-peft"] * 3
    assert played(tmp_path / "fed.parquet")[:3] == first


def test_other_settings_and_damaged_weights_are_refused(options, tmp_path, capsys):
    options += ["--case", "fedpeat", "--out", tmp_path / "fed.parquet"]
    assert fedtune(*options) == 0
    assert fedtune(*options, "--dropout", 0.5) == 2
    assert "rules was" in capsys.readouterr().err
    folder = tmp_path / "fed.parquet.work" / "fedpeat-seed0"
    (weights,) = folder.glob("*.safetensors")
    whole = bytearray(weights.read_bytes())
    whole[-1] ^= 1
    weights.write_bytes(whole)
    assert fedtune(*options, "--rounds", 3) == 2
    assert "damaged: expected the weights after round 2; remove" in capsys.readouterr().err
    weights.unlink()
    assert fedtune(*options, "--rounds", 3) == 2
    assert "missing: expected the weights after round 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (["--case", "fedpaet"], "unknown case 'fedpaet': did you mean 'fedpeat'?"),
        (["--case", "fl", "--case", "fl"], "cases = fl, fl: expected each once"),
        (["--retentions", "0.1"], "retention = 0.1: expected at least 0.5, 2 of 4"),
        (["--retentions", "0.5,0.55"], "both keep 2 of 4"),
        (["--retentions", "half"], "--retentions half: expected numbers"),
        (["--compression", "zip"], "compression = 'zip': expected one of layer_drop, pruning"),
        (["--clients", "0"], "clients = 0: expected at least 1"),
        (["--clients", "10000"], "clients = 10000: expected at most"),
        (["--clients-per-round", "4"], "clients_per_round = 4: expected 1 to 3"),
        (["--rounds", "0"], "rounds = 0: expected at least 1"),
        (["--local-steps", "0"], "--local-steps 0: expected at least 1"),
        (["--server-steps", "-1"], "server_steps = -1: expected 0 or more"),
        (["--server-share", "0"], "server_share = 0: expected more"),
        (["--split", "dirichlet:1"], "split = dirichlet: expected at least two tasks"),
        (["--split", "even"], "split = 'even': expected iid, blocks or dirichlet:ALPHA"),
        (["--noise", "1"], "noise = 1: expected a clip_norm"),
        (["--slowness", "2"], "--slowness 2: expected two numbers, the lowest and the highest"),
        (["--uplink-mbps", "9,3"], "uplink_mbps = 9,3: expected two positive numbers"),
        (["--step-seconds", "-1"], "step_seconds = -1: expected a positive number"),
        (["--deadline-s", "nan"], "deadline_s = nan: expected a positive number"),
        (["--length", "17"], "length = 17: expected at most 16"),
        (["--out", "p.csv"], "--out p.csv: expected a .parquet file"),
    ],
)
def test_bad_input_is_one_line(wrong, words, options, tmp_path, capsys):
    assert fedtune(*options, "--out", tmp_path / "fed.parquet", *wrong) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert words in error


def test_results_of_others_are_refused(tmp_path):
    import pyarrow as pa
    from pyarrow import parquet

    other = tmp_path / "other.parquet"
    with pytest.raises(InputError, match="there is no such file"):
        read_results(other)
    parquet.write_table(pa.table({"case": ["fl"]}), other)
    with pytest.raises(InputError, match=f"{KEY} .* is missing"):
        read_results(other)
    schema = pa.schema([("case", pa.string())], {KEY: json.dumps({"format_version": 1})})
    parquet.write_table(pa.table({"case": ["fl"]}, schema=schema), other)
    with pytest.raises(InputError, match="expected the columns case, seed, round"):
        read_results(other)
    other.write_text("no")
    with pytest.raises(InputError, match="expected a Parquet file"):
        read_results(other)


def test_what_went_wrong_is_told(options, tmp_path, capsys, monkeypatch):
    def poison(work, ground, payload):
        update = answered(work, ground, payload)
        return Update(1, 5, b"poison") if work.client == 1 else update

    monkeypatch.setattr(run.fedtune, "__defaults__", (poison,))
    assert fedtune(*options, "--case", "fedpeat", "--out", tmp_path / "fed.parquet") == 0
    told = capsys.readouterr().err
    for number in (1, 2):
        assert f"fedpeat, seed 0, round {number}: client 1 refused: adapter of 6 bytes" in told
    rows = read_results(tmp_path / "fed.parquet")[0]
    assert [row.refused for row in rows] == [0, 1, 1]
    assert rows[1].events[0].startswith("client 1 refused")


@pytest.fixture
def on_ray(ray_session, monkeypatch):
    """Clients are two processes of the session's Ray."""
    import contextlib

    @contextlib.contextmanager
    def in_this_session(*arguments, retries):
        yield RayWorkers(2, retries)

    monkeypatch.setattr(workers, "workers", in_this_session)


@pytest.mark.ray
def test_workers_come_to_the_same(ray_session, options, tmp_path, request):
    options += ["--case", "fedpeat", "--rounds", 1]
    assert fedtune(*options, "--out", tmp_path / "one.parquet") == 0
    request.getfixturevalue("on_ray")
    assert fedtune(*options, "--out", tmp_path / "two.parquet", "--workers", 2) == 0
    for one, two in zip(
        played(tmp_path / "one.parquet"), played(tmp_path / "two.parquet"), strict=True
    ):
        assert one.perplexity == pytest.approx(two.perplexity, rel=1e-5)
        assert dataclasses.replace(one, perplexity=two.perplexity) == two


@pytest.mark.ray
def test_a_client_killed_in_a_round_loses_nothing_else(options, tmp_path, on_ray, monkeypatch):
    def dies(work, ground, payload):
        if (work.client, work.number) == (1, 1):
            os.kill(os.getpid(), signal.SIGKILL)
        if (work.client, work.number) == (2, 2):
            raise RuntimeError("no battery")
        return answered(work, ground, payload)

    monkeypatch.setattr(run.fedtune, "__defaults__", (dies,))
    out = tmp_path / "fed.parquet"
    assert fedtune(*options, "--case", "fedpeat", "--rounds", 3, "--out", out, "--workers", 2) == 0
    before, first, second, third = read_results(out)[0]
    assert [row.failed for row in (before, first, second, third)] == [0, 1, 1, 0]
    assert [row.used for row in (first, second, third)] == [2, 2, 3]
    assert first.server_used == 1
    assert first.events[0].startswith("client 1 failed: ")
    assert second.events == ("client 2 failed: no battery",)
    assert third.perplexity < before.perplexity
    assert third.exchanges == 0
    assert first.adapter_bytes_up < third.adapter_bytes_up
