"""``rllib trace``, and evaluation of what was recorded."""

import json

import numpy as np
import pytest
from made_up_traces import SMALL, assert_equal, change, record, with_value
from pyarrow import parquet

from rllib_mec.cli import main
from rllib_mec.errors import InputError
from rllib_mec.experiment.evaluate import evaluate
from rllib_mec.experiment.record import record as record_episodes
from rllib_mec.system import Simulator

CONFIG = {"scenario": "field", "num_ues": 3, "num_tasks": 4}


def run(capsys, *arguments):
    """Runs the command and returns its exit code, output and errors."""
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    output = capsys.readouterr()
    return caught.value.code, output.out, output.err


def evaluated(capsys, target, config, out, *more, env="mec"):
    arguments = ("--env", env, "--config", json.dumps(config), "--episodes", 7, "--seed", 5)
    status, _, errors = run(capsys, "evaluate", target, *arguments, "--out", out, *more)
    assert (status, errors) == (0, "")
    return parquet.read_table(out).to_pydict()


def assert_same_episodes(one, other):
    for kind in ("channels", "tasks", "devices"):
        left, right = (parquet.read_table(path / f"{kind}.parquet") for path in (one, other))
        assert left.equals(right)


def test_a_recorded_run_replays_to_the_same_metrics(tmp_path, capsys):
    noisy = {**CONFIG, "observation_noise": 0.1}
    for target in ("random", "hold", "greedy", "oracle"):
        trace = tmp_path / target
        out = tmp_path / "out.parquet"
        of_run = evaluated(capsys, target, noisy, out, "--trace-out", trace)
        replayed = evaluated(capsys, target, {**noisy, "trace": str(trace)}, out)
        assert of_run == replayed
        assert len(set(of_run["reward"])) == 7
    # All targets play the same episodes, which can be recorded without any.
    arguments = ("--config", json.dumps(CONFIG), "--episodes", 7, "--seed", 5)
    status, text, _ = run(capsys, "trace", "record", *arguments, "--out", tmp_path / "trace")
    assert status == 0
    assert f"{tmp_path}/trace/tasks.parquet: task, 7 episodes, 3 UEs, steps 0 to 4, " in text
    assert_same_episodes(tmp_path / "trace", tmp_path / "hold")


def test_more_episodes_than_a_batch_replay_in_order(tmp_path, monkeypatch):
    from rllib_mec.experiment import evaluate as module

    monkeypatch.setattr(module, "MOST_ENVS", 3)
    batches = []
    metrics = evaluate("hold", "mec", CONFIG, 8, 2, record=batches)
    assert [len(batch.first_gain) for batch in batches] == [3, 3, 2]
    record_episodes(CONFIG, 8, 2, tmp_path / "trace")
    replayed = evaluate("hold", "mec", {**CONFIG, "trace": str(tmp_path / "trace")}, 8, 2)
    for name, values in metrics.items():
        np.testing.assert_array_equal(values, replayed[name])


def test_a_replay_can_be_recorded(tmp_path, capsys):
    record(tmp_path / "long")
    config = {**CONFIG, "trace": str(tmp_path / "long"), "replay": "bootstrap"}
    out = tmp_path / "out.parquet"
    of_run = evaluated(capsys, "hold", config, out, "--trace-out", tmp_path / "resampled")
    again = {**CONFIG, "trace": str(tmp_path / "resampled")}
    assert of_run == evaluated(capsys, "hold", again, out)


def test_other_environments_have_no_episodes_to_record(tmp_path, capsys):
    env = "pettingzoo:rllib_mec.envs.pettingzoo_views"
    arguments = ("evaluate", "random", "--env", env, "--trace-out", tmp_path / "trace")
    status, out, errors = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert errors.startswith(
        "error: --trace-out: expected the environment mec or mec-case-decision"
    )
    assert not (tmp_path / "trace").exists()


