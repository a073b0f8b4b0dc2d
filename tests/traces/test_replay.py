"""Replay: recorded episodes, whole, in parts or resampled, in place of drawn ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_traces import SMALL, arrays, assert_equal, change, record, with_value

from rllib_mec.envs import BatchedMECEnv, EnvConfig, make_env
from rllib_mec.errors import InputError
from rllib_mec.experiment.environments import without_files
from rllib_mec.system import Scenario, Simulator
from rllib_mec.traces import Replay

NO_PARTS = Scenario(num_ues=3, num_tasks=4)


def episodes_of(env_config, num_envs, seeds):
    """The episodes after a reset with each of the seeds."""
    config = EnvConfig.of(env_config)
    simulator = Simulator(config.scenario, num_envs, config.episode_source())
    found = []
    for seed in seeds:
        simulator.reset(seed)
        found.append(simulator.episode)
    return found


def of_env(episode, env):
    """Everything of one environment, with the environments' axis kept."""
    return {
        name: values[:, env] if values.ndim == 3 else values[env]
        for name, values in arrays(episode).items()
    }


@pytest.mark.parametrize("scenario", [SMALL, NO_PARTS], ids=["field", "published"])
def test_whole_gives_back_what_was_recorded(tmp_path, scenario):
    recorded = record(tmp_path, scenario, episodes=4)
    (replayed,) = episodes_of({"scenario": scenario, "trace": str(tmp_path)}, 4, [99])
    assert_equal(replayed, recorded)


def test_whole_goes_through_the_episodes_in_order_whatever_the_seed(tmp_path):
    recorded = arrays(record(tmp_path, episodes=5))["first_gain"]
    env_config = {"scenario": SMALL, "trace": str(tmp_path), "replay": "whole"}
    batches = episodes_of(env_config, 2, [7, None, 7, 0])
    seen = [arrays(batch)["first_gain"] for batch in batches]
    np.testing.assert_array_equal(np.concatenate(seen), recorded[[0, 1, 2, 3, 4, 0, 1, 2]])


def test_windows_are_parts_of_recorded_episodes(tmp_path):
    recorded = record(tmp_path, Scenario.of(SMALL, num_tasks=10), episodes=3)
    env_config = {"scenario": SMALL, "trace": str(tmp_path), "replay": "windows"}
    whole = arrays(recorded)
    gains = np.concatenate([whole["first_gain"][None], whole["gain"]])  # (12, 3, N)
    places = set()
    for episode in episodes_of(env_config, 16, range(8)):
        for env in range(16):
            one = of_env(episode, env)
            (place,) = [
                (e, s)
                for e in range(3)
                for s in range(7)
                if np.array_equal(gains[s, e], one["first_gain"])
            ]
            places.add(place)
            e, s = place
            np.testing.assert_array_equal(one["gain"], gains[s + 1 : s + 6, e])
            for name in ("complexity", "data_mb", "power_w", "tokens", "domain", "active"):
                np.testing.assert_array_equal(one[name], whole[name][s : s + 5, e], err_msg=name)
            for name in ("tflops", "most_retention", "battery_kj"):
                np.testing.assert_array_equal(one[name], whole[name][e], err_msg=name)
    assert places == {(e, s) for e in range(3) for s in range(7)}


@settings(max_examples=20, deadline=None)
@given(block=st.integers(1, 5), num_ues=st.integers(1, 7), num_tasks=st.integers(1, 12))
def test_bootstrap_puts_blocks_of_one_ue_in_a_row(tmp_path_factory, block, num_ues, num_tasks):
    path = tmp_path_factory.mktemp("trace")
    recorded = arrays(record(path, episodes=3))
    env_config = {"scenario": SMALL, "num_ues": num_ues, "num_tasks": num_tasks}
    env_config |= {"trace": str(path), "replay": "bootstrap", "replay_block": block}
    (episode,) = episodes_of(env_config, 2, [5])
    for env in range(2):
        one = of_env(episode, env)
        gains = np.concatenate([one["first_gain"][None], one["gain"]])
        for ue in range(num_ues):
            # Every gain is drawn but once: it says which step of which episode and UE this is.
            at = [np.argwhere(recorded["gain"] == gain)[0] for gain in gains[:, ue]]
            assert len({source for _, _, source in at}) == 1
            for row in range(len(at)):
                if row % block:
                    assert at[row][1] == at[row - 1][1]
                    assert at[row][0] == (at[row - 1][0] + 1) % 5
            for row, (step, e, source) in enumerate(at[1:]):
                for name in ("complexity", "data_mb", "power_w", "tokens", "domain", "active"):
                    assert one[name][row, ue] == recorded[name][step, e, source]
            devices = {
                tuple(recorded[name][e, at[0][2]] for name in ("tflops", "battery_kj"))
                for e in range(3)
            }
            assert (one["tflops"][ue], one["battery_kj"][ue]) in devices


