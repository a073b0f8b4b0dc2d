"""RLlib's own algorithms on the environments with one agent: results, and the same evaluation."""

import numpy as np
import pytest
import torch

from rllib_mec.experiment.checkpoints import reading
from rllib_mec.experiment.checkpoints.policies import trained_policy
from rllib_mec.experiment.evaluate import evaluate
from rllib_mec.experiment.evaluate_command import evaluate_command
from rllib_mec.experiment.plan import prepare
from rllib_mec.experiment.spec import make
from rllib_mec.system import DECISIONS, METRICS

TINY = {"num_ues": 3, "num_tasks": 5}

FORMS = {
    "DQN": {
        "run": "DQN",
        "env": "mec-case-decision",
        "config": {
            "env_config": TINY,
            "num_steps_sampled_before_learning_starts": 100,
            "min_sample_timesteps_per_iteration": 150,
            "model_config": {"fcnet_hiddens": [16]},
        },
    },
    "PPO": {
        "run": "PPO",
        "env": "mec",
        "config": {
            "env_config": {**TINY, "single_agent": True},
            "num_env_runners": 0,
            "train_batch_size_per_learner": 64,
            "minibatch_size": 32,
            "num_epochs": 1,
        },
    },
}
CART_POLE = {**FORMS["PPO"], "env": "CartPole-v1"}
CART_POLE["config"] = {**CART_POLE["config"], "env_config": {}}
FORMS["HMPPO"] = {**FORMS["PPO"], "run": "HMPPO"}
DECENTRALISED = {**FORMS["PPO"]["config"], "env_config": {**TINY, "decentralised": True}}
FORMS["PPO-decentralised"] = {**FORMS["PPO"], "config": DECENTRALISED}
FORMS["HMPPO-decentralised"] = {**FORMS["HMPPO"], "config": {**DECENTRALISED, "ratio": "joint"}}


@pytest.fixture
def train(ray_session):
    """Returns a function that trains an experiment's algorithm once: it and its results."""
    algorithms = []

    def once(name, form=None):
        (config,) = prepare(make(name.lower(), form or FORMS[name])).configs
        algorithms.append(config.build_algo())
        return algorithms[-1], algorithms[-1].train()

    yield once
    for algorithm in algorithms:
        algorithm.stop()


@pytest.mark.ray
@pytest.mark.parametrize("name", FORMS)
def test_training_and_evaluation_show_all_metrics(train, name, tmp_path, capsys):
    algorithm, results = train(name)
    assert set(results["env_runners"]["episode_metrics"]) == {*METRICS, *DECISIONS}
    algorithm.save_to_path(str(tmp_path / "checkpoint"))
    capsys.readouterr()
    assert evaluate_command(str(tmp_path / "checkpoint"), None, {}, 3, 0, None, trust=True) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [*METRICS, *DECISIONS]


@pytest.mark.ray
def test_gymnasium_environments_that_report_nothing_have_rllib_s_own_return(train):
    _, results = train("PPO", CART_POLE)
    assert "episode_metrics" not in results["env_runners"]
    assert results["env_runners"]["episode_return_mean"] > 0


@pytest.mark.ray
def test_a_dqn_that_keeps_all_local_scores_what_hold_does(train, tmp_path):
    """So its episodes are those of every other target, and action 0 is all local."""
    algorithm, _ = train("DQN")
    module = algorithm.learner_group._learner.module["default_policy"]
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        *_, bias = module.af.parameters()
        bias[0] = 1.0
    algorithm.save_to_path(str(tmp_path))
    learned, hold = (
        evaluate(str(tmp_path), None, {}, 7, 3, trust=True),
        evaluate("hold", "mec", TINY, 7, 3),
    )
    for metric in METRICS:
        np.testing.assert_array_equal(learned[metric], hold[metric])


@pytest.mark.ray
def test_ppo_acts_on_its_modes_scaled_to_the_spaces(train, tmp_path):
    algorithm, _ = train("PPO")
    algorithm.save_to_path(str(tmp_path))
    loaded = reading.read(tmp_path, None, {}, trust=True)
    env = loaded.env.check(loaded.env_config)
    policy, batch = trained_policy(loaded, env), env.batched(4)
    observations = batch.reset(seed=0)
    action = policy.act(batch, observations)["orchestrator"]
    observed = {"obs": torch.as_tensor(observations["orchestrator"])}
    with torch.no_grad():
        out = policy.modules["orchestrator"].forward_inference(observed)["action_dist_inputs"]
    # Two logits for each UE's case, then means and log deviations of the retentions.
    logits, means, _ = out.numpy()[:, :6], out.numpy()[:, 6:9], out[:, 9:]
    case = logits.reshape(4, 3, 2).argmax(axis=-1)
    np.testing.assert_array_equal(action["case_decision"], case)
    retention = 0.5 + 0.3 * means.clip(-1, 1)
    np.testing.assert_allclose(action["emulator_config"], retention, atol=1e-6)


@pytest.mark.ray
def test_agents_with_a_mapping_of_their_own_are_left_to_rllib(train, tmp_path):
    """Such a mapping may ask for RLlib's episode, which batches do not have."""
    algorithm, _ = train("PPO")
    algorithm.save_to_path(str(tmp_path))
    loaded = reading.read(tmp_path, None, {}, trust=True)
    loaded.config.multi_agent(policy_mapping_fn=lambda agent, episode, **kwargs: agent)
    assert trained_policy(loaded, loaded.env.check(loaded.env_config)) is None


@pytest.mark.ray
@pytest.mark.parametrize(
    ("env", "settings"),
    [
        ("mpe-spread", {}),
        ("mpe-speaker-listener", {"padded": True}),
        ("mpe-speaker-listener", {"padded": True, "continuous_actions": True}),
    ],
)
def test_agents_that_share_a_module_act_in_batches(train, tmp_path, env, settings):
    config = {**FORMS["PPO"]["config"], "env_config": {"max_cycles": 4, **settings}}
    form = {"run": "PPO", "env": env, "config": {**config, "policies": ["shared"]}}
    algorithm, _ = train("shared", form)
    algorithm.save_to_path(str(tmp_path))
    loaded = reading.read(tmp_path, None, {}, trust=True)
    one = loaded.env.check(loaded.env_config)
    policy, batch = trained_policy(loaded, one), one.batched(3)
    actions = policy.act(batch, batch.reset(seed=[5, 6, 7]))
    module = algorithm.get_module("shared")
    members = getattr(one, "agent_groups", {})
    for row, seed in enumerate((5, 6, 7)):
        observations, _ = one.reset(seed=seed)
        for name, own in actions.items():
            for index, agent in enumerate(members.get(name, (name,))):
                asked = {"obs": torch.as_tensor(observations[agent])[None]}
                with torch.no_grad():
                    out = module.forward_inference(asked)["action_dist_inputs"][0].numpy()
                space = one.action_spaces[agent]
                if settings.get("continuous_actions"):
                    expected = 0.5 + 0.5 * out[: space.shape[0]].clip(-1, 1)
                    np.testing.assert_allclose(own[row], expected, atol=1e-6)
                else:
                    assert np.ravel(own[row])[index] == out.argmax()
    metrics = evaluate(str(tmp_path), None, {}, 3, 1, trust=True)
    assert metrics["mappo_return"].shape == (3,)
