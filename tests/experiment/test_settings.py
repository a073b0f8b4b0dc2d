"""Settings of an algorithm, and the algorithms and environments that an experiment may name."""

from __future__ import annotations

import sys

import gymnasium as gym
import pytest
from ray.rllib.algorithms.algorithm_config import NotProvided
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.callbacks.callbacks import RLlibCallback

from rllib_mec.errors import InputError
from rllib_mec.experiment import environments, old_names
from rllib_mec.experiment.plan import prepare
from rllib_mec.experiment.settings import apply, settings_of
from rllib_mec.experiment.spec import make
from rllib_mec.hmppo.config import module_of_agent


class OwnConfig(PPOConfig):
    """A config as plugins write them: more arguments for training(), and a setter of its own."""

    def __init__(self):
        super().__init__()
        self.critic = "central"
        self.team_size = 1

    def training(self, *, critic: str | None = NotProvided, **kwargs) -> OwnConfig:
        super().training(**kwargs)
        if critic is not NotProvided:
            if critic not in ("central", "separate"):
                raise InputError(f"critic = {critic!r}: expected central or separate")
            self.critic = critic
        return self

    def team(self, *, team_size: int = NotProvided) -> OwnConfig:
        if team_size is not NotProvided:
            self.team_size = team_size
        return self


class NotAnEnv:
    def __init__(self, env_config):
        pass


class NeedsSize(gym.Env):
    def __init__(self, env_config):
        self.size = env_config["size"]


def on_episode_end(**kwargs):
    """A callback for the tests."""


def applied(values, config_class=PPOConfig):
    config = config_class()
    apply(config, values)
    return config


def test_settings_are_set_by_rllibs_setters():
    config = applied(
        {
            "gamma": 1,
            "lr": [[0, 1e-3], [1000, 1e-4]],
            "lambda": 0.9,
            "entropy_coeff": [[0, 0.1], [100, 0.0]],
            "num_env_runners": 2.0,
            "num_cpus_per_env_runner": 0.5,
            "train_batch_size_per_learner": 1e3,
            "model_config": {"fcnet_hiddens": [8]},
            "env_config": None,
            "evaluation_config": {"explore": False},
            "policies": ["a", "b"],
            "seed": None,
            "vf_clip_param": float("inf"),
        }
    )
    assert config.gamma == 1
    assert config.lambda_ == 0.9
    assert config.num_env_runners == 2
    assert isinstance(config.num_env_runners, int)
    assert config.train_batch_size_per_learner == 1000
    assert config.model_config["fcnet_hiddens"] == [8]
    assert set(config.policies) == {"a", "b"}
    assert config.env_config == {}


def test_classes_and_functions_are_named():
    config = applied(
        {
            "callbacks_class": "ray.rllib.callbacks.callbacks:RLlibCallback",
            "on_episode_end": f"{__name__}:on_episode_end",
        }
    )
    assert config.callbacks_class is RLlibCallback
    assert config.callbacks_on_episode_end is sys.modules[__name__].on_episode_end


def test_subclasses_add_settings():
    config = applied({"critic": "separate", "gamma": 0.5, "team_size": 3}, OwnConfig)
    assert (config.critic, config.gamma, config.team_size) == ("separate", 0.5, 3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"gama": 0.5}, "config.gama = 0.5: unknown setting of PPO: did you mean 'gamma'?"),
        ({"gamma": "0.9"}, "config.gamma = '0.9': expected a number or null, without quotes"),
        ({"gamma": True}, "config.gamma = True: expected a number or null"),
        ({"lr": [[0, "a"]]}, "config.lr = .*: expected a number, a list or null"),
        ({"num_env_runners": 1.5}, "expected a whole number or null"),
        ({"num_env_runners": True}, "expected a whole number or null"),
        ({"env_config": [1]}, "expected a mapping"),
        ({"callbacks_class": "Own"}, "expected package.module:name"),
        ({"callbacks_class": "nowhere:Own"}, "config.callbacks_class: .*No module named"),
        ({"observation_space": 3}, "expected package.module:name or null"),
        ({"rl_module_spec": 3}, "expected package.module:name or null"),
        ({"evaluation_config": {"gama": 1}}, "config.evaluation_config.gama = 1: unknown setting"),
        ({"evaluation_config": {"gamma": "a"}}, "config.evaluation_config.gamma = 'a'"),
        ({"model_config": {"fcnet_hidens": [8]}}, "did you mean 'fcnet_hiddens'"),
        ({"grad_clip_by": "foo"}, "config.grad_clip_by = 'foo': .*must be one of"),
        ({"lambda": 0.9, "lambda_": 0.1}, "config.lambda_: the same setting as lambda: expected"),
        ({"num_workers": 2}, "use config.num_env_runners"),
        ({"observation_filter": "MeanStdFilter"}, "use config.env_to_module_connector"),
        ({"env": "CartPole-v1"}, "it stands beside config"),
    ],
)
def test_bad_settings(values, message):
    with pytest.raises(InputError, match=message) as caught:
        applied(values)
    assert "\n" not in str(caught.value)


