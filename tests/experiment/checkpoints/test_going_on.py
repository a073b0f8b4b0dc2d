"""Runs go on from the newest whole checkpoint, and new ones begin at a checkpoint."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tree
from forms import FORMS, plan_of

from rllib_mec.errors import InputError
from rllib_mec.experiment.checkpoints import manifest, state
from rllib_mec.experiment.plan import begin_at
from rllib_mec.experiment.run import Options, run

STEPS = "num_env_steps_sampled_lifetime"

pytestmark = pytest.mark.ray


def results(directory):
    """Returns the results of all sessions of the one trial, as (steps, iteration)."""
    (file,) = directory.glob("*/result.json")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return [(row[STEPS], row["training_iteration"]) for row in rows]


def checkpoints(directory):
    return sorted(directory.glob("*/checkpoint_*"))


def train(arguments, cwd):
    """Starts ``rllib train`` in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "rllib_mec.cli", "train", *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_after_the_driver_was_killed_training_goes_on_from_the_newest_whole_one(tmp_path):
    config, total = FORMS["HMPPO"]["config"], 1600
    arguments = ["--algo", "HMPPO", "--env", "mec", "--config", json.dumps(config)]
    arguments += ["--stop", json.dumps({STEPS: total}), "--checkpoint-freq", "1", "--name", "exp"]
    directory = tmp_path / "results" / "exp"

    driver = train(arguments, tmp_path)
    while len(checkpoints(directory)) < 5:
        assert driver.poll() is None, driver.stdout.read()
        time.sleep(0.02)
    os.killpg(driver.pid, signal.SIGKILL)  # the driver, and the Ray that it has started
    driver.communicate()
    # What was cut short is no checkpoint, and the newest is damaged.
    *_, valid, newest = checkpoints(directory)
    cut = newest / "state.msgpack"
    cut.write_bytes(cut.read_bytes()[:-1])
    kept = manifest.check(valid).progress

    resumed = train([*arguments, "--resume"], tmp_path)
    output, _ = resumed.communicate(timeout=240)
    assert resumed.returncode == 0, output
    assert f"passed over {newest}: damaged" in output
    after = [(40 * n, n) for n in range(kept["training_iteration"] + 1, total // 40 + 1)]
    assert after[0][0] == kept[STEPS] + 40
    assert results(directory)[-len(after) :] == after
    assert manifest.check(checkpoints(directory)[-1]).progress[STEPS] == total
    assert not list(directory.glob("*/.checkpoint_*"))


def learned(checkpoint):
    """What training changes."""
    data = manifest.check(checkpoint).read("state.msgpack")
    return state.unpack(data, "")["learner_group"]["learner"]


def test_a_new_run_begins_at_a_checkpoint(saved, tmp_path, capsys):
    start = saved("HMPPO")
    form = FORMS["HMPPO"] | {"stop": {STEPS: 80}, "storage_path": str(tmp_path)}
    plan = begin_at(plan_of(form), start)
    trial = plan.trainable(config=plan.param_space)
    try:
        trial.save(str(tmp_path / "again"))
    finally:
        trial.stop()
    assert_same(learned(tmp_path / "again"), learned(start))
    assert run([plan], Options()) == 0
    assert results(tmp_path / "exp") == [(80, 2)]
    (end,) = checkpoints(tmp_path / "exp")
    progress = manifest.check(end).progress
    assert (progress["training_iteration"], progress[STEPS]) == (2, 80)
    assert progress["time_total_s"] > 0
    assert progress["env_runners"]["episode_metrics"]["reward"] < 0


def test_a_checkpoint_that_does_not_fit_is_one_line(saved, tmp_path, capsys):
    with pytest.raises(InputError, match="is of PPO: expected one of HMPPO"):
        begin_at(plan_of(FORMS["HMPPO"]), saved("PPO"))
    with pytest.raises(InputError, match="a stack of 2"):
        begin_at(plan_of(FORMS["stack"]), saved("HMPPO"))
    form = json.loads(json.dumps(FORMS["HMPPO"]))
    form["config"]["env_config"]["num_ues"] = 3
    plan = begin_at(plan_of(form, stop={STEPS: 80}, storage_path=str(tmp_path)), saved("HMPPO"))
    assert run([plan], Options()) == 1
    error = capsys.readouterr().err
    assert re.search(r"failed: --restore .*does not fit: RuntimeError.*size mismatch", error)


def test_the_command_line_takes_everything_from_the_checkpoint(saved, tmp_path, monkeypatch, rllib):
    monkeypatch.chdir(tmp_path)
    status, _, errors = rllib(
        "train", "--restore", saved("HMPPO"), "--stop", json.dumps({STEPS: 120})
    )
    assert status == 0, errors
    directory = tmp_path / "results" / "HMPPO_mec"
    assert results(directory) == [(80, 2), (120, 3)]
    (end,) = checkpoints(directory)
    assert manifest.check(end).experiment == FORMS["HMPPO"]


@pytest.mark.parametrize("name", ["HMPPO", "PPO", "DQN", "hold", "stack"])
def test_saved_and_loaded_it_is_the_same(saved, tmp_path, name):
    plan = plan_of(FORMS[name])
    trial = plan.trainable(config=plan.param_space)
    try:
        trial.restore(str(saved(name)))
        trial.save(str(tmp_path / "again"))
        folders = [path.parent for path in saved(name).rglob("state.msgpack")]
        assert len(folders) == (2 if name == "stack" else 1)
        for folder in folders:
            again = tmp_path / "again" / folder.relative_to(saved(name))
            one, other = (
                state.unpack(manifest.check(path).read("state.msgpack"), "")
                for path in (folder, again)
            )
            assert one["training_iteration"] == other["training_iteration"] == 1
            assert one.keys() == other.keys()
            if name != "hold":
                assert_same(one["learner_group"], other["learner_group"])
        if name != "stack":
            assert trial.train()["training_iteration"] == 2
    finally:
        trial.stop()


def assert_same(ours, theirs):
    tree.assert_same_structure(ours, theirs)
    for one, other in zip(tree.flatten(ours), tree.flatten(theirs), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_search_s_checkpoints_hold_what_was_drawn(ray_session, tmp_path):
    config = FORMS["HMPPO"]["config"] | {
        "lr": {"loguniform": [1e-4, 1e-2]},
        "env_config": {"num_ues": {"grid_search": [2, 3]}, "num_tasks": 5},
        "model_config": {"initial_log_std": {"uniform": [0, 1]}},
    }
    form = FORMS["HMPPO"] | {"config": config, "stop": {STEPS: 40}}
    assert run([plan_of(form, storage_path=str(tmp_path))], Options()) == 0
    rows = [
        json.loads(Path(file).read_text().splitlines()[-1])["config"]
        for file in sorted((tmp_path / "exp").glob("HMPPO_*/result.json"))
    ]
    abouts = [manifest.check(folder) for folder in checkpoints(tmp_path / "exp")]
    assert len(abouts) == 2
    for row, about in zip(rows, abouts, strict=True):
        saved_config = about.experiment["config"]
        assert saved_config["lr"] == row["lr"]
        assert saved_config["env_config"] == row["env_config"]
        assert saved_config["model_config"] == row["_model_config"]
        assert about.scenario["num_ues"] == row["env_config"]["num_ues"]
    assert len({about.experiment["config"]["lr"] for about in abouts}) == 2
    assert np.ptp([about.scenario["num_ues"] for about in abouts]) == 1


def test_the_scenario_of_a_file_goes_along(ray_session, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("{num_ues: 2, num_tasks: 5, downlink_power_w: 7}")
    form = json.loads(json.dumps(FORMS["hold"]))
    form["config"]["env_config"] = {"scenario": str(file)}
    plan = plan_of(form)
    file.unlink()
    trial = plan.trainable(config=plan.param_space)
    trial.train()
    trial.save(str(tmp_path / "saved"))
    trial.stop()
    about = manifest.check(tmp_path / "saved")
    assert about.scenario["downlink_power_w"] == 7
    assert about.experiment["config"]["env_config"]["scenario"] == about.scenario
