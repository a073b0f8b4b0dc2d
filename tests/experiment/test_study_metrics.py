"""What studies of several environments measure, and how long their training takes."""

import json
from pathlib import Path

import pytest
import yaml

from rllib_mec.errors import InputError
from rllib_mec.experiment.report.results import read_study
from rllib_mec.experiment.study.carry_out import carry_out
from rllib_mec.experiment.study.metrics import MEC, metric_names
from rllib_mec.experiment.study.results import ABOUT, RUNS_SCHEMA, curves_schema, runs_schema
from rllib_mec.experiment.study.spec import make, read_file
from rllib_mec.experiment.study.units import units_of
from rllib_mec.system import fedpeat

EXAMPLES = Path(__file__).parents[2] / "tuned_examples"

FORM = {
    "env": "fedpeat",
    "num_ues": [3],
    "seeds": [4, 5],
    "steps": 80,
    "evaluation": {"episodes": 4, "seed": 7},
    "baselines": ["server-alone"],
    "config": {
        "env_config": {"num_rounds": 5},
        "num_envs_per_env_runner": 2,
        "train_batch_size_per_learner": 40,
        "minibatch_size": 20,
        "num_epochs": 1,
        "model_config": {"fcnet_hiddens": [8]},
    },
    "variants": {"SABPPO": {"run": "SABPPO"}},
}


def test_environments_say_what_they_measure():
    for name in ("mec", "mec-case-decision"):
        assert metric_names(name, {"num_ues": 2}) == MEC
    assert metric_names("mec", {"num_ues": 2, "turn_based": True}) == MEC
    assert metric_names("fedpeat", {}).all == fedpeat.METRICS
    energy = metric_names("fedpeat", {"scenario": "fedpeat-energy", "agents": 3})
    assert energy.metrics == (*fedpeat.METRICS, "energy_kj")
    assert metric_names("CartPole-v1", {}).all == ("reward",)


def test_columns_follow_the_metrics():
    names = metric_names("fedpeat", {})
    columns = runs_schema(names).names
    assert {"exchanges", "log_delay_se", "train_seconds"} <= set(columns)
    assert "total_delay_min" not in columns
    assert curves_schema(names).names[-4:] == list(fedpeat.METRICS)
    assert RUNS_SCHEMA.names[-1] == "train_seconds"


def test_all_variants_measure_the_same():
    other = {"run": "HMPPO", "env": "mec", "shared": False}
    form = FORM | {"variants": {"SABPPO": {"run": "SABPPO"}, "of mec": other}}
    form["config"] = FORM["config"] | {"env_config": {}}
    with pytest.raises(InputError, match="of mec measures reward, total_delay_min") as caught:
        units_of(make("s", form))
    assert "expected the metrics of server-alone in the same study, reward, log_delay" in str(
        caught.value
    )


def test_seeds_are_stacked_unless_each_is_to_be_timed():
    assert [unit.seeds for unit in units_of(make("s", FORM))] == [(), (4, 5)]
    alone = units_of(make("s", FORM | {"stacked": False}))
    assert [unit.seeds for unit in alone] == [(), (4,), (5,)]
    assert not any(unit.stacked for unit in alone)
    # As if there had been one seed from the start.
    (_, single) = units_of(make("s", FORM | {"seeds": [4]}))
    assert single.name == alone[1].name


@pytest.mark.ray
@pytest.mark.parametrize("stacked", [True, False])
def test_a_study_of_fedpeat_has_its_metrics_and_training_times(ray_session, tmp_path, stacked):
    unit = units_of(make("s", FORM | {"stacked": stacked}))[1]
    done = carry_out(unit, tmp_path, lambda steps, reward: None)
    times = [row["train_seconds"] for row in done.runs]
    assert len(set(times)) == 1
    assert 0 < sum(times) < done.seconds
    for row in done.runs:
        assert {name for name in fedpeat.METRICS if row[name] is not None} == set(fedpeat.METRICS)
    assert {name for name in fedpeat.METRICS if name in done.curves[0]} == set(fedpeat.METRICS)
    # What is there already is as fast as it was.
    again = carry_out(unit, tmp_path, lambda steps, reward: None)
    assert [row["train_seconds"] for row in again.runs] == times


@pytest.mark.ray
def test_stock_ppo_takes_part(ray_session, tmp_path):
    variant = {"run": "PPO", "config": {"num_env_runners": 0, "train_batch_size_per_learner": 40}}
    form = FORM | {"variants": {"PPO": variant}}
    unit = units_of(make("s", form))[1]
    assert unit.seeds == (4,)
    done = carry_out(unit, tmp_path, lambda steps, reward: None)
    assert done.runs[0]["train_seconds"] > 0
    assert done.runs[0]["perplexity"] > 1


@pytest.mark.ray
def test_stock_ppo_shares_parameters_among_unlike_agents(ray_session, tmp_path):
    settings = {
        "num_env_runners": 0,
        "train_batch_size_per_learner": 20,
        "minibatch_size": 20,
        "num_epochs": 1,
        "policies": ["shared"],
    }
    form = {
        "env": "mpe-speaker-listener",
        "seeds": [4],
        "steps": 40,
        "evaluation": {"episodes": 3},
        "config": {"env_config": {"max_cycles": 5, "padded": True}},
        "variants": {"PPO": {"run": "PPO", "config": settings}},
    }
    (unit,) = units_of(make("walk", form))
    (config,) = unit.plan().configs
    assert set(config.policies) == {"shared"}
    agents = ("speaker_0", "listener_0")
    assert {config.policy_mapping_fn(agent, None) for agent in agents} == {"shared"}
    done = carry_out(unit, tmp_path, lambda steps, reward: None)
    (row,) = done.runs
    assert (row["num_ues"], row["trained_ues"], row["seed"]) == (None, None, 4)
    assert row["mappo_return"] < row["reward"] < 0
    assert {point["num_ues"] for point in done.curves} == {None}
    assert done.curves[-1]["mappo_return"] < 0


def test_the_study_has_the_settings_of_the_tuned_example():
    (study,) = read_file(EXAMPLES / "studies" / "fedpeat.yaml")
    ours = units_of(study)
    (example,) = yaml.safe_load((EXAMPLES / "sabppo-fedpeat-6ue.yaml").read_text()).values()
    config = next(unit.form["config"] for unit in ours if unit.variant == "SABPPO")
    changed = {"lr", "seed", "env_config"}
    assert {key: value for key, value in config.items() if key not in changed} == {
        key: value for key, value in example["config"].items() if key not in changed
    }
    agents = {u.variant: u.form["config"]["env_config"].get("agents") for u in ours if u.seeds}
    assert (agents["HMPPO, 3 agents"], agents["HMPPO, 4 agents"]) == (3, 4)


def test_kept_results_read_as_before():
    kept = EXAMPLES / "studies" / "results"
    studies = [read_study(path) for path in sorted(kept.glob("*")) if path.is_dir()]
    older = [s for s in studies if "metrics" not in json.loads((s.path / ABOUT).read_text())]
    assert "table1" in {study.name for study in older}
    assert {study.origin.names for study in older} == {MEC}
    assert {run.train_seconds for study in older for run in study.runs} == {None}
