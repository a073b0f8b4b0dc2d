"""``rllib evaluate``: the report, its files, checkpoints of all kinds, and refusals."""

import json
import shutil

import numpy as np
import pytest
import torch
from pyarrow import parquet
from ray.rllib.callbacks.callbacks import RLlibCallback

from rllib_mec.errors import InputError
from rllib_mec.experiment.checkpoints import reading
from rllib_mec.experiment.checkpoints.policies import trained_policy
from rllib_mec.experiment.evaluate import evaluate
from rllib_mec.experiment.evaluate_command import evaluate_command, summarise
from rllib_mec.hmppo import HMPPOConfig
from rllib_mec.system import DECISIONS, METRICS

TINY = {"num_ues": 3, "num_tasks": 5}
SHORT = {"train_batch_size_per_learner": 100, "minibatch_size": 50, "num_epochs": 1}
ALL = {*METRICS, *DECISIONS}


@pytest.fixture(scope="module")
def checkpoints(ray_session, tmp_path_factory):
    """Checkpoints of one iteration each, as RLlib itself writes them: HMPPO and PPO."""
    from ray.rllib.algorithms.ppo import PPOConfig

    from rllib_mec.hmppo.config import module_of_agent

    configs = {
        "plain": HMPPOConfig().environment("mec", env_config=TINY),
        "shared": HMPPOConfig().environment("mec", env_config=TINY).training(entity_shared=True),
        "in_turn": HMPPOConfig()
        .environment("mec", env_config=TINY)
        .training(entity_shared=True, case_head="autoregressive"),
        "turn_based": PPOConfig()
        .environment("mec", env_config={**TINY, "turn_based": True})
        .multi_agent(
            policies={"case_decision", "emulator_config"}, policy_mapping_fn=module_of_agent
        ),
        "single_agent": PPOConfig().environment("CartPole-v1"),
    }
    paths = {}
    for name, config in configs.items():
        config.env_runners(num_env_runners=0, num_envs_per_env_runner=2)
        config.training(**SHORT)
        algorithm = config.build_algo()
        algorithm.train()
        paths[name] = tmp_path_factory.mktemp("checkpoints") / name
        algorithm.save_to_path(str(paths[name]))
        algorithm.stop()
    return paths


def test_evaluation_adds_nothing_to_a_recording(ray_session, tmp_path):
    for batched in (True, False):
        config = HMPPOConfig().environment("mec", env_config=TINY)
        config.training(batched=batched, **SHORT)
        algorithm = config.offline_data(output=str(tmp_path / "output")).build_algo()
        algorithm.train()
        algorithm.save_to_path(str(tmp_path / "checkpoint"))
        algorithm.stop()
        before = sorted((tmp_path / "output").rglob("*"))
        assert set(evaluate(str(tmp_path / "checkpoint"), None, {}, 2, 0, trust=True)) == ALL
        assert sorted((tmp_path / "output").rglob("*")) == before
        assert len(before) == 2 + (not batched)


def test_the_interval_is_students():
    # Mean 2, standard error 1 / sqrt(3), t(0.975, 2 degrees of freedom) = 4.302653.
    summary = summarise(np.array([1.0, 2.0, 3.0]))
    assert summary["mean"] == 2
    assert summary["ci95"] == pytest.approx([2 - 2.484138, 2 + 2.484138], abs=1e-6)
    assert summarise(np.array([5.0])) == {"mean": 5.0, "ci95": None}


def test_a_report_as_json_and_rows_as_parquet(tmp_path, capsys):
    for suffix in (".json", ".parquet"):
        assert evaluate_command("random", "mec", TINY, 20, 3, tmp_path / f"out{suffix}") == 0
    report = json.loads((tmp_path / "out.json").read_text())
    assert (report["episodes"], report["seed"]) == (20, 3)
    assert set(report["metrics"]) == ALL
    rows = parquet.read_table(tmp_path / "out.parquet")
    assert rows.num_rows == 20
    assert set(rows.column_names) == {"episode", *ALL}
    low, high = report["metrics"]["reward"]["ci95"]
    assert low < report["metrics"]["reward"]["mean"] < high
    assert report["metrics"]["reward"]["mean"] == pytest.approx(
        rows["reward"].to_numpy().mean(), abs=1e-12
    )
    assert "95 % CI" in capsys.readouterr().out


