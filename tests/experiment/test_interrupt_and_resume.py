"""Ctrl-C and its kin: checkpoints are saved, and --resume goes on where the run stopped."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys

import pytest
import ray

from rllib_mec.experiment import interrupt
from rllib_mec.experiment.progress import Progress, progress_line

CONFIG = {
    "num_env_runners": 1,
    "num_epochs": 1,
    "minibatch_size": 128,
    "train_batch_size_per_learner": 256,
}
STEPS = 5120


class FakeTrial:
    RUNNING = "RUNNING"
    experiment_tag = ""

    def __init__(self, name, status="RUNNING"):
        self.trial_id, self.status = name, status

    def is_finished(self):
        return self.status == "TERMINATED"


@pytest.fixture(autouse=True)
def signals_arrive():
    """Whoever runs the tests in the background may have had signals ignored, for children too.

    Those that have come are forgotten, for tests in the same process.
    """
    numbers = (signal.SIGINT, signal.SIGHUP)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
    with interrupt.watching():
        assert not interrupt.requested()


@pytest.fixture
def tune_stopped(monkeypatch):
    """Stands in for Tune, which listens to SIGUSR1."""
    stopped = []
    before = signal.signal(signal.SIGUSR1, lambda *_: stopped.append(True))
    yield stopped
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_tune_is_stopped_when_every_running_trial_is_saved(number, tune_stopped, capsys):
    callback = interrupt.SaveOnInterrupt()
    trials = [FakeTrial("a"), FakeTrial("b"), FakeTrial("c", "PENDING")]
    before = signal.getsignal(number)
    with interrupt.watching():
        result = {}
        callback.on_trial_result(1, trials, trials[0], result)
        callback.on_step_end(1, trials)
        assert result == {}
        signal.raise_signal(number)
        assert interrupt.requested()
        callback.on_trial_result(2, trials, trials[0], result)
        assert result == {"should_checkpoint": True}
        callback.on_step_end(2, trials)
        callback.on_trial_save(3, trials, trials[0])
        callback.on_step_end(3, trials)
        assert not tune_stopped
        trials[1].status = "TERMINATED"  # it came to its own end
        callback.on_step_end(4, trials)
        assert tune_stopped
    assert signal.getsignal(number) is before
    assert "saving checkpoints" in capsys.readouterr().err


def test_the_second_signal_stops_at_once():
    with interrupt.watching():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupt.watching():
            signal.raise_signal(signal.SIGHUP)
            assert not interrupt.requested()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_reader_that_has_gone_ends_the_run_but_not_with_an_error():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream, interrupt.watching():
        interrupt.say("nobody reads this", stream)
        assert interrupt.requested()
        interrupt.say("nor this", stream)


METRICS = {"reward": -1.5, "server_share": 0.25}


def test_progress_lines_are_rationed_but_the_last_is_printed(capsys):
    trial = FakeTrial("a")
    progress = Progress({"num_env_steps_sampled_lifetime": 1000}, num_trials=1)
    for iteration in range(1, 6):
        result = {
            "num_env_steps_sampled_lifetime": 200 * iteration,
            "training_iteration": iteration,
            "time_total_s": float(iteration),
            "time_this_iter_s": 1.0,
            "env_runners": {"num_env_steps_sampled": 200, "episode_metrics": METRICS},
        }
        progress.on_trial_result(iteration, [trial], trial, result)
    progress.on_trial_complete(6, [trial], trial)
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("200/1,000 steps")
    assert last.startswith("1,000/1,000 steps")
    assert "reward -1.5" in last
    assert "server_share" not in last


def test_progress_line_of_a_resumed_trial_reckons_from_where_it_resumed():
    result = {
        "num_env_steps_sampled_lifetime": 6000,
        "training_iteration": 60,
        "time_total_s": 600.0,
        "env_runners": {"episode_return_mean": 12.3456},
    }
    first = {"num_env_steps_sampled_lifetime": 5000, "training_iteration": 50, "time_total_s": 500}
    line = progress_line(result, {"num_env_steps_sampled_lifetime": 10000}, first, 10.0)
    assert line == "6,000/10,000 steps  100/s  40s left  episode_return_mean 12.35"


def start(arguments, cwd):
    return subprocess.Popen(
        [sys.executable, "-m", "rllib_mec.cli", *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def results(directory):
    """Returns the training results of all sessions of the one trial, as (steps, iteration)."""
    (file,) = directory.glob("PPO_*/result.json")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return [(row["num_env_steps_sampled_lifetime"], row["training_iteration"]) for row in rows]


@pytest.mark.ray  # starts Ray, twice: about 30 s
def test_ctrl_c_saves_and_resume_continues(tmp_path, monkeypatch, rllib):
    stop = json.dumps({"num_env_steps_sampled_lifetime": STEPS})
    arguments = ["train", "--algo", "PPO", "--env", "CartPole-v1", "--name", "exp"]
    arguments += ["--config", json.dumps(CONFIG), "--stop", stop]
    directory = tmp_path / "results" / "exp"

    # As a terminal does: the signal goes to every process of the group, Ray's too.
    first = start(arguments, tmp_path)
    lines = []
    for line in first.stdout:
        lines.append(line)
        if f"/{STEPS:,} steps" in line:
            os.killpg(first.pid, signal.SIGINT)
            break
    lines += first.stdout.readlines()
    assert first.wait(timeout=60) == 130, "".join(lines)
    assert "Traceback" not in "".join(lines)
    command = re.search(r"to continue: rllib (.*)", "".join(lines))[1]
    assert shlex.split(command) == [*arguments, "--resume"]
    assert len(list(directory.glob("PPO_*/checkpoint_*"))) == 1
    before = results(directory)
    assert before[-1][0] < STEPS

    resumed = start(shlex.split(command), tmp_path)
    output, _ = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, output
    after = results(directory)[len(before) :]
    assert after[0] == (before[-1][0] + 256, before[-1][1] + 1)
    assert after[-1][0] == STEPS
    assert "Traceback" not in output

    # Nothing is left to do: it says so, without starting Ray.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray, "init", pytest.fail)
    status, output, _ = rllib(*shlex.split(command))
    assert status == 0
    assert "has finished already" in output
    assert len(results(directory)) == len(before) + len(after)

    # A setting that was changed in between is not ignored.
    status, _, errors = rllib(*shlex.split(command), "--seed", "3")
    assert status == 2
    assert "config.seed is 3 and was None when this run began" in errors
