"""What is recorded is the episode that ``rllib evaluate`` plays, whole."""

import numpy as np
import pytest
from shown_forms import FIELD, FORMS, OF_FEDPEAT, OF_MEC, ROUNDS, TINY

from rllib_mec.errors import InputError
from rllib_mec.experiment.evaluate import evaluate
from rllib_mec.experiment.show.episode import hold, play

BASELINES = [
    *((name, "mec", TINY) for name in ("hold", "random", "all-server", "greedy")),
    *((name, "mec", FIELD) for name in ("hold", "random", "greedy-coordinate", "best-fixed")),
    ("random", "mec", {**TINY, "turn_based": True}),
    *((name, "fedpeat", ROUNDS) for name in ("hold", "random", "greedy", "server-alone")),
]


def check(played, metrics):
    """The recorded steps add up to the metrics, by their definitions."""
    assert list(played.metrics) == list(metrics)
    np.testing.assert_array_equal(list(played.metrics.values()), [v[0] for v in metrics.values()])
    ues, steps = played.ues, played.steps
    assert {values.shape for values in ues.values()} == {(6, 3)}
    assert {values.shape for values in steps.values()} == {(6,)}
    assert steps["step_reward"].sum() == pytest.approx(played.metrics["reward"])
    if not played.of_mec:
        assert np.log(steps["step_delay_s"]).mean() == pytest.approx(played.metrics["log_delay"])
        assert steps["step_perplexity"].mean() == pytest.approx(played.metrics["perplexity"])
        assert ues["exchanged"].sum() == played.metrics["exchanges"]
        return
    tasks = ues["active"].sum()
    assert ues["delay_s"].max(axis=1) == pytest.approx(steps["step_delay_s"])
    assert steps["step_delay_s"].sum() / 60 == pytest.approx(played.metrics["total_delay_min"])
    assert ues["perplexity"].sum() / tasks == pytest.approx(played.metrics["perplexity"])
    assert ues["downloaded"].sum() == played.metrics["emulator_changes"]
    assert ues["server"].sum() / tasks == pytest.approx(played.metrics["server_share"])
    if "energy_kj" in ues:
        assert ues["energy_kj"].sum() == pytest.approx(played.metrics["energy_kj"])


@pytest.mark.parametrize(("name", "env", "env_config"), BASELINES)
def test_baselines_play_the_episode_of_evaluate(name, env, env_config):
    for seed in (0, 7):
        played = play(name, env, env_config, seed)
        check(played, evaluate(name, env, env_config, 1, seed))
        assert played.policy == name


@pytest.mark.ray
@pytest.mark.parametrize("name", [*OF_MEC, *OF_FEDPEAT])
def test_checkpoints_play_the_episode_of_evaluate(trained, name):
    path = str(trained(name))
    played = play(path, None, {}, 3)
    check(played, evaluate(path, None, {}, 1, 3))
    assert played.policy == FORMS[name]["run"]
    assert played.of_mec == (name in OF_MEC)
    others = play(path, None, {}, 4)
    assert (others.ues["gain"] != played.ues["gain"]).all()


@pytest.mark.ray
@pytest.mark.parametrize("name", ["published", "field", "fedpeat"])
def test_actions_are_drawn_as_in_evaluate(trained, name):
    path = str(trained(name))
    drawn = play(path, None, {}, 3, explore=True)
    check(drawn, evaluate(path, None, {}, 1, 3, explore=True))
    assert drawn.metrics["reward"] != play(path, None, {}, 3).metrics["reward"]


@pytest.mark.ray
def test_another_environment_may_be_given(trained):
    path = str(trained("field"))
    changed = {"num_ues": 5, "num_tasks": 4}
    played = play(path, None, changed, 0)
    assert played.ues["server"].shape == (4, 5)
    assert played.metrics["reward"] == evaluate(path, None, changed, 1, 0)["reward"][0]
    one = play(path, "mec", {"scenario": "field", "num_ues": 1, "num_tasks": 2}, 0)
    assert one.ues["server"].shape == (2, 1)


@pytest.mark.parametrize(
    ("env", "env_config"), [("mec", TINY), ("mec", FIELD), ("fedpeat", ROUNDS)]
)
def test_hold_meets_the_same_episode(env, env_config):
    played = play("random", env, env_config, 5)
    other = hold(played)
    assert other.metrics == play("hold", env, env_config, 5).metrics
    np.testing.assert_array_equal(other.ues["gain"], played.ues["gain"])


@pytest.mark.ray
@pytest.mark.parametrize("name", ["turn_based", "case_decision", "decentralised", "single_agent"])
def test_hold_meets_the_same_episode_whatever_the_form(trained, name):
    """Also where RLlib's own runner plays it, with episodes of its own."""
    played = play(str(trained(name)), None, {}, 5)
    other = hold(played)
    for column in ("gain", "data_mb", "power_w", "complexity"):
        np.testing.assert_array_equal(other.ues[column], played.ues[column])
    assert not other.ues["server"].any()


def test_recorded_traces_are_played(tmp_path):
    from rllib_mec.experiment.record import record

    record(TINY, 1, 9, tmp_path / "trace")
    replayed = play("greedy", "mec", {**TINY, "trace": str(tmp_path / "trace")}, 0)
    drawn = play("greedy", "mec", TINY, 9)
    assert replayed.metrics == drawn.metrics
    np.testing.assert_array_equal(replayed.ues["gain"], drawn.ues["gain"])


def test_empty_batteries_send_ues_to_the_server():
    empty = {**FIELD, "energy": {"battery_kj": [0, 1]}, "arrivals": False}
    played = play("hold", "mec", empty, 0)
    assert not played.ues["decided_server"].any()
    assert played.ues["server"].any()


def test_training_is_a_part_of_the_delay():
    """With devices and a server that are as good as infinitely fast, it is none."""
    played = play("random", "mec", FIELD, 0)
    ues = played.ues
    assert (ues["training_s"] <= ues["delay_s"] + 1e-9).all()
    assert (ues["training_s"][ues["active"]] > 0).all()
    fast = {**FIELD, "compute": {"server_tflops": 1e15, "ue_tflops": [1e15]}}
    assert play("random", "mec", fast, 0).ues["training_s"].max() < 1e-6


@pytest.mark.parametrize(
    ("target", "env", "message"),
    [
        ("oracle", "mec", "rllib show oracle: a bound decides nothing: expected a checkpoint or"),
        ("hold", None, "expected --env"),
        ("hodl", "mec", "unknown checkpoint or baseline 'hodl': did you mean 'hold'"),
        ("nowhere/checkpoint", None, "nowhere/checkpoint: there is no such checkpoint"),
        ("random", "CartPole-v1", "expected a MultiAgentEnv"),
    ],
)
def test_what_plays_no_episode_is_refused(target, env, message):
    with pytest.raises(InputError, match=message):
        play(target, env, {}, 0)


def test_other_environments_are_refused():
    pytest.importorskip("mpe2")
    name = "pettingzoo:mpe2.simple_spread_v3"
    with pytest.raises(InputError, match="PettingZooParallelEnv: expected mec, mec-case-decision"):
        play("random", name, {}, 0)


@pytest.mark.ray
def test_checkpoints_of_other_environments_are_refused(trained):
    with pytest.raises(InputError, match="CartPoleEnv: expected mec, mec-case-decision or fedpeat"):
        play(str(trained("CartPole")), None, {}, 0)
