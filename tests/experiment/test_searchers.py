"""Schedulers and searchers: what is refused before Ray starts, and small searches for real."""

import csv
import hashlib
import importlib.util
import json
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray import cloudpickle
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.tune.search.sample import Float

from rllib_mec.errors import InputError
from rllib_mec.experiment.plan import prepare
from rllib_mec.experiment.run import Options, run
from rllib_mec.experiment.searchers import WithinBounds
from rllib_mec.experiment.spec import make, read_file

REWARD = "env_runners/episode_metrics/reward"
LR = {"loguniform": [1e-4, 1e-2]}
POINT = {"lr": 1e-3, "model_config": {"initial_log_std": 0.7}}
SEARCHED = {"lr": LR, "model_config": {"initial_log_std": {"uniform": [0, 1]}}}


def plan(tune_config, config=None, **form):
    config = {"env_config": {"num_ues": 2}} | (config or {})
    form = {"run": "HMPPO", "env": "mec", "num_samples": 2, "config": config} | form
    return prepare(make("exp", form | {"tune_config": {"metric": REWARD} | tune_config}))


def pbt(mutations, **more):
    return {"scheduler": {"type": "pbt", "hyperparam_mutations": mutations} | more}


def optuna(**arguments):
    return {"search_alg": {"type": "optuna"} | arguments}


@pytest.mark.parametrize(
    ("tune_config", "form", "message"),
    [
        ({"scheduler": "ash"}, {}, "scheduler: unknown type 'ash': did you mean"),
        ({"scheduler": {"grace_period": 5}}, {}, "scheduler = .*: type is missing"),
        ({"scheduler": "asha", "metric": None}, {}, "metric is missing"),
        ({"scheduler": {"type": "asha", "metric": REWARD}}, {}, "use tune_config.metric instead"),
        (
            {"scheduler": {"type": "asha", "time_attr": "trainin_iteration"}},
            {},
            "scheduler.time_attr: unknown result .* did you mean 'training_iteration'",
        ),
        ({"scheduler": {"type": "asha", "grace": 5}}, {}, "scheduler: .*'grace'"),
        ({"scheduler": "pbt"}, {}, "hyperparam_mutations = None: expected settings and their"),
        (pbt({"lrr": LR}), {}, "mutations.lrr = .*: unknown setting of HMPPO: did you mean 'lr'"),
        (pbt({"num_workers": [1]}), {}, "mutations.num_workers.*old API stack"),
        (pbt({"entity_shared": [True]}), {}, "entity_shared: cannot be changed when weights are"),
        (pbt({"model_config": {"initial_log_std": [0, 1]}}), {}, "model_config: cannot be changed"),
        (pbt({"lr": 1e-3}), {}, "mutations.lr = 0.001: expected a list of values, or one of"),
        (pbt({"lr": {"grid_search": [1e-3]}}), {}, "mutations.lr = .*: expected a list of values"),
        (pbt({"lr": {"uniform": [2, 1]}}), {}, r"mutations.lr.uniform = \[2, 1\]: .*low below"),
        (pbt({"lr": [1e-3, "a"]}), {}, "mutations.lr = 'a': expected a number"),
        (pbt({"gamma": {"uniform": [0.5, 7]}}), {}, "gamma = 7.0: expected a number in"),
        (
            pbt({"gamma": {"uniform": [0.5, 7]}}),
            {"config": {"gamma": 0.5}},
            "mutations.gamma: .*gamma = 7.0: expected a number in",
        ),
        (pbt({"lr": LR}), {"num_samples": 1}, "expected num_samples >= 2"),
        (pbt({"lr": LR}), {"stack": [{"lr": 1}, {"lr": 2}]}, "lr: is set by stack, too"),
        ({"search_alg": "optun"}, {}, "search_alg: unknown type 'optun': did you mean 'optuna'"),
        (optuna(sed=1), SEARCHED, "search_alg.sed: unknown argument 'sed': did you mean 'seed'"),
        (optuna(seed="a"), SEARCHED, "search_alg.seed = 'a': expected a whole number"),
        (optuna(metric=REWARD), SEARCHED, "use tune_config.metric instead"),
        (optuna() | {"metric": None}, SEARCHED, "search_alg = 'optuna': .*metric is missing"),
        (optuna(), {}, "expected search spaces in config, got none"),
        (optuna(), {"lr": {"grid_search": [1e-3]}}, "config.lr.grid_search: optuna searches"),
        (optuna(), {"lr": {"randn": [1, 0.1]}}, "config.lr.randn: optuna searches choice, uniform"),
        (
            optuna(),
            {"model_config": {"fcnet_hiddens": [{"choice": [8, 16]}]}},
            "fcnet_hiddens.0.choice: .*none of them in a list",
        ),
        (optuna() | pbt({"lr": LR}), {}, "pbt searches itself"),
        (optuna(points_to_evaluate={}), SEARCHED, "points_to_evaluate = {}: expected a list"),
        (
            optuna(points_to_evaluate=[POINT, {"lr": 1e-3}]),
            SEARCHED,
            "points_to_evaluate.1 = .*: expected a value for each of lr, model_config.initial",
        ),
        (
            optuna(points_to_evaluate=[POINT | {"lr": 1.0}]),
            SEARCHED,
            r"points_to_evaluate.0.lr = 1.0: expected a value of loguniform \[0.0001, 0.01\]",
        ),
    ],
)
def test_what_is_refused(tune_config, form, message):
    names = {"num_samples", "stack", "config"}
    config = form.get("config", {k: v for k, v in form.items() if k not in names})
    others = {k: v for k, v in form.items() if k in names - {"config"}}
    with pytest.raises(InputError, match=message) as caught:
        plan(tune_config, config, **others)
    assert "\n" not in str(caught.value)


