"""The command line: errors in one line, listings at once, and a run with good and bad trials."""

import pickle
import subprocess
import sys

import pytest
import ray

from rllib_mec import cli

ENV_MODULE = '''
import gymnasium as gym
from rllib_mec.errors import InputError

class Counting(gym.Env):
    """Ends after ten steps; goes wrong on request."""

    def __init__(self, env_config):
        self.fail = env_config.get("fail")
        self.observation_space = gym.spaces.Box(0.0, 1.0, (2,))
        self.action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action):
        self.steps += 1
        if self.fail == "input":
            raise InputError("trace.csv, row 5: expected a number")
        if self.fail == "value":
            raise ValueError("it broke")
        return self.observation_space.sample(), 1.0, self.steps == 10, False, {}
'''


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lst"], "No such command 'lst'"),
        (["list", "foo"], "'foo' is not one of"),
        (["train"], "expected `file F.yaml`, --algo and --env, or --restore"),
        (["train", "file", "nowhere.yaml"], "cannot read nowhere.yaml"),
        (["train", "--seed", "1", "file", "f.yaml"], "--seed: options stand behind the file"),
        (["train", "--algo", "PPO", "--env", "CartPole-v1", "--config", "{x"], "not JSON"),
        (["train", "--algo", "PPO", "--env", "CartPol-v1"], "did you mean 'CartPole-v1'"),
        (
            ["train", "--algo", "PPO", "--env", "CartPole-v1", "--config", '{"gama": 0.9}'],
            "config.gama = 0.9: unknown setting of PPO: did you mean 'gamma'?",
        ),
        (
            ["train", "--algo", "PPO", "--env", "CartPole-v1", "--seed", "1", "--resume"],
            "nothing to resume in",
        ),
        (
            ["train", "--algo", "PPO", "--env", "CartPole-v1", "--address", "127.0.0.1:1"],
            "no Ray at 127.0.0.1:1",
        ),
        (["evaluate", "hold", "--out", "x.csv"], "expected a .json or .parquet file"),
        (["evaluate", "hold", "--episodes", "0"], "--episodes"),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments, message, rllib, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, err = rllib(*arguments)
    assert status == 2
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1


def test_an_error_in_a_file_names_its_line(rllib, tmp_path):
    file = tmp_path / "f.yaml"
    file.write_text("exp:\n  run: PPO\n  env: CartPole-v1\n  config:\n    lr: 1e-3\n    gama: 1\n")
    status, _, err = rllib("train", "file", str(file), "--name", "other")
    assert status == 2
    assert f"{file}:6: exp.config.gama = 1: unknown setting of PPO" in err


def test_listings_do_not_wait_for_ray():
    code = (
        "import sys\n"
        "from rllib_mec.cli import main\n"
        "try:\n    main(['list'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "assert 'ray' not in sys.modules and 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for word in ("algorithms:", "HMPPO", "greedy", "environments:", "mec", "published"):
        assert word in done.stdout


def test_examples_are_listed_with_their_first_comment(rllib, tmp_path, monkeypatch):
    (tmp_path / "tuned_examples").mkdir()
    (tmp_path / "tuned_examples" / "a.yaml").write_text("# What it shows.\na: 1\n")
    (tmp_path / "package").mkdir()
    monkeypatch.setattr(cli, "__file__", str(tmp_path / "package" / "cli.py"))
    status, out, _ = rllib("list", "examples")
    assert status == 0
    assert out.endswith("a.yaml  What it shows.\n")


def test_evaluate_passes_its_arguments_on(rllib, tmp_path, monkeypatch):
    import types

    given = []
    module = types.ModuleType("rllib_mec.experiment.evaluate_command")
    module.evaluate_command = lambda *arguments: given.append(arguments)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    out = tmp_path / "r.json"
    options = ["--config", '{"num_ues": 4}', "--episodes", "3", "--out", str(out)]
    status, _, _ = rllib("evaluate", "hold", "--env", "mec", *options)
    assert status == 0
    assert given == [("hold", "mec", {"num_ues": 4}, 3, 0, out, False, False, None)]


@pytest.mark.ray
@pytest.mark.parametrize(("learners", "gpus"), [(0, 1), (2, 2)])
def test_gpus_that_are_not_there_are_one_line_and_status_2(
    ray_session, learners, gpus, tmp_path, monkeypatch, rllib
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 4.0})  # wherever it runs
    config = f'{{"num_learners": {learners}, "num_gpus_per_learner": 1}}'
    status, _, err = rllib("train", "--algo", "HMPPO", "--env", "mec", "--config", config)
    assert status == 2
    needs = f"a trial needs {gpus} GPU, Ray has 0: set config.num_gpus_per_learner to 0\n"
    assert err.endswith(needs)
    assert err.startswith("error: ")
    assert err.count("\n") == 1


@pytest.mark.ray  # starts Ray: about 20 s
def test_a_run_with_good_and_bad_trials(tmp_path):
    """Exit status 1; good trials leave checkpoints and logs, bad ones say why in a line."""
    (tmp_path / "own_env.py").write_text(ENV_MODULE)
    (tmp_path / "f.yaml").write_text(
        """
exp:
  run: PPO
  env: own_env:Counting
  stop: {training_iteration: 2}
  config:
    num_env_runners: 0
    num_epochs: 1
    minibatch_size: 64
    train_batch_size_per_learner: {grid_search: [128]}
    env_config: {fail: {grid_search: [null, input, value]}}
    model_config: {fcnet_hiddens: {grid_search: [[12]]}}
  tune_config: {metric: env_runners/episode_return_mean}
"""
    )
    done = subprocess.run(
        [sys.executable, "-m", "rllib_mec.cli", "train", "file", "f.yaml", "--num-cpus", "3"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    directory = tmp_path / "results" / "exp"
    assert f"results and TensorBoard logs: {directory}" in done.stdout
    good, *bad = sorted(directory.glob("PPO_*"), key=lambda path: "fail=None" not in path.name)
    assert len(bad) == 2
    assert list(good.glob("events.out.tfevents.*"))
    assert (good / "checkpoint_000000" / "rllib_checkpoint.json").exists()
    assert f"rllib evaluate {good}/checkpoint_000000" in done.stdout.replace("'", "")
    assert f"{good.name}: 2 iterations, 256 steps" in done.stdout
    assert "episode_return_mean 10\n" in done.stdout
    assert "failed: trace.csv, row 5: expected a number\n" in done.stderr
    assert "failed: ValueError: it broke\n" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stdout + done.stderr
    for path in bad:
        assert f"{path}/error.txt" in done.stderr
        assert (path / "error.txt").exists()
    module = good / "checkpoint_000000/learner_group/learner/rl_module/default_policy"
    weights = pickle.loads((module / "module_state.pkl").read_bytes())
    assert {len(w) for key, w in weights.items() if key.startswith("encoder")} == {12}
