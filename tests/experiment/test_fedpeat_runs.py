"""Algorithms on fedpeat: trained from a YAML's form, saved, evaluated on the same episodes."""

import json

import pytest

from rllib_mec.experiment.environments import scenario, without_files
from rllib_mec.experiment.evaluate import evaluate
from rllib_mec.experiment.evaluate_command import evaluate_command
from rllib_mec.experiment.plan import prepare
from rllib_mec.experiment.spec import make
from rllib_mec.system.fedpeat import METRICS, FedPEATScenario

TINY = {"num_ues": 3, "num_rounds": 5}
SETTINGS = {
    "num_env_runners": 0,
    "train_batch_size_per_learner": 64,
    "minibatch_size": 32,
    "num_epochs": 1,
}
RUNS = {
    "SABPPO": ("SABPPO", {}, {}),
    "SABPPO-entities": ("SABPPO", {}, {"entity_shared": True, "ratio": "joint"}),
    "HMPPO-1": ("HMPPO", {"agents": 1}, {}),
    "HMPPO-3": ("HMPPO", {"agents": 3}, {"entity_shared": True, "ratio": "entity"}),
    "HMPPO-4": ("HMPPO", {"agents": 4}, {"ratio": "branch"}),
    "IPPO-4": ("IPPO", {"agents": 4}, {}),
    "PPO": ("PPO", {}, {}),
}


def form(run, env_config, settings):
    config = {**SETTINGS, **settings, "env_config": {**TINY, **env_config}}
    return {"run": run, "env": "fedpeat", "config": config}


@pytest.mark.ray
@pytest.mark.parametrize("name", RUNS)
def test_training_and_evaluation_show_all_metrics(ray_session, name, tmp_path, capsys):
    (config,) = prepare(make(name.lower(), form(*RUNS[name]))).configs
    algorithm = config.build_algo()
    try:
        results = algorithm.train()
        algorithm.save_to_path(str(tmp_path / "checkpoint"))
    finally:
        algorithm.stop()
    assert set(results["env_runners"]["episode_metrics"]) == set(METRICS)
    capsys.readouterr()
    out = tmp_path / "out.json"
    assert evaluate_command(str(tmp_path / "checkpoint"), None, {}, 3, 0, out, trust=True) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(METRICS)
    assert json.loads(out.read_text())["episodes"] == 3


@pytest.mark.ray
def test_a_policy_that_selects_nobody_scores_what_the_server_alone_does(ray_session, tmp_path):
    """So its episodes are those of every other target."""
    (config,) = prepare(make("sabppo", form("SABPPO", {}, {"lr": 0.0}))).configs
    algorithm = config.build_algo()
    try:
        module = algorithm.get_module("orchestrator")
        output = module.network.branches.output
        output.weight.data.zero_(), output.bias.data.fill_(-1.0)  # the coins' too
        algorithm.learner_group.set_weights({"orchestrator": module.get_state()})
        algorithm.save_to_path(str(tmp_path))
    finally:
        algorithm.stop()
    learned = evaluate(str(tmp_path), None, {}, 4, 0, trust=True)
    alone = evaluate("server-alone", "fedpeat", TINY, 4, 0)
    for name in METRICS:
        assert learned[name] == pytest.approx(alone[name])


def test_scenario_files_stay_behind(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("name: own\nnum_ues: 2\n", encoding="utf-8")
    found = without_files("fedpeat", {"scenario": str(path), "agents": 3})
    assert FedPEATScenario.of(found["scenario"]).num_ues == 2
    assert found["agents"] == 3
    assert scenario("fedpeat", found)["name"] == "own"
