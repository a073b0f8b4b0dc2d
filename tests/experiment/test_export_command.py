"""``rllib export``: checkpoints of training runs, and what cannot be exported."""

import importlib.util
import json
import shutil

import numpy as np
import pytest

from rllib_mec.baselines.episodes import play
from rllib_mec.envs import BatchedMECEnv
from rllib_mec.experiment.evaluate import evaluate, evaluation_streams
from rllib_mec.experiment.plan import prepare
from rllib_mec.experiment.spec import make
from rllib_mec.orchestrator import ExportedPolicy

TINY = {"num_ues": 3, "num_tasks": 5}
SHORT = {
    "num_env_runners": 0,
    "train_batch_size_per_learner": 40,
    "minibatch_size": 20,
    "num_epochs": 1,
}
RUNS = {
    "HMPPO": {"entity_shared": True, "case_head": "autoregressive"},
    "IPPO": {},
    "SABPPO": {"env_config": {**TINY, "single_agent": True, "scenario": "field"}},
    "PPO": {"env_config": {**TINY, "single_agent": True}},
}


@pytest.fixture(scope="module")
def checkpoint_of(ray_session, tmp_path_factory):
    """Returns a function that trains an algorithm for an iteration and gives its checkpoint."""
    made = {}

    def of(run, **changes):
        if run not in made:
            config = {"env_config": TINY, **SHORT, **RUNS.get(run, {})}
            form = {"run": run, "env": "mec", "config": config, **changes}
            plan = prepare(make("exp", form))
            trial = plan.trainable(config=plan.param_space)
            trial.train()
            made[run] = tmp_path_factory.mktemp("checkpoints") / run
            trial.save(str(made[run]))
            trial.stop()
        return made[run]

    return of


class OfFiles:
    """An exported policy as baselines are asked."""

    def __init__(self, directory):
        self.policy = ExportedPolicy(directory)

    def act(self, env, observations):
        return self.policy.decide(observations)


@pytest.mark.ray
@pytest.mark.parametrize("run", ["HMPPO", "IPPO", "SABPPO"])
def test_episodes_go_as_in_rllib_evaluate(checkpoint_of, rllib, tmp_path, run):
    checkpoint = checkpoint_of(run)
    status, output, _ = rllib("export", checkpoint, "--out", tmp_path / "out")
    assert status == 0
    assert output.splitlines()[-1] == f"exported {tmp_path / 'out'}"
    spec = json.loads((tmp_path / "out" / "spec.json").read_text())
    assert spec["algorithm"] == run
    assert spec["environment"]["name"] == "mec"
    assert spec["scenario"]["num_ues"] == 3
    assert spec["trained"]["num_env_steps_sampled_lifetime"] == 40
    metrics = evaluate(str(checkpoint), None, {}, 20, 0)
    envs = BatchedMECEnv(spec["environment"]["config"], 20)
    (stream,) = evaluation_streams(0, 20, 20)
    played, _ = play(envs, OfFiles(tmp_path / "out"), stream)
    for name, values in metrics.items():
        np.testing.assert_allclose(played[name], values, rtol=1e-4, err_msg=name)


@pytest.mark.ray
def test_a_policy_of_other_numbers_of_ues(checkpoint_of, rllib, tmp_path):
    config = json.dumps({"num_ues": 8})
    shared, plain = checkpoint_of("HMPPO"), checkpoint_of("IPPO")
    assert rllib("export", shared, "--out", tmp_path / "out", "--config", config)[0] == 0
    assert json.loads((tmp_path / "out" / "spec.json").read_text())["num_entities"] == 8
    status, _, errors = rllib("export", plain, "--out", tmp_path / "more", "--config", config)
    assert status == 2
    assert "the weights of case_decision do not fit" in errors
    assert not (tmp_path / "more").exists()


@pytest.mark.ray
def test_a_trace_that_is_gone_is_not_missed(ray_session, rllib, tmp_path):
    recorded, checkpoint = tmp_path / "recorded", tmp_path / "checkpoint"
    config = json.dumps(TINY)
    assert rllib("trace", "record", "--config", config, "--episodes", 9, "--out", recorded)[0] == 0
    env_config = {**TINY, "trace": str(recorded), "replay": "bootstrap", "replay_block": 2}
    form = {"run": "HMPPO", "env": "mec", "config": {"env_config": env_config, **SHORT}}
    plan = prepare(make("exp", form))
    trial = plan.trainable(config=plan.param_space)
    trial.train()
    trial.save(str(checkpoint))
    trial.stop()
    shutil.rmtree(recorded)
    assert rllib("export", checkpoint, "--out", tmp_path / "out")[0] == 0
    spec = json.loads((tmp_path / "out" / "spec.json").read_text())
    assert spec["environment"]["config"] == TINY


@pytest.mark.ray
@pytest.mark.parametrize("run", ["PPO", "hold"])
def test_what_cannot_be_exported_is_one_line(checkpoint_of, rllib, tmp_path, run):
    status, _, errors = rllib("export", checkpoint_of(run), "--out", tmp_path / "out")
    assert status == 2
    expected = (
        f"of {run}: expected a checkpoint of HMPPO, IPPO or SABPPO, others cannot be exported"
    )
    assert expected in errors
    assert not (tmp_path / "out").exists()


def test_bad_arguments_are_one_line(rllib, tmp_path):
    (tmp_path / "there").mkdir()
    cases = {
        (tmp_path / "none", "--out", tmp_path / "out"): "none: there is no such checkpoint",
        (tmp_path / "there", "--out", tmp_path / "out"): "expected a checkpoint",
        (tmp_path / "there", "--out", tmp_path / "there"): "expected a directory that is not there",
        (tmp_path / "there",): "--out",
        (tmp_path / "there", "--out", tmp_path / "out", "--config", "{"): "--config",
    }
    for arguments, expected in cases.items():
        status, _, errors = rllib("export", *arguments)
        assert status == 2
        assert expected in errors
        assert len(errors.splitlines()) == 1


def test_missing_libraries_are_one_line(rllib, tmp_path, monkeypatch):
    found = importlib.util.find_spec
    missing = {"onnx", "onnxruntime"}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name in missing else found(name, *a)
    )
    status, _, errors = rllib("export", tmp_path, "--out", tmp_path / "out")
    assert status == 2
    expected = "error: rllib export needs onnx, onnxruntime: pip install 'rllib_mec[export]'\n"
    assert errors == expected