def test_episodes_that_lack_a_metric_do_not_count(tmp_path, capsys):
    summary = summarise(np.array([1.0, np.nan, 2.0, 3.0]))
    assert summary == summarise(np.array([1.0, 2.0, 3.0]))
    assert summarise(np.array([np.nan])) == {"mean": None, "ci95": None}
    # Random: a quarter of the episodes of one UE and two tasks have no local training.
    for name, lacking in (("hold", 0), ("all-server", 40), ("random", None)):
        for suffix in (".json", ".parquet"):
            config = {"num_ues": 1, "num_tasks": 2}
            assert evaluate_command(name, "mec", config, 40, 3, tmp_path / f"out{suffix}") == 0
        rows = parquet.read_table(tmp_path / "out.parquet")["local_retention"]
        assert rows.null_count == lacking or (lacking is None and 0 < rows.null_count < 40)
        means = json.loads((tmp_path / "out.json").read_text())["metrics"]
        assert means["local_retention"]["mean"] == (
            pytest.approx(rows.drop_null().to_numpy().mean()) if len(rows.drop_null()) else None
        )
        lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
        assert (lines["local_retention"] == "-") == (name == "all-server")


def test_episodes_are_the_same_for_every_target_and_number_of_episodes():
    # With one UE that always uploads, the delay depends on the drawn tasks alone.
    config = {"num_ues": 1, "num_tasks": 2}
    few, many = (evaluate("all-server", "mec", config, n, 0) for n in (3, 300))
    np.testing.assert_array_equal(few["total_delay_min"], many["total_delay_min"][:3])
    other = evaluate("all-server", "mec", config, 3, 1)
    assert (other["total_delay_min"] != few["total_delay_min"]).all()
    assert len(np.unique(many["total_delay_min"])) == 300


def test_the_oracle_bounds_the_same_episodes_one_by_one():
    # Upload is as good as free, and the better model is there: what is optimal is to upload always.
    config = {
        "num_ues": 1,
        "num_tasks": 2,
        "uplink_bandwidth_hz": 1e12,
        "perplexity_coefficients": [0.0, -10.0, 20.0],
    }
    policy, bound = (evaluate(name, "mec", config, 300, 0) for name in ("all-server", "oracle"))
    assert set(bound) == {"reward"}
    np.testing.assert_allclose(bound["reward"], policy["reward"], atol=1e-4)
    assert np.ptp(bound["reward"]) > 0.1


def test_episodes_are_unseen_in_training():
    # Training with seed s draws from the streams of s itself.
    from rllib_mec.baselines.episodes import play
    from rllib_mec.baselines.policies import make_policy
    from rllib_mec.envs import BatchedMECEnv

    env = BatchedMECEnv({"num_ues": 1, "num_tasks": 2}, 10)
    policy = make_policy("all-server", env, np.random.SeedSequence(0))
    seen = play(env, policy, 0)[0]["total_delay_min"]
    unseen = evaluate("all-server", "mec", {"num_ues": 1, "num_tasks": 2}, 10, 0)
    assert not np.isin(unseen["total_delay_min"], seen).any()


@pytest.mark.ray
@pytest.mark.parametrize("name", ["plain", "shared", "in_turn", "turn_based"])
def test_checkpoints_act_the_same_each_time(checkpoints, name):
    first, second = (evaluate(str(checkpoints[name]), None, {}, 4, 0, trust=True) for _ in range(2))
    assert set(first) == ALL
    for metric in ALL:
        assert len(first[metric]) == 4
        np.testing.assert_array_equal(first[metric], second[metric])


