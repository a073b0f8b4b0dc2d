"""Groups of agents and settings of single modules in a file, from the mistake to the checkpoint."""

import json
from pathlib import Path

import numpy as np
import pytest

from rllib_mec.errors import InputError
from rllib_mec.experiment.evaluate import evaluate
from rllib_mec.experiment.plan import prepare
from rllib_mec.experiment.spec import make, read_file
from rllib_mec.hmppo.sampling.batched_env_runner import BatchedEnvRunner
from rllib_mec.hmppo.sampling.episode_runner import EpisodeEnvRunner
from rllib_mec.orchestrator import ExportedPolicy

EXAMPLE = Path(__file__).parents[2] / "tuned_examples" / "hmppo-spread-groups.yaml"

FORM = """exp:
  run: HMPPO
  env: pettingzoo:mpe2.simple_spread_v3
  config:
    agent_groups:
      pair: [agent_0, agent_1]
    algorithm_config_overrides_per_module:
      pair: {lr: 1e-4}
      agent_2:
        clip_param: 0.1
    model_config:
      per_module:
        central_critic:
          fcnet_hiddens: [8]
"""


def prepared(path, old="", new=""):
    assert old in FORM
    path.write_text(FORM.replace(old, new))
    (experiment,) = read_file(path)
    return prepare(experiment)


def test_modules_are_what_the_file_says(tmp_path):
    [config] = prepared(tmp_path / "f.yaml").configs
    config = config.copy(copy_frozen=False)
    config.validate()
    specs = config.rl_module_spec.rl_module_specs
    assert set(specs) == {"pair", "agent_2", "central_critic"}
    widths = {mid: spec.model_config["fcnet_hiddens"] for mid, spec in specs.items()}
    assert widths == {"pair": [64, 64], "agent_2": [64, 64], "central_critic": [8]}
    rates = {mid: config.get_config_for_module(mid).lr for mid in specs}
    assert rates == {"pair": 1e-4, "agent_2": 1e-3, "central_critic": 1e-3}
    assert config.get_config_for_module("agent_2").clip_param == 0.1


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("agent_1]", "agent_9]", 6, "agent_groups.pair: agent_groups[pair] names 'agent_9': expec"),
        ("pair: [agent_0, agent_1]", "[agent_0]", 5, "agent_groups = ['agent_0']: expected a mapp"),
        ("[agent_0, agent_1]", "agent_0", 6, "agent_groups[pair] = 'agent_0': expected a list of"),
        (
            "pair: {lr",
            "pear: {lr",
            8,
            "module of 'pear': expected one of pair, agent_2, centr",
        ),
        ("pair: {lr", "agent_0: {lr", 8, "of 'agent_0': expected its group's name, 'pair'"),
        ("{lr: 1e-4}", "3", 8, "module.pair = 3: expected a mapping of settings"),
        ("{lr: 1e-4}", "{lr: fast}", 8, "pair.lr = 'fast': expected a number, a list or null"),
        ("{lr: 1e-4}", "{lr: -1.0}", 8, "lr = -1.0: expected a number >= 0"),
        ("clip_param", "clip_parm", 10, "unknown setting of HMPPO: did you mean 'clip_param'?"),
        ("clip_param: 0.1", "num_epochs: 3", 10, "agent_2.num_epochs: num_epochs of 'agent_2': ex"),
        ("central_critic:", "central:", 13, "per_module of 'central': expected one of pair, agent"),
        ("      per_module:", "      per_modul:", 12, "key 'per_modul': did you mean 'per_module'"),
        ("fcnet_hiddens", "fcnet_hidden", 14, "model_config key 'fcnet_hidden': did you mean 'fcn"),
    ],
)
def test_mistakes_are_found_in_the_file(tmp_path, old, new, line, message):
    file = tmp_path / "f.yaml"
    if new == "[agent_0]":
        old = f"\n      {old}"
        new = f" {new}"
    with pytest.raises(InputError) as caught:
        prepared(file, old, new)
    text = str(caught.value)
    assert text.startswith(f"{file}:{line}: exp.config."), text
    assert message in text
    assert "\n" not in text


def test_overrides_of_other_algorithms_are_checked_too():
    form = {"run": "PPO", "env": "mec", "config": {"env_config": {"num_ues": 2}}}
    form["config"]["algorithm_config_overrides_per_module"] = {"case_decision": {"gama": 0.5}}
    with pytest.raises(InputError, match=r"case_decision.gama = 0.5: unknown setting of PPO"):
        prepare(make("exp", form))


