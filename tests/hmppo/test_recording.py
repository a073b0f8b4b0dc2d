"""Recording: what runners sample for training, bit for bit, and training does not notice."""

from pathlib import Path

import numpy as np
import pytest
import torch
from batches import assert_same, segments
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
from toy_teams import CopyEnv, toy_config

from rllib_mec.baselines.ippo import IPPOConfig
from rllib_mec.errors import InputError
from rllib_mec.hmppo import read_recording
from rllib_mec.hmppo.learning.episodes_to_team_batch import TEAM_BATCH, EpisodesToTeamBatch
from rllib_mec.hmppo.recording.runners import (
    RecordingBatchedEnvRunner,
    RecordingEpisodeEnvRunner,
)
from rllib_mec.hmppo.sampling.batched_env_runner import BatchedEnvRunner
from rllib_mec.hmppo.sampling.episode_runner import EpisodeEnvRunner
from rllib_mec.hmppo.team_batch import TeamBatch
from rllib_mec.registry import register

MEC = {"num_ues": 2, "num_tasks": 8}


def config(output, env="mec", env_config=MEC, rows=None, **training):
    register()
    made = toy_config(env, env_config, **training)
    made.offline_data(output=output, output_max_rows_per_file=rows)
    return made.debugging(seed=3)


def runner(made, cls):
    made.validate()
    assert made.env_runner_cls is cls
    torch.manual_seed(0)
    return cls(config=made, worker_index=0)


def parts_of(path):
    return sorted(Path(path).rglob("*.parquet"))


@pytest.mark.parametrize("rows", [None, 25])
def test_batched_samples_are_recorded(tmp_path, rows):
    made = config(str(tmp_path), rows=rows, train_batch_size_per_learner=20, minibatch_size=20)
    sampler = runner(made.env_runners(rollout_fragment_length=5), RecordingBatchedEnvRunner)
    sampled = [sampler.sample()[0] for _ in range(3)]  # fragments, cut in mid-episode
    sampled += sampler.sample(num_episodes=4)
    sampler.stop()
    found = read_recording(tmp_path)
    assert_same(found, TeamBatch.concatenate(sampled))
    assert set(found.lengths) == {2, 3, 5, 8}


@pytest.mark.parametrize("env", [CopyEnv, "mec"])
@pytest.mark.parametrize("mode", ["truncate_episodes", "complete_episodes"])
def test_sampled_episodes_are_recorded(tmp_path, env, mode):
    made = config(str(tmp_path), env, {"num_steps": 6} if env is CopyEnv else MEC, batched=False)
    made.env_runners(batch_mode=mode, num_envs_per_env_runner=2)
    sampler = runner(made, RecordingEpisodeEnvRunner)
    connector = EpisodesToTeamBatch(sampler.module.team)
    sampled = [
        connector(episodes=sampler.sample(), batch={}, rl_module=None)[TEAM_BATCH] for _ in range(2)
    ]
    sampler.stop()
    assert_same(read_recording(tmp_path), TeamBatch.concatenate(sampled))


def test_a_runner_that_stops_writes_what_waits(tmp_path):
    sampler = runner(config(str(tmp_path), rows=1000), RecordingBatchedEnvRunner)
    [batch] = sampler.sample()
    assert parts_of(tmp_path) == []
    sampler.stop()
    assert_same(read_recording(tmp_path), batch)