@pytest.mark.ray
def test_rllib_s_own_runner_may_meet_episodes_that_lack_a_metric(checkpoints):
    """One UE and one task at a time, with drawn actions: about half of them on the server."""
    one = {"num_ues": 3, "num_tasks": 1, "arrivals": {"probability": 0.3}}
    path = str(checkpoints["turn_based"])
    metrics = evaluate(path, None, one, 40, 0, trust=True, explore=True)
    lacking = np.isnan(metrics["local_retention"])
    assert 0 < lacking.sum() < 40
    assert lacking[metrics["server_share"] == 1].all()
    assert not lacking[metrics["server_share"] < 1].any()


@pytest.mark.ray
@pytest.mark.parametrize("name", ["plain", "in_turn", "turn_based"])
def test_actions_can_be_drawn(checkpoints, name):
    likely = evaluate(str(checkpoints[name]), None, {}, 4, 0, trust=True)
    drawn = evaluate(str(checkpoints[name]), None, {}, 4, 0, trust=True, explore=True)
    assert not np.isin(drawn["reward"], likely["reward"]).any()
    if name != "turn_based":  # RLlib's own runner draws from the process's stream.
        again = evaluate(str(checkpoints[name]), None, {}, 4, 0, trust=True, explore=True)
        np.testing.assert_array_equal(drawn["reward"], again["reward"])


@pytest.mark.ray
@pytest.mark.parametrize("name", ["plain", "turn_based"])
def test_paths_may_be_relative(checkpoints, name, monkeypatch):
    monkeypatch.chdir(checkpoints[name].parent)
    relative, absolute = (
        evaluate(str(p), None, {}, 2, 0, trust=True) for p in (name, checkpoints[name])
    )
    np.testing.assert_array_equal(relative["reward"], absolute["reward"])


@pytest.mark.ray
def test_a_policy_acts_as_its_module_does(checkpoints):
    loaded = reading.read(checkpoints["plain"], None, {}, trust=True)
    single = loaded.env.check(loaded.env_config)
    policy, env = trained_policy(loaded, single), single.batched(4)
    observations = env.reset(seed=0)
    actions = policy.act(env, observations)
    batch = {agent: {"obs": torch.as_tensor(value)} for agent, value in observations.items()}
    forward = policy.module.forward_inference(batch)
    decided = forward["case_decision"]["actions"].numpy()
    np.testing.assert_array_equal(decided, actions["case_decision"])
    # RLlib's [-1, 1] is the environment's [0.2, 0.8].
    retention = 0.5 + 0.3 * forward["emulator_config"]["actions"].numpy().clip(-1, 1)
    np.testing.assert_allclose(retention, actions["emulator_config"], atol=1e-6)


class PerEpisode(RLlibCallback):
    """Makes training sample by episodes; evaluation runs no callbacks."""

    def on_episode_end(self, **kwargs):
        pass


@pytest.mark.ray
def test_callbacks_of_training_are_not_run(checkpoints, tmp_path):
    config = HMPPOConfig().environment("mec", env_config=TINY).callbacks(PerEpisode)
    algorithm = config.build_algo()
    algorithm.restore_from_path(str(checkpoints["plain"]))
    algorithm.save_to_path(str(tmp_path / "checkpoint"))
    algorithm.stop()
    metrics, expected = (
        evaluate(str(path), None, {}, 4, 0, trust=True)
        for path in (tmp_path / "checkpoint", checkpoints["plain"])
    )
    np.testing.assert_array_equal(metrics["reward"], expected["reward"])


@pytest.mark.ray
def test_what_was_sampled_ahead_in_training_is_scored_by_episodes(ray_session, tmp_path):
    config = HMPPOConfig().environment("mec", env_config=TINY)
    config.fault_tolerance(restart_failed_sub_environments=True)  # which batches do not have
    config.env_runners(num_env_runners=1, num_envs_per_env_runner=2)
    algorithm = config.training(sample_ahead=1).build_algo()
    algorithm.save_to_path(str(tmp_path))
    algorithm.stop()
    assert set(evaluate(str(tmp_path), None, {}, 2, 0, trust=True)) == ALL