def test_bootstrap_keeps_the_marginals(tmp_path):
    recorded = arrays(record(tmp_path, episodes=2))
    env_config = {"scenario": SMALL, "trace": str(tmp_path), "replay": "bootstrap"}
    env_config |= {"replay_block": 3, "num_tasks": 28, "num_ues": 10}
    gains = np.concatenate([arrays(e)["gain"].ravel() for e in episodes_of(env_config, 400, [1])])
    values, counts = np.unique(gains, return_counts=True)
    # All 2 x 5 x 3 recorded tasks are equally likely: the blocks, 40,000 of 3, are independent
    # but for the UE that they are of, 4,000.
    np.testing.assert_array_equal(values, np.unique(recorded["gain"]))
    expected = len(gains) / 30
    assert np.abs(counts / expected - 1).max() < 0.15


@pytest.mark.parametrize("mode", ["windows", "bootstrap"])
def test_seeds_determine_what_is_replayed(tmp_path, mode):
    record(tmp_path, Scenario.of(SMALL, num_tasks=30), episodes=3)
    env_config = {"scenario": SMALL, "trace": str(tmp_path), "replay": mode}
    one, other = (episodes_of(env_config, 3, [4, None, 5, 4]) for _ in range(2))
    for left, right in zip(one, other, strict=True):
        assert_equal(left, right)
    assert_equal(one[0], one[3])
    assert not np.array_equal(one[0].first_gain, one[1].first_gain)
    assert not np.array_equal(one[0].first_gain, one[2].first_gain)


@pytest.mark.parametrize("mode", ["windows", "bootstrap"])
@pytest.mark.parametrize("only", [None, "channels", "tasks", "devices"])
def test_an_environment_sees_the_same_whatever_the_size_of_the_batch(tmp_path, mode, only):
    record(tmp_path, Scenario.of(SMALL, num_tasks=30), episodes=3)
    trace = str(tmp_path / f"{only}.parquet" if only else tmp_path)
    env_config = {"scenario": SMALL, "trace": trace, "replay": mode}
    large = episodes_of(env_config, 5, [4, None])
    for small, other in zip(episodes_of(env_config, 2, [4, None]), large, strict=True):
        assert_equal(small, other.first(2))


@pytest.mark.parametrize("only", ["channels", "tasks", "devices"])
def test_what_the_trace_does_not_hold_is_drawn(tmp_path, only):
    recorded = arrays(record(tmp_path, episodes=4))
    env_config = {"scenario": SMALL, "trace": str(tmp_path / f"{only}.parquet")}
    (replayed,) = episodes_of(env_config, 4, [11])
    simulator = Simulator(SMALL, 4)
    simulator.reset(11)
    drawn = arrays(simulator.episode)
    held = {
        "channels": {"first_gain", "gain"},
        "tasks": {"complexity", "data_mb", "power_w", "tokens", "domain", "active"},
        "devices": {"tflops", "most_retention", "battery_kj"},
    }[only]
    for name, values in arrays(replayed).items():
        np.testing.assert_array_equal(values, (recorded if name in held else drawn)[name], name)
    assert set(arrays(replayed)) == set(drawn)


def test_columns_of_parts_that_are_off_are_left_out(tmp_path):
    recorded = arrays(record(tmp_path, episodes=2))
    (replayed,) = episodes_of({"scenario": NO_PARTS, "trace": str(tmp_path)}, 2, [0])
    assert set(arrays(replayed)) == {"first_gain", "gain", "complexity", "data_mb", "power_w"}
    np.testing.assert_array_equal(replayed.tasks.gain, recorded["gain"])


def test_published_episodes_are_drawn_as_before_without_a_trace():
    simulator = Simulator(NO_PARTS, 2)
    simulator.reset(3)
    (episode,) = episodes_of({"scenario": NO_PARTS, "trace": None}, 2, [3])
    assert_equal(episode, simulator.episode)


@pytest.mark.parametrize("arrangement", [{}, {"turn_based": True}, {"single_agent": True}])
def test_all_arrangements_replay(tmp_path, arrangement):
    recorded = record(tmp_path, episodes=2)
    env = make_env({"scenario": SMALL, "trace": str(tmp_path), **arrangement})
    env.reset(seed=0)
    env.reset()
    np.testing.assert_array_equal(env.simulator.episode.first_gain[0], recorded.first_gain[1])
    if not arrangement.get("turn_based"):
        batched = env.batched(2)
        batched.reset(0)
        assert_equal(batched.simulator.episode, recorded)