def test_relative_directories_are_those_of_the_caller(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = config("here")
    monkeypatch.chdir("/")
    made.validate()
    assert made.output == str(tmp_path / "here")


def test_evaluation_has_runners_that_do_not_record(tmp_path):
    for batched, cls in ((None, BatchedEnvRunner), (False, EpisodeEnvRunner)):
        made = config(str(tmp_path), batched=batched)
        made.validate()
        evaluation = made.get_evaluation_config_object()
        evaluation.validate()
        assert (evaluation.env_runner_cls, evaluation.output) == (cls, None)
        assert made.output == str(tmp_path)


def test_ippo_records_too(tmp_path):
    register()
    made = IPPOConfig().environment("mec", env_config=MEC).offline_data(output=str(tmp_path))
    made.validate()
    assert made.env_runner_cls is RecordingBatchedEnvRunner
    made.offline_data(output=None).validate()
    assert made.env_runner_cls is BatchedEnvRunner


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"output": "logdir"}, "output = 'logdir': expected a directory or a URI"),
        ({"output": lambda _: None}, "output = <function .*: expected a directory or a URI"),
        ({"output": "s4://x"}, "output = 's4://x': expected a directory or a URI"),
        ({"output": __file__}, "output = .*: expected a directory, this is a file"),
        ({"output_max_rows_per_file": 0}, "output_max_rows_per_file = 0: expected a whole number"),
        ({"output_max_file_size": 10}, "output_max_file_size = 10: .*output_max_rows_per_file"),
        ({"output_write_episodes": True}, "output_write_episodes = True: expected False"),
        ({"output_write_remaining_data": False}, "expected True: all rows are written"),
        ({"output_compress_columns": ["obs"]}, r"output_compress_columns = \['obs'\]: expected"),
        ({"output_write_method": "write_json"}, "expected 'write_parquet'"),
        ({"output_write_method_kwargs": {"a": 1}}, "output_write_method_kwargs = {'a': 1}"),
        ({"output_filesystem": "s3"}, "output_filesystem = 's3': expected None: give a URI"),
        ({"output_filesystem_kwargs": {"a": 1}}, "give a URI as output"),
        ({"output_config": {"a": 1}}, "output_config = {'a': 1}"),
    ],
)
def test_settings_without_an_effect_are_refused(tmp_path, given_, message):
    made = toy_config().offline_data(**{"output": str(tmp_path)} | given_)
    with pytest.raises(InputError, match=message):
        made.validate()


def test_what_cannot_record_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"evaluation_config\.output: expected none"):
        toy_config().evaluation(evaluation_config={"output": "x"}).validate()

    class Own(MultiAgentEnvRunner):
        pass

    own = config(str(tmp_path)).env_runners(env_runner_cls=Own)
    with pytest.raises(InputError, match="env_runner_cls = Own: expected none with output"):
        own.validate()


@pytest.fixture
def build(ray_session):
    algorithms = []

    def build_one(made):
        algorithms.append(made.build_algo())
        return algorithms[-1]

    yield build_one
    for algorithm in algorithms:
        algorithm.stop()


def trained_on(algorithm):
    """Notes what the algorithm's learner is given."""
    given_, update = [], algorithm.learner_group.update

    def noting(*, episodes, **kwargs):
        given_.extend(episodes)
        return update(episodes=episodes, **kwargs)

    algorithm.learner_group.update = noting
    return given_


@pytest.mark.ray
@pytest.mark.parametrize("batched", [None, False])
def test_training_goes_on_as_without(build, tmp_path, batched):
    plain = build(config(None, batched=batched))
    plain.train()
    recording = build(config(str(tmp_path), batched=batched))
    sampled = trained_on(recording)
    recording.train()
    weights = [each.learner_group.get_weights() for each in (plain, recording)]
    for module_id, state in weights[0].items():
        for name, value in state.items():
            np.testing.assert_array_equal(value, weights[1][module_id][name])
    if batched is False:
        connector = EpisodesToTeamBatch(recording.config.team())
        sampled = [connector(episodes=sampled, batch={}, rl_module=None)[TEAM_BATCH]]
    assert_same(read_recording(tmp_path), TeamBatch.concatenate(sampled))


@pytest.mark.ray
def test_two_runners_and_a_restart(build, tmp_path):
    output, path = tmp_path / "output", str(tmp_path / "checkpoint")
    sampled = []
    for life in (1, 2):
        made = config(str(output), rows=30).env_runners(num_env_runners=2)
        algorithm = build(made)
        if life == 2:
            algorithm.restore_from_path(path)
        given_ = trained_on(algorithm)
        algorithm.train()
        algorithm.train()
        algorithm.save_to_path(path)
        algorithm.stop()
        sampled += given_
        found = read_recording(output)
        assert len(found) == 128 * life
        assert segments(found) == segments(TeamBatch.concatenate(sampled))
    assert {part.parent.name for part in parts_of(output)} == {"runner-001", "runner-002"}
    numbers = [part.name[5:11] for part in parts_of(output / "runner-001")]
    assert numbers == [f"{number:06d}" for number in range(len(numbers))]


@pytest.mark.ray
@pytest.mark.parametrize("interval", [None, 1])
def test_evaluation_is_not_recorded(build, tmp_path, interval):
    made = config(str(tmp_path)).evaluation(evaluation_interval=interval, evaluation_duration=4)
    algorithm = build(made)
    algorithm.train()
    algorithm.evaluate()
    algorithm.train()
    assert len(read_recording(tmp_path)) == 128
