"""Baselines as RLlib algorithms: results like HMPPO's, checkpoints, and clear refusals."""

import pytest

from rllib_mec import registry
from rllib_mec.baselines import BestRetentionConfig, GreedyConfig, HoldConfig, IPPOConfig
from rllib_mec.errors import InputError
from rllib_mec.system import DECISIONS, METRICS

BASELINES = (
    "random",
    "hold",
    "best-retention",
    "all-server",
    "greedy",
    "greedy-observed",
    "greedy-coordinate",
)


@pytest.mark.ray
@pytest.mark.parametrize("name", BASELINES)
def test_results_name_the_steps_and_the_metrics(ray_session, name, tmp_path):
    config = registry.algorithm(name)().environment("mec", env_config={"num_ues": 3})
    algorithm = config.debugging(seed=0).build_algo()
    results = [algorithm.train() for _ in range(2)]
    assert [r["num_env_steps_sampled_lifetime"] for r in results] == [400, 800]
    metrics = results[1]["env_runners"]["episode_metrics"]
    # Nobody trains locally whose retention could be told.
    assert set(metrics) == {*METRICS, *DECISIONS} - (
        {"local_retention"} if name == "all-server" else set()
    )
    # The second iteration plays other episodes than the first.
    assert metrics["reward"] != results[0]["env_runners"]["episode_metrics"]["reward"]

    path = algorithm.save_to_path(str(tmp_path / "checkpoint"))
    restored = type(algorithm).from_checkpoint(path)
    assert restored.config.policy == name
    assert restored.train()["num_env_steps_sampled_lifetime"] == 1200
    restored.stop()
    algorithm.stop()


def test_ippo_is_hmppo_with_a_critic_for_each_agent():
    from rllib_mec.hmppo import HMPPOConfig

    registry.register()
    configs = [cls().environment("mec") for cls in (IPPOConfig, HMPPOConfig)]
    for config in configs:
        config.validate()
    ippo, hmppo = (config.to_dict() for config in configs)
    differences = {key for key in ippo if str(ippo[key]) != str(hmppo[key])}
    assert differences - {"_rl_module_spec", "policies", "class"} == {"critic"}
    assert set(ippo["policies"]) == {
        "case_decision",
        "emulator_config",
        "case_decision_critic",
        "emulator_config_critic",
    }


def test_ippo_refuses_a_central_critic():
    with pytest.raises(InputError, match="critic = 'joint_state': expected 'separate'"):
        IPPOConfig().environment("mec").training(critic="joint_state").validate()


@pytest.mark.parametrize(
    ("config", "env", "env_config", "message"),
    [
        (HoldConfig, "CartPole-v1", {}, "expected a MultiAgentEnv"),
        (HoldConfig, "mec", {"turn_based": True}, "hold knows the environment mec"),
        (GreedyConfig, "mec", {"num_ues": 20}, "num_ues = 20: expected at most 12"),
        (
            BestRetentionConfig,
            "mec",
            {"domains": True, "arrivals": True},
            "best-retention: scenario published has domains, arrivals: expected a scenario without",
        ),
    ],
)
def test_environments_that_do_not_fit_are_refused(config, env, env_config, message):
    registry.register()
    with pytest.raises(InputError, match=message):
        config().environment(env, env_config=env_config).validate()