def test_an_error_in_a_file_names_its_line(tmp_path):
    file = tmp_path / "f.yaml"
    file.write_text(
        """exp:
  run: HMPPO
  env: mec
  num_samples: 2
  tune_config:
    metric: env_runners/episode_metrics/reward
    scheduler:
      type: pbt
      hyperparam_mutations:
        lr: {loguniform: [1.0e-4, 1.0e-2]}
        critic: [joint_state]
"""
    )
    (experiment,) = read_file(file)
    with pytest.raises(InputError) as caught:
        prepare(experiment)
    place = f"{file}:11: exp.tune_config.scheduler.hyperparam_mutations.critic: "
    assert str(caught.value).startswith(place)


def test_optuna_that_is_not_installed_is_one_error(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "optuna" else find_spec(name)
    )
    with pytest.raises(InputError, match=r"pip install 'rllib_mec\[tune\]'"):
        plan(optuna(), SEARCHED)


def test_mutations_are_first_values_where_config_has_none():
    mutations = {"lr": LR, "lambda": {"uniform": [0.8, 1]}, "num_epochs": {"choice": [5, 10]}}
    made = plan(pbt(mutations), {"lambda_": 0.9})
    assert isinstance(made.param_space["lr"], Float)
    assert made.param_space["lambda"] == 0.9
    assert set(made.searched) == {("lr",), ("lambda",), ("num_epochs",)}
    mutated = made.scheduler._hyperparam_mutations
    assert mutated.keys() == {"lr", "lambda", "num_epochs"}
    assert mutated["num_epochs"] == [5, 10]  # of which Tune takes a neighbour
    explored = made.scheduler._custom_explore_fn({"lr": 1.0, "lambda": 1.08, "num_epochs": 10})
    assert explored == {"lr": 1e-2, "lambda": 1.0, "num_epochs": 10}


@given(st.floats(-10, 10), st.floats(-10, 10), st.floats(-10, 10))
def test_mutated_settings_stay_within_their_bounds(value, one, other):
    low, high = min(one, other), max(one, other)
    kept = WithinBounds({"a": (low, high)})({"a": value, "b": 3})
    assert low <= kept["a"] <= high
    assert kept["b"] == 3
    assert kept["a"] == value or not low <= value <= high


def test_points_are_told_to_optuna_by_the_names_that_it_has():
    pytest.importorskip("optuna")
    made = plan(optuna(seed=3, points_to_evaluate=[POINT]), SEARCHED)
    made.search_alg.set_search_properties(REWARD, "max", made.param_space)
    first, second = (made.search_alg.suggest(name) for name in "ab")
    assert first == {"lr": 1e-3, "_model_config": {"initial_log_std": 0.7}}
    assert second != first


def searched(tmp_path, capsys, tune_config, config, **form):
    """Runs a search in this process; returns the rows of its table and what was printed."""
    made = plan(tune_config, config, storage_path=str(tmp_path), **form)
    assert run([made], Options()) == 0
    with (tmp_path / "exp" / "trials.csv").open(newline="") as stream:
        return list(csv.DictReader(stream)), capsys.readouterr().out