@pytest.mark.ray
@pytest.mark.parametrize("name", ["shared", "in_turn"])
def test_shared_actors_run_with_other_numbers_of_ues(checkpoints, name):
    metrics = evaluate(str(checkpoints[name]), None, {"num_ues": 9}, 4, 0, trust=True)
    assert (metrics["total_delay_min"] > 0).all()
    with pytest.raises(InputError, match=r"do not fit env_config.*'num_ues': 9.*size mismatch"):
        evaluate(str(checkpoints["plain"]), None, {"num_ues": 9}, 4, 0, trust=True)


@pytest.mark.ray
def test_single_agent_checkpoints_are_scored_too(checkpoints):
    metrics = evaluate(str(checkpoints["single_agent"]), None, {}, 3, 0, trust=True)
    assert metrics["reward"].shape == (3,)
    assert (metrics["reward"] >= 1).all()


@pytest.mark.ray
def test_damaged_checkpoints_are_refused(checkpoints, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(checkpoints["plain"], damaged)
    shutil.rmtree(damaged / "learner_group" / "learner" / "rl_module" / "case_decision")
    with pytest.raises(InputError, match="no weights of case_decision"):
        evaluate(str(damaged), None, {}, 2, 0, trust=True)
    (damaged / "class_and_ctor_args.pkl").write_bytes(b"\x80\x05")
    with pytest.raises(InputError, match="the checkpoint cannot be read"):
        evaluate(str(damaged), None, {}, 2, 0, trust=True)
    with pytest.raises(InputError, match="expected a checkpoint, with manifest"):
        evaluate(str(tmp_path), None, {}, 2, 0, trust=True)


@pytest.mark.parametrize(
    ("target", "env", "env_config", "message"),
    [
        ("hodl", "mec", {}, "unknown checkpoint or baseline 'hodl': did you mean 'hold'"),
        ("nowhere/checkpoint", None, {}, "nowhere/checkpoint: there is no such checkpoint"),
        ("hold", None, {}, "expected --env"),
        ("x" * 5000, None, {}, "unknown checkpoint or baseline"),
        ("oracle", None, {}, "expected --env"),
        ("oracle", "CartPole-v1", {}, "expected a MultiAgentEnv"),
        ("oracle", "mec", {"turn_based": True}, "oracle knows the environment mec"),
        ("oralce", "mec", {}, "unknown checkpoint or baseline 'oralce': did you mean 'oracle'"),
        ("hold", "CartPole-v1", {}, "expected a MultiAgentEnv"),
        ("hold", "mec", {"num_ues": 0}, "num_ues = 0"),
        ("hold", "mec", {"turn_based": True}, "hold knows the environment mec"),
    ],
)
def test_bad_input_is_refused(target, env, env_config, message):
    with pytest.raises(InputError, match=message):
        evaluate(target, env, env_config, 2, 0)


def test_a_file_that_cannot_be_written_is_refused_first(tmp_path):
    with pytest.raises(InputError, match="there is no directory"):
        evaluate_command("random", "mec", TINY, 10**9, 0, tmp_path / "missing" / "out.json")
    (tmp_path / "out.json").mkdir()
    with pytest.raises(InputError, match="expected a file, this is a directory"):
        evaluate_command("random", "mec", TINY, 10**9, 0, tmp_path / "out.json")


def test_the_table_is_not_lost_with_the_file(tmp_path, capsys):
    (tmp_path / "out.json").symlink_to(tmp_path / "missing" / "out.json")
    with pytest.raises(InputError, match=r"out.json: No such file"):
        evaluate_command("random", "mec", TINY, 2, 0, tmp_path / "out.json")
    assert "reward" in capsys.readouterr().out


def test_seeds_are_those_that_torch_has():
    for seed in (-1, 2**63):
        with pytest.raises(InputError, match=f"--seed {seed}: expected a whole number in"):
            evaluate_command("random", "mec", TINY, 2, seed, None)
