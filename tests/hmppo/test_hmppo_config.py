"""The configuration: modules follow from the environment, mistakes are named."""

import gymnasium as gym
import pytest
from torch.amp import GradScaler
from toy_teams import AGENTS, CopyEnv, MobileEdge, toy_config

from rllib_mec.errors import InputError
from rllib_mec.hmppo import HMPPOConfig
from rllib_mec.hmppo.modules.actor import Actor
from rllib_mec.hmppo.modules.critic import Critic
from rllib_mec.hmppo.modules.critic_plan import CENTRAL_CRITIC, CRITICS
from rllib_mec.hmppo.modules.dense import ACTIVATIONS


class SingleAgentEnv(gym.Env):
    observation_space = gym.spaces.Box(0, 1, (1,))
    action_space = gym.spaces.Discrete(2)

    def __init__(self, env_config=None):
        pass


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (toy_config(critic="decision_points"), "unknown critic .*did you mean 'decision_point'"),
        (toy_config(update="sequentiel"), "unknown update .*did you mean 'sequential'"),
        (
            toy_config(update="sequential").experimental(_torch_grad_scaler_class=GradScaler),
            "update = 'sequential': expected no _torch_grad_scaler_class",
        ),
        (
            toy_config().rl_module(model_config={"fcnet_hidens": [8]}),
            "unknown model_config key 'fcnet_hidens': did you mean 'fcnet_hiddens'",
        ),
        (
            toy_config().rl_module(model_config={"fcnet_activation": "tanhh"}),
            "unknown model_config.fcnet_activation 'tanhh': did you mean 'tanh'",
        ),
        (toy_config().rl_module(model_config={"fcnet_hiddens": 64}), "= 64: expected a list"),
        (toy_config().rl_module(model_config={"fcnet_hiddens": [0]}), "widths > 0"),
        (
            toy_config().rl_module(model_config={"initial_log_std": "zero"}),
            "initial_log_std = 'zero': expected a finite number",
        ),
        (toy_config(gamma=1.01), r"gamma = 1.01: expected a number in \[0, 1\]"),
        (toy_config(num_epochs=0), "num_epochs = 0: expected"),
        (toy_config(gamma="0.9"), r"gamma = '0.9': expected a number in \[0, 1\]"),
        (toy_config(minibatch_size=-4), "minibatch_size = -4: expected a number in"),
        (toy_config(train_batch_size_per_learner=0), "train_batch_size_per_learner = 0: expected"),
        (toy_config().learners(num_learners=-1), "num_learners = -1: expected a number in"),
        (toy_config().env_runners(num_env_runners=-1), "num_env_runners = -1: expected a number"),
        (toy_config().debugging(seed=-1), "seed = -1: expected a number in"),
        (toy_config(lr=-1e-3), "lr = -0.001: expected a number in"),
        (toy_config(lr=float("nan")), "lr = nan: expected a number in"),
        (toy_config(lr=[[0, 0.1], [-5, 0.2]]), "lr = .*: expected .* with steps that rise from 0"),
        (toy_config(lr=[[0, 0.1], [5, -0.2]]), "lr = .*: expected .*number >= 0"),
        (toy_config(entropy_coeff=-1), "entropy_coeff = -1: expected a number in"),
        (toy_config(use_critic=False), "use_critic = False: expected true"),
        (toy_config(sample_ahead=2), "sample_ahead = 2: expected 0 or 1"),
        (toy_config(sample_ahead=1), "sample_ahead = 1: expected num_env_runners >= 1, got 0"),
        (
            toy_config(sample_ahead=1).env_runners(
                num_env_runners=1, max_requests_in_flight_per_env_runner=2
            ),
            "sample_ahead = 1: expected max_requests_in_flight_per_env_runner = 1, got 2",
        ),
        (toy_config(entity_shared=True), "expected an environment that declares num_entities"),
        (toy_config(entity_shared="yes"), "entity_shared = 'yes': expected true or false"),
        (toy_config(SingleAgentEnv), "is a SingleAgentEnv: expected a MultiAgentEnv"),
    ],
)
def test_mistakes_are_named(config, message):
    with pytest.raises(InputError, match=message):
        config.validate()


def test_misspelt_options_are_refused():
    with pytest.raises(TypeError, match="critics"):
        HMPPOConfig().training(critics="separate")


@pytest.mark.parametrize("kind", CRITICS)
def test_modules_follow_from_the_environment(kind):
    config = toy_config(critic=kind)
    config.validate()
    specs = config.rl_module_spec.rl_module_specs
    critics = [f"{a}_critic" for a in AGENTS] if kind == "separate" else [CENTRAL_CRITIC]
    assert set(specs) == set(config.policies) == {*AGENTS, *critics}
    assert all(specs[agent].module_class is Actor for agent in AGENTS)
    for critic_id in critics:
        assert specs[critic_id].module_class is Critic
        assert specs[critic_id].learner_only
    assert config.team().agents == AGENTS


def test_a_copy_with_another_environment_gets_that_ones_modules():
    config = toy_config(MobileEdge, {"num_ues": 2})
    config.validate()
    other = config.copy(copy_frozen=False).environment(CopyEnv, env_config={})
    other.validate()
    assert other.team().agents == AGENTS
    assert config.team().agents == ("case_decision", "emulator_config")


def test_networks_have_the_widths_that_model_config_says():
    config = toy_config().rl_module(
        model_config={"fcnet_hiddens": [7, 5], "fcnet_activation": "relu", "initial_log_std": -2.0}
    )
    config.validate()
    policy = config.rl_module_spec.build()
    for module_id in (*AGENTS, CENTRAL_CRITIC):
        network = policy[module_id].network
        assert [layer.out_features for layer in network.layers[:-1]] == [7, 5]
        assert network.activations == [ACTIVATIONS["relu"], ACTIVATIONS["relu"], None]
    assert policy["tail"].log_std.tolist() == [-2.0]