def test_a_setters_own_input_error_keeps_its_words():
    with pytest.raises(InputError, match=r"config.critic.*expected central or separate"):
        applied({"critic": "both"}, OwnConfig)


def test_new_names_in_the_hints_are_settings_themselves():
    known = settings_of(PPOConfig)
    for old, new in old_names.SETTINGS.items():
        name = new.removeprefix("config.").split(".")[0].split(",")[0].split(" ")[0]
        assert name in known, f"{old} -> {new}"
        assert name not in old_names.SETTINGS


def planned(**form):
    return prepare(make("x", {"run": "PPO", "env": "CartPole-v1"} | form))


def test_each_agent_gets_a_module_of_its_own():
    config = planned(env="pettingzoo:mpe2.simple_speaker_listener_v4").configs[0]
    assert set(config.policies) == {"speaker_0", "listener_0"}
    assert config.policy_mapping_fn is module_of_agent
    shared = planned(env="pettingzoo:mpe2.simple_spread_v3", config={"policies": ["all"]})
    assert set(shared.configs[0].policies) == {"all"}


@pytest.mark.parametrize(
    "name",
    [
        "CartPole-v1",
        "mec",
        "gymnasium:CartPole-v1",
        "gymnasium.envs.classic_control:CartPoleEnv",
        "gymnasium.envs.classic_control.CartPoleEnv",
        "pettingzoo:mpe2.simple_spread_v3",
    ],
)
def test_environments(name):
    assert environments.resolve(name).check({}) is not None


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"run": "PPOO"}, "run: unknown algorithm 'PPOO': did you mean 'PPO'"),
        ({"run": "oracle"}, "run: oracle is a bound, no algorithm: .* `rllib evaluate oracle`"),
        ({"run": "rllib_mec.errors:InputError"}, "expected a subclass of RLlib's AlgorithmConfig"),
        ({"env": "CartPol-v1"}, "env: unknown env 'CartPol-v1': did you mean 'CartPole-v1'"),
        ({"env": "Mec"}, "did you mean 'mec'"),
        ({"env": "nowhere:Env"}, "No module named 'nowhere'"),
        ({"env": f"{__name__}:Missing"}, "has no 'Missing'"),
        ({"env": f"{__name__}:NotAnEnv"}, "expected a gymnasium.Env"),
        ({"env": "os:path"}, "env 'os:path' is a module: expected a class or function that makes"),
        ({"env": f"{__name__}:NeedsSize"}, "cannot be made: KeyError: 'size'"),
        ({"env": "pettingzoo:mpe2.nothing_v1"}, "No module named 'mpe2.nothing_v1'"),
        ({"config": {"env_config": {"nix": 1}}}, r"config.env_config.*cannot be made: TypeError"),
        ({"env": "mec", "config": {"env_config": {"num_ues": 0}}}, "num_ues = 0: expected"),
        ({"config": {"minibatch_size": 9000}}, "`minibatch_size` .9000. must be <="),
        ({"tune_config": {"scheduler": "ashaa"}}, "unknown type 'ashaa'"),
        ({"tune_config": {"scheduler": "asha"}}, "tune_config.metric is missing"),
        (
            {"tune_config": {"scheduler": {"type": "asha", "grace": 5}, "metric": "learners/x"}},
            "tune_config.scheduler: .*unexpected keyword argument 'grace'",
        ),
    ],
)
def test_plans_that_cannot_work(form, message):
    with pytest.raises(InputError, match=message) as caught:
        planned(**form)
    assert "\n" not in str(caught.value)


def test_an_algorithm_by_module_and_class():
    plan = planned(run=f"{__name__}:OwnConfig", config={"critic": "separate"})
    assert plan.configs[0].critic == "separate"
    assert plan.param_space["critic"] == "separate"


def test_hmppo_still_has_an_observation_filter():
    experiment = {"run": "HMPPO", "env": "mec", "stop": {"training_iteration": 1}}
    plan = prepare(make("x", {**experiment, "config": {"observation_filter": "MeanStdFilter"}}))
    assert plan.configs[0].observation_filter == "MeanStdFilter"
    with pytest.raises(InputError, match="observation_filter 'MeanFilter'"):
        prepare(make("x", {**experiment, "config": {"observation_filter": "MeanFilter"}}))