def test_searches_over_them():
    config = {
        "agent_groups": {"grid_search": ["alike", {}]},
        "model_config": {
            "per_module": {"central_critic": {"fcnet_hiddens": {"grid_search": [[4], [8]]}}}
        },
        "algorithm_config_overrides_per_module": {
            "central_critic": {"lr": {"loguniform": [1e-4, 1e-2]}}
        },
    }
    plan = prepare(make("exp", {"run": "HMPPO", "env": "mpe-spread", "config": config}))
    assert plan.num_trials == 4
    runners = []
    for own in plan.configs[:2]:
        own = own.copy(copy_frozen=False)
        own.validate()
        runners.append(own.env_runner_cls)
    assert set(runners) == {BatchedEnvRunner, EpisodeEnvRunner}


def trained(form, directory):
    """Trains for one iteration, and returns the checkpoint and the trial."""
    plan = prepare(form)
    trial = plan.trainable(config=plan.param_space)
    trial.train()
    trial.save(str(directory))
    return trial


SHORT = {
    "config.train_batch_size_per_learner": 50,
    "config.minibatch_size": 25,
    "config.num_epochs": 1,
    "config.num_envs_per_env_runner": 2,
}


@pytest.mark.ray
def test_the_example_is_trained_scored_exported_and_goes_on(ray_session, tmp_path, rllib):
    [experiment] = read_file(EXAMPLE, SHORT)
    trial = trained(experiment, tmp_path / "checkpoint")
    again = prepare(experiment)
    other = again.trainable(config=again.param_space)
    other.restore(str(tmp_path / "checkpoint"))
    ours, theirs = (own.learner_group.get_weights() for own in (trial, other))
    assert set(ours) == {"team", "central_critic"}
    for module_id, weights in ours.items():
        for name, value in weights.items():
            np.testing.assert_array_equal(value, theirs[module_id][name])
    assert other.train()["num_env_steps_sampled_lifetime"] == 100
    for algorithm in (trial, other):
        algorithm.stop()
    # Its environment is code to import, which has to be trusted.
    scores = evaluate(str(tmp_path / "checkpoint"), None, {}, 2, 0, trust=True)
    assert scores["reward"].shape == (2,)
    assert np.isfinite(scores["reward"]).all()
    status, _, errors = rllib(
        "export", tmp_path / "checkpoint", "--out", tmp_path / "out", "--trust"
    )
    assert status == 0, errors
    [actor] = json.loads((tmp_path / "out" / "spec.json").read_text())["actors"]
    assert actor["agent"] == "team"
    decided = ExportedPolicy(tmp_path / "out").decide({"team": np.zeros((4, 54), np.float32)})
    assert decided["team"].shape == (4, 3)


@pytest.mark.ray
def test_groups_that_batches_do_not_have_are_scored_by_episodes(ray_session, tmp_path, rllib):
    config = {"env_config": {"N": 3}, "agent_groups": {"pair": ["agent_2", "agent_0"]}}
    config |= {key.removeprefix("config."): value for key, value in SHORT.items()}
    form = make("exp", {"run": "HMPPO", "env": "mpe-spread", "config": config})
    trial = trained(form, tmp_path / "checkpoint")
    assert isinstance(trial.env_runner, EpisodeEnvRunner)
    assert list(trial.config.team().agents) == ["pair", "agent_1"]
    trial.stop()
    first, second = (
        evaluate(str(tmp_path / "checkpoint"), None, {}, 3, 0)["reward"] for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)
    assert len(set(first)) == 3
    status, _, errors = rllib("export", tmp_path / "checkpoint", "--out", tmp_path / "out")
    assert status == 0, errors


@pytest.mark.ray
def test_a_stack_has_chosen_groups_and_settings_of_modules(ray_session, tmp_path):
    config = {
        "env_config": {"N": 2},
        "agent_groups": "alike",
        "algorithm_config_overrides_per_module": {"agent": {"lr": 0.0}},
        "model_config": {"per_module": {"agent": {"fcnet_hiddens": [4]}}},
        **{key.removeprefix("config."): value for key, value in SHORT.items()},
    }
    experiment = {"run": "HMPPO", "env": "mpe-spread", "config": config}
    form = make("exp", experiment | {"stack": [{"lr": 1e-2}, {"lr": 1e-3}], "seeds": [0]})
    plan = prepare(form)
    trial = plan.trainable(config=plan.param_space)
    learners = [own.learner_group._learner for own in trial.training.algorithms.values()]
    before = [[p.clone() for p in own.module["agent"].parameters()] for own in learners]
    assert before[0][0].shape[0] == 4
    trial.train()
    for learner, weights in zip(learners, before, strict=True):
        rates = {mid: learner.get_optimizer(mid).param_groups[0]["lr"] for mid in ("agent",)}
        assert rates == {"agent": 0.0}
        for now, then in zip(learner.module["agent"].parameters(), weights, strict=True):
            assert (now == then).all()
    trial.stop()
    others = {**config, "agent_groups": {"agent": ["agent_1", "agent_0"]}}
    with pytest.raises(InputError, match="sampled in batches"):
        prepare(make("exp", experiment | {"config": others, "seeds": [0, 1]}))