def test_workers_train_on_a_trace_and_its_evaluation_is_recorded(tmp_path, capsys, ray_session):
    from rllib_mec.hmppo import HMPPOConfig

    record(tmp_path / "trace")
    env_config = {**CONFIG, "trace": str(tmp_path / "trace"), "replay": "bootstrap"}
    config = HMPPOConfig().environment("mec", env_config=env_config)
    config.env_runners(num_env_runners=1, num_envs_per_env_runner=2)
    config.training(train_batch_size_per_learner=40, minibatch_size=20, num_epochs=1)
    algorithm = config.build_algo()
    assert algorithm.train()["num_env_steps_sampled_lifetime"] >= 40
    checkpoint = tmp_path / "checkpoint"
    algorithm.save_to_path(str(checkpoint))
    algorithm.stop()

    arguments = ("--trust", "--episodes", 5, "--seed", 1, "--out", tmp_path / "out.parquet")
    assert run(capsys, "evaluate", checkpoint, *arguments, "--trace-out", tmp_path / "run")[0] == 0
    of_run = parquet.read_table(tmp_path / "out.parquet")
    whole = json.dumps({"trace": str(tmp_path / "run"), "replay": "whole"})
    assert run(capsys, "evaluate", checkpoint, *arguments, "--config", whole)[0] == 0
    assert parquet.read_table(tmp_path / "out.parquet").equals(of_run)


def test_recorded_episodes_are_not_counted_twice(tmp_path):
    record(tmp_path)
    config = {**CONFIG, "trace": str(tmp_path)}
    with pytest.raises(InputError, match=r"--episodes 3: expected at most 2, all that .* holds"):
        evaluate("hold", "mec", config, 3, 0)
    assert len(evaluate("hold", "mec", {**config, "replay": "bootstrap"}, 3, 0)["reward"]) == 3


def test_validate_prints_a_line_for_each_file(tmp_path, capsys):
    record(tmp_path / "good")
    record(tmp_path / "bad")
    file = tmp_path / "bad" / "channels.parquet"
    change(file, with_value("gain", 3, -1.0))
    status, out, errors = run(capsys, "trace", "validate", tmp_path / "good", tmp_path / "bad")
    assert status == 2
    assert out.splitlines()[0] == (
        f"{tmp_path}/good/channels.parquet: ok: channel, 2 episodes, 3 UEs, steps -1 to 4, 36 "
        "rows of gain"
    )
    assert len(out.splitlines()) == 5
    assert errors == (
        f"error: {file}: gain, row 3 (UE 0, step 0, episode 0) = -1.0: expected a finite number "
        "above 0\n"
    )
    assert run(capsys, "trace", "validate", tmp_path / "good")[0] == 0
    assert run(capsys, "trace", "validate", tmp_path / "nowhere")[0] == 2


def test_validate_tells_whether_a_scenario_can_replay_it(tmp_path, capsys):
    record(tmp_path)
    config = json.dumps(CONFIG)
    assert run(capsys, "trace", "validate", tmp_path, "--config", config)[0] == 0
    status, _, errors = run(capsys, "trace", "validate", tmp_path, "--config", "{}")
    assert status == 2
    assert errors.startswith("error: env_config.num_ues = 6: expected 3, as in ")


def test_show_is_a_line_for_each_column(tmp_path, capsys):
    episode = record(tmp_path)
    status, out, _ = run(capsys, "trace", "show", tmp_path)
    assert status == 0
    (line,) = [line.split() for line in out.splitlines() if line.startswith("  battery_kj")]
    battery = episode.devices.battery_kj
    assert line[:2] == ["battery_kj", "kJ"]
    assert line[2:8:2] == ["min", "mean", "max"]
    expected = [battery.min(), battery.mean(), battery.max()]
    assert [float(number) for number in line[3:9:2]] == pytest.approx(expected, rel=1e-5)


def test_a_directory_with_a_trace_is_refused_before_anything_is_played(tmp_path, capsys):
    record(tmp_path)
    for command in (("trace", "record"), ("evaluate", "hold", "--env", "mec")):
        flag = "--out" if command[0] == "trace" else "--trace-out"
        status, out, errors = run(capsys, *command, flag, tmp_path)
        assert (status, out) == (2, "")
        assert "expected a directory without a trace, it holds channels.parquet" in errors


def test_the_first_environments_of_a_batch_are_those_of_a_smaller_one():
    simulator = Simulator(SMALL, 2)
    simulator.reset(3)
    first = simulator.episode.first(1)
    alone = Simulator(SMALL, 1)
    alone.reset(3)
    assert_equal(first, alone.episode)