@pytest.mark.ray
def test_optuna_finds_what_is_better(ray_session, tmp_path, capsys):
    pytest.importorskip("optuna")
    power = {"loguniform": [0.1, 60]}
    # The seed: all trials play the same episodes, so that more power is better for certain.
    env_config = {"num_ues": 2, "num_tasks": 2, "downlink_power_w": power}
    config = {"env_config": env_config, "seed": 0}
    point = {"env_config": {"downlink_power_w": 0.1}}
    rows, printed = searched(
        tmp_path,
        capsys,
        optuna(seed=0, points_to_evaluate=[point]) | {"max_concurrent_trials": 2},
        config,
        run="hold",
        num_samples=3,
        stop={"training_iteration": 1},
    )
    powers = [float(row["env_config.downlink_power_w"]) for row in rows]
    rewards = [float(row["reward"]) for row in rows]
    assert powers[0] == 0.1
    assert len(set(powers)) == 3
    best = rewards.index(max(rewards))
    assert powers[best] == max(powers)
    assert f"best by {REWARD}: {rows[best]['trial']}" in printed
    tail = printed.rpartition("best by")[2]
    assert f"  env_config.downlink_power_w: {powers[best]}\n" in tail
    assert f"  rllib evaluate {tmp_path}/exp/{rows[best]['trial']}/checkpoint_" in tail
    assert f"downlink_power_w={powers[-1]:.4g}: " in printed


@pytest.mark.ray
def test_asha_ends_the_weaker_trials(ray_session, tmp_path, capsys):
    grid = {"grid_search": [60.0, 0.1]}
    steps = "num_env_steps_sampled_lifetime"
    asha = {"type": "asha", "time_attr": steps, "grace_period": 16, "max_t": 64}
    rows, _ = searched(
        tmp_path,
        capsys,
        {"scheduler": asha | {"reduction_factor": 2}, "max_concurrent_trials": 1},
        {"env_config": {"num_ues": 2, "num_tasks": 2, "downlink_power_w": grid}},
        run="hold",
        num_samples=1,
        stop={steps: 64},
    )
    taken = {float(row["env_config.downlink_power_w"]): float(row["steps"]) for row in rows}
    assert taken == {60.0: 64, 0.1: 16}


class Noted(RLlibCallback):
    """Puts into the results what an algorithm had when it took a checkpoint over, and has now."""

    def on_checkpoint_loaded(self, *, algorithm, **kwargs):
        learner = algorithm.learner_group._learner
        self.loaded = {
            "weights": digest(learner),
            "lr": [o.param_groups[0]["lr"] for o in learner._named_optimizers.values()],
            "gamma": [config.gamma for config in learner.module_configs.values()],
            "entropy_coeff": [
                learner.entropy_coeff_schedulers_per_module[agent].get_current_value()
                for agent in algorithm.config.team().agents
            ],
        }

    def on_train_result(self, *, algorithm, result, **kwargs):
        result["weights"] = digest(algorithm.learner_group._learner)
        if hasattr(self, "loaded"):
            result["loaded"] = self.loaded
            del self.loaded


def digest(learner):
    """Returns a number that other weights do not have."""
    state = learner.module.get_state()
    arrays = [array for _, own in sorted(state.items()) for _, array in sorted(own.items())]
    return hashlib.sha256(b"".join(np.asarray(array).tobytes() for array in arrays)).hexdigest()


@pytest.mark.ray  # an actor starts four times
def test_pbt_takes_weights_over_and_goes_on_with_its_own_settings(ray_session, tmp_path, capsys):
    # The workers of Ray do not find this module.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    mutations = {
        "lr": {"loguniform": [1e-4, 1e-2]},
        "gamma": {"uniform": [0.5, 0.99]},
        "entropy_coeff": {"uniform": [0.001, 0.1]},
    }
    steps = "num_env_steps_sampled_lifetime"
    tune_config = pbt(mutations)
    tune_config["scheduler"] |= {"time_attr": steps, "perturbation_interval": 128, "synch": True}
    tune_config["scheduler"] |= {"quantile_fraction": 0.5}
    config = {
        "env_config": {"num_ues": 2, "num_tasks": 8},
        "train_batch_size_per_learner": 64,
        "minibatch_size": 32,
        "num_epochs": 1,
        "callbacks_class": f"{__name__}:Noted",
    }
    rows, printed = searched(tmp_path, capsys, tune_config, config, stop={steps: 256})
    assert [float(row["steps"]) for row in rows] == [256, 256]

    folder = tmp_path / "exp"
    exploits = [json.loads(line) for line in (folder / "pbt_global.txt").read_text().splitlines()]
    trials = [
        [json.loads(line) for line in file.read_text().splitlines()]
        for file in sorted(folder.glob("*/result.json"))
    ]
    before = {row["weights"]: number for number, trial in enumerate(trials) for row in trial}
    taken_over = []
    for number, trial in enumerate(trials):
        for row in trial:
            if loaded := row.get("loaded"):
                for name in mutations:
                    assert set(loaded[name]) == {row["config"][name]}
                if before[loaded["weights"]] != number:
                    taken_over.append({name: row["config"][name] for name in mutations})
    assert taken_over
    news = [{name: new[name] for name in mutations} for *_, new in exploits]
    assert all(own in news for own in taken_over)
    for _, _, _, _, old, new in exploits:
        assert any(old[name] != new[name] for name in mutations)
    assert f"gamma={float(rows[0]['gamma']):.4g}" in printed
