"""Trust: nothing of a foreign checkpoint or run is executed, unless the user says so."""

import json
import pickle
import shutil

import numpy as np
import pytest
from forms import FORMS, plan_of
from ray.rllib.algorithms.algorithm import Algorithm

from rllib_mec.errors import InputError
from rllib_mec.experiment import known_runs
from rllib_mec.experiment.checkpoints import manifest
from rllib_mec.experiment.checkpoints.reading import read
from rllib_mec.experiment.evaluate import evaluate
from rllib_mec.experiment.run import Options, run

pytestmark = pytest.mark.ray


@pytest.fixture
def bomb(tmp_path):
    """A pickle that makes ``exploded`` when it is loaded."""
    return pickle.dumps(Bomb(str(tmp_path / "exploded")))


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return _explode, (self.path,)


def _explode(path):
    with open(path, "w") as stream:
        stream.write("boom")


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved("HMPPO"), tmp_path / "checkpoint_000000")


def resealed(directory, **experiment):
    """Writes the manifest anew, as whoever made the checkpoint can."""
    about = manifest.read(directory)
    manifest.write(directory, about.experiment | experiment, about.scenario, about.progress)


@pytest.mark.parametrize("name", ["HMPPO", "PPO", "turn_based", "CartPole", "DQN", "hold"])
def test_evaluation_unpickles_nothing(saved, tmp_path, bomb, name):
    copy = shutil.copytree(saved(name), tmp_path / "checkpoint_000000")
    expected = evaluate(str(copy), None, {}, 3, 0)
    pickles = list(copy.rglob("*.pkl"))
    assert pickles
    for path in pickles:
        path.write_bytes(bomb)
    resealed(copy)
    metrics = evaluate(str(copy), None, {}, 3, 0)
    for key, values in expected.items():
        np.testing.assert_array_equal(metrics[key], values)
    assert not (tmp_path / "exploded").exists()


def test_the_bomb_of_these_tests_explodes(copy, bomb, tmp_path):
    (copy / "class_and_ctor_args.pkl").write_bytes(bomb)
    with pytest.raises(Exception, match="NoneType"):
        Algorithm.from_checkpoint(str(copy))
    assert (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("experiment", "place"),
    [
        ({"run": "os:system"}, "run is 'os:system'"),
        ({"env": "subprocess:Popen"}, "env is 'subprocess:Popen'"),
        ({"env": "pettingzoo:antigravity"}, "env is 'pettingzoo:antigravity'"),
        ({"env": "os.system"}, "env is 'os.system'"),
        ({"config": {"callbacks_class": "os:system"}}, "config.callbacks_class is 'os:system'"),
        (
            {"config": {"evaluation_config": {"learner_class": "a.b:C"}}},
            "config.evaluation_config.learner_class is 'a.b:C'",
        ),
        (
            {"config": {"env_config": {"scenario": {"x": ["os.system"]}}}},
            "config.env_config.scenario.x.0 is 'os.system'",
        ),
    ],
)
def test_a_manifest_that_names_code_asks_for_trust(copy, experiment, place):
    resealed(copy, **experiment)
    with pytest.raises(InputError, match=f"{place}, code that would be imported.*--trust"):
        evaluate(str(copy), None, {}, 2, 0)


def test_code_that_the_user_names_needs_no_trust(copy):
    resealed(copy, env="elsewhere:Env", config={"env_config": {"a": "os.system"}})
    loaded = read(copy, "mec", FORMS["HMPPO"]["config"]["env_config"], trust=False)
    assert loaded.env.name == "mec"


def test_with_trust_code_is_imported(copy):
    resealed(copy, env="rllib_mec.envs:make_env")
    with pytest.raises(InputError, match=r"env is 'rllib_mec.*make_env', code"):
        read(copy, None, {}, trust=False)
    assert read(copy, None, {}, trust=True).env.name == "rllib_mec.envs:make_env"


def test_trust_does_not_pass_over_damage(copy):
    path = copy / "state.msgpack"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"state\.msgpack has"):
        evaluate(str(copy), None, {}, 2, 0, trust=True)


def test_rllib_itself_reads_these_checkpoints(saved):
    algorithm = Algorithm.from_checkpoint(str(saved("HMPPO")))
    try:
        assert type(algorithm).__module__ == "rllib_mec.hmppo.algorithm"
        assert algorithm.training_iteration == 1
        assert algorithm.config.gamma == 0.7
    finally:
        algorithm.stop()


def test_a_run_of_somebody_else_is_not_resumed_without_trust(
    ray_session, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "mine"))
    stop = {"training_iteration": 1}
    plan = plan_of(FORMS["hold"], stop=stop, storage_path=str(tmp_path / "results"))
    assert run([plan], Options()) == 0
    assert run([plan], Options(resume=True)) == 0
    assert "has finished already" in capsys.readouterr().out
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another"))
    with pytest.raises(InputError, match=r"not begun here by this user.*add --trust"):
        run([plan], Options(resume=True))
    assert run([plan], Options(resume=True, trust=True)) == 0


def test_a_run_that_was_moved_or_replaced_is_not_known(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    number = known_runs.begin("/results/a")
    assert known_runs.is_known("/results/a", number)
    assert not known_runs.is_known("/results/b", number)
    assert not known_runs.is_known("/results/a", "0" * 32)
    assert not known_runs.is_known("/results/a", None)
    assert known_runs.begin("/results/a") != number


def test_a_home_that_cannot_be_written_only_forgets(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    number = known_runs.begin("/results/a")
    assert not known_runs.is_known("/results/a", number)


def test_the_record_of_a_run_holds_its_number(ray_session, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "mine"))
    plan = plan_of(FORMS["hold"], stop={"training_iteration": 1}, storage_path=str(tmp_path))
    assert run([plan], Options()) == 0
    number = json.loads((tmp_path / "exp" / "experiment.json").read_text())["run_number"]
    assert known_runs.is_known(plan.experiment.directory, number)
