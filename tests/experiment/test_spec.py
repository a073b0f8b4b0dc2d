"""The form of an experiment: what is accepted, and where an error is said to be."""

from pathlib import Path

import pytest

from rllib_mec.errors import InputError
from rllib_mec.experiment.spec import make, read_file
from rllib_mec.source import read_json, read_yaml

FORM = {"run": "PPO", "env": "CartPole-v1"}


def write(folder: Path, text: str) -> Path:
    file = folder / "file.yaml"
    file.write_text(text)
    return file


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "1.0e-3", ".1e-2", "+1e-3", "10e-4"])
def test_numbers_with_exponents_are_numbers(tmp_path, text):
    content, _ = read_yaml(write(tmp_path, f"lr: {text}"))
    assert content == {"lr": pytest.approx(1e-3)}


def test_words_that_look_like_exponents_stay_text(tmp_path):
    content, _ = read_yaml(write(tmp_path, "[e3, 1e, '1e-3', v1e5]"))
    assert content == ["e3", "1e", "1e-3", "v1e5"]


def test_yaml_cannot_construct_python_objects(tmp_path):
    with pytest.raises(InputError, match="not YAML"):
        read_yaml(write(tmp_path, "a: !!python/object/apply:os.getcwd []"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("a: [1", r"file.yaml:1: not YAML"),
        ("a:\n  b: 1\n  c: 2\n  b: 3", r"file.yaml:4: a.b is given twice \(line 2 too\)"),
        ("a: &x [*x]", "refers to itself"),
    ],
)
def test_broken_yaml_is_one_line_with_its_place(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as caught:
        read_yaml(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_missing_file():
    with pytest.raises(InputError, match=r"cannot read nowhere.yaml: No such file"):
        read_file(Path("nowhere.yaml"))


def test_a_file_with_two_experiments_and_merge_keys(tmp_path):
    text = """
first: &first
  run: PPO
  env: CartPole-v1
  stop: {env_runners: {episode_return_mean: 150}, training_iteration: 2}
second:
  <<: *first
  num_samples: 3
  config:
"""
    first, second = read_file(write(tmp_path, text))
    assert first.name == "first"
    assert first.stop == {"env_runners/episode_return_mean": 150, "training_iteration": 2}
    assert first.form.checkpoint_config.checkpoint_at_end is True
    assert second.form.num_samples == 3
    assert second.form.config == {}


def test_error_names_file_line_and_key(tmp_path):
    file = write(tmp_path, "exp:\n  run: PPO\n  env: CartPole-v1\n  num_sample: 3\n")
    with pytest.raises(InputError, match="did you mean 'num_samples'") as caught:
        read_file(file)
    assert str(caught.value).startswith(f"{file}:4: exp.num_sample: ")


def test_forgotten_name(tmp_path):
    with pytest.raises(InputError, match="the experiment has no name"):
        read_file(write(tmp_path, "run: PPO\nenv: CartPole-v1\n"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"env": None}, "env is missing"),
        ({"env": 3}, "env = 3: expected a string"),
        ({"num_samples": 0}, "num_samples = 0: expected a number greater than or equal to 1"),
        ({"num_samples": "3"}, "num_samples = '3': expected a whole number"),
        ({"num_samples": True}, "num_samples = True: expected a whole number"),
        ({"config": [1]}, r"config = \[1\]: expected a mapping"),
        ({"tune_config": {"scheduler": 3}}, "tune_config.scheduler = 3: expected a string"),
        ({"stop": [1]}, r"stop = \[1\]: expected a mapping"),
        ({"checkpoint_config": {"checkpoint_freq": 2}}, "use checkpoint_frequency instead"),
        ({"checkpoint_freq": 2}, "use checkpoint_config.checkpoint_frequency instead"),
        ({"local_dir": "x"}, "use storage_path instead"),
        ({"tune_config": {"mode": "best"}}, "tune_config.mode = 'best': expected 'max' or 'min'"),
        ({"stop": {"training_iteration": "3"}}, "expected a number, without quotes"),
        ({"stop": {"training_iteration": True}}, "expected a number"),
        ({"stop": {"training_iteration": 0}}, "stop.training_iteration = 0: expected a number > 0"),
        ({"stop": {"time_total_s": float("inf")}}, "expected a number > 0, which is reached"),
        ({"stop": {"trainin_iteration": 3}}, "did you mean 'training_iteration'"),
        ({"stop": {"episode_reward_mean": 3}}, "use env_runners/episode_return_mean"),
        ({"stop": {"timesteps_total": 3}}, "use num_env_steps_sampled_lifetime"),
        ({"tune_config": {"metric": "episode_reward_mean"}}, "tune_config.metric: .*old API"),
        (
            {"checkpoint_config": {"checkpoint_score_attribute": "min-episode_reward_mean"}},
            "use env_runners/episode_return_mean",
        ),
    ],
)
def test_bad_forms(change, message):
    with pytest.raises(InputError, match=message) as caught:
        make("x", FORM | change, flags={"config.seed": 1})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "..", "a/b", "a:b"])
def test_names_that_no_directory_can_have(name):
    with pytest.raises(InputError, match="experiment name"):
        make(name, FORM)


def test_flags_go_before_the_file_and_only_if_given():
    form = FORM | {"num_samples": 2, "checkpoint_config": {"num_to_keep": 5}, "config": {"seed": 1}}
    flags = {"checkpoint_config.checkpoint_frequency": 7, "config.seed": 9}
    experiment = make("x", form, flags=flags)
    assert experiment.form.num_samples == 2
    assert experiment.form.checkpoint_config.num_to_keep == 5
    assert experiment.form.checkpoint_config.checkpoint_frequency == 7
    assert experiment.form.config == {"seed": 9}
    assert form["config"] == {"seed": 1}


def test_storage_path_is_absolute_but_a_uri_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert make("x", FORM).directory == str(tmp_path / "results" / "x")
    assert make("x", FORM | {"storage_path": "s3://b/c/"}).directory == "s3://b/c/x"


@pytest.mark.parametrize("text", ["{x", "[1]", "3"])
def test_json_flags(text):
    with pytest.raises(InputError, match="--config"):
        read_json(text, "--config")