def test_other_views_replay(tmp_path):
    from rllib_mec.envs import CaseDecisionEnv
    from rllib_mec.envs.pettingzoo_views import parallel_env

    recorded = record(tmp_path, NO_PARTS, episodes=2)
    env_config = {"scenario": NO_PARTS, "trace": str(tmp_path)}
    batched = CaseDecisionEnv(env_config).batched(2)
    batched.reset(0)
    assert_equal(batched.simulator.episode, recorded)
    of_mec = BatchedMECEnv(env_config, 1).reset(0)
    observations, _ = parallel_env(**env_config).reset(seed=0)
    np.testing.assert_array_equal(observations["case_decision"], of_mec["case_decision"][0])


def test_the_path_is_absolute_for_workers(tmp_path, monkeypatch):
    record(tmp_path / "here")
    monkeypatch.chdir(tmp_path)
    assert EnvConfig.of({"scenario": SMALL, "trace": "here"}).replay == Replay(
        str(tmp_path / "here")
    )
    given = {"trace": "here", "num_ues": 3}
    assert without_files("mec", given) == {"trace": str(tmp_path / "here"), "num_ues": 3}
    assert without_files("CartPole-v1", given) == given


@pytest.mark.parametrize(
    ("env_config", "message"),
    [
        ({"num_ues": 4}, "env_config.num_ues = 4: expected 3, as in "),
        ({"num_tasks": 5}, "env_config.num_tasks = 5: expected 4, as in "),
        ({"num_tasks": 3}, "env_config.num_tasks = 3: expected 4, as in "),
        (
            {"num_tasks": 5, "replay": "windows"},
            "env_config.num_tasks = 5: expected at most 4, as in ",
        ),
        ({"num_ues": 2, "replay": "windows"}, "env_config.num_ues = 2: expected 3, as in "),
        ({"replay": "window"}, "env_config.replay = 'window': did you mean 'windows'?"),
        ({"replay": True}, "env_config.replay = True: expected one of whole, windows, bootstrap"),
        (
            {"replay": "bootstrap", "replay_block": 6},
            "env_config.replay_block = 6: expected at most 5, the steps of an episode of ",
        ),
        (
            {"replay": "bootstrap", "replay_block": 0},
            "env_config.replay_block = 0: expected a whole number >= 1",
        ),
        ({"replay_block": 3}, "env_config.replay_block = 3: expected it with replay: bootstrap"),
        ({"trace": None, "replay": "whole"}, "env_config.replay = 'whole': expected a trace with"),
        ({"trace": 3}, "env_config.trace = 3: expected the path of a trace"),
        ({"traces": "x"}, "unknown env_config key 'traces': did you mean 'trace'?"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_configuration(tmp_path, env_config, message):
    record(tmp_path)
    with pytest.raises(InputError) as caught:
        make_env({"scenario": SMALL, "trace": str(tmp_path), **env_config})
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("columns", "file", "part"),
    [
        ("tokens", "tasks", "compute"),
        ("domain", "tasks", "domains"),
        ("active", "tasks", "arrivals"),
        ("tflops", "devices", "compute"),
        ("most_retention", "devices", "memory"),
        ("battery_kj", "devices", "energy"),
    ],
)
def test_a_part_whose_column_is_missing_is_named(tmp_path, columns, file, part):
    record(tmp_path)
    change(tmp_path / f"{file}.parquet", lambda table: table.drop_columns([columns]))
    with pytest.raises(InputError) as caught:
        make_env({"scenario": SMALL, "trace": str(tmp_path)})
    assert str(caught.value) == (
        f"{tmp_path}/{file}.parquet: column {columns} is missing: expected it with the scenario's "
        f"part {part} (or {part}: false)"
    )
    make_env({"scenario": SMALL, "trace": str(tmp_path), part: False})


@pytest.mark.parametrize(
    ("file", "spoil", "message"),
    [
        (
            "tasks",
            with_value("domain", 3, 3),
            "domain (UE 0, step 1, episode 0) = 3: expected a domain of the scenario, 0 to 2",
        ),
        (
            "devices",
            with_value("most_retention", 4, 0.9),
            "most_retention (UE 1, episode 1) = 0.9: expected a retention of the scenario, in "
            "[0.2, 0.8]",
        ),
    ],
)
def test_values_beyond_the_scenario_are_refused(tmp_path, file, spoil, message):
    record(tmp_path)
    change(tmp_path / f"{file}.parquet", spoil)
    with pytest.raises(InputError) as caught:
        make_env({"scenario": SMALL, "trace": str(tmp_path)})
    assert str(caught.value) == f"{tmp_path}/{file}.parquet: {message}"


def test_whole_layers_stay_whole(tmp_path):
    record(tmp_path)
    with pytest.raises(InputError, match=r"most_retention .* a whole number of 32 layers"):
        make_env({"scenario": SMALL, "trace": str(tmp_path), "emulator_action": "layers"})
