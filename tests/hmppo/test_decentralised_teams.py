"""HMPPO on the decentralised environment: who decides from what, and both ways to sample it."""

import numpy as np
import pytest
import torch
from toy_teams import toy_config

from rllib_mec.baselines import IPPOConfig
from rllib_mec.envs import AGENTS
from rllib_mec.experiment.evaluate import evaluate
from rllib_mec.hmppo.groups import by_member
from rllib_mec.hmppo.learning.episodes_to_team_batch import TEAM_BATCH, EpisodesToTeamBatch
from rllib_mec.hmppo.modules.critic_plan import CENTRAL_CRITIC
from rllib_mec.hmppo.sampling.batched_env_runner import BatchedEnvRunner
from rllib_mec.hmppo.sampling.episode_runner import EpisodeEnvRunner
from rllib_mec.registry import register

ENV = {"num_ues": 3, "num_tasks": 8, "decentralised": True}
READINGS = ("retention", "keep_or_retention")


def config(env_config=None, num_envs=4, **training):
    register()
    made = toy_config("mec", ENV | (env_config or {}), **training)
    return made.env_runners(num_envs_per_env_runner=num_envs).debugging(seed=3)


def runner(made, cls):
    made.validate()
    assert made.env_runner_cls is cls
    torch.manual_seed(0)
    return cls(config=made, worker_index=0)


@pytest.mark.parametrize("reading", READINGS)
def test_an_emulator_config_follows_its_own_case_decision_alone(reading):
    policy = runner(config({"emulator_action": reading}), BatchedEnvRunner).module
    team = policy.team
    for agent in AGENTS:
        torch.nn.init.normal_(policy[agent].network.last.weight)
    observations = {a: torch.zeros(40, team.observation_size(a)) for a in AGENTS}
    actions, log_probs, parameters = policy.act(observations, explore=True)
    assert log_probs["case_decision"].shape == (40, 3)
    cases = actions["case_decision"].flatten()
    codec = team.codecs["emulator_config"]
    own = by_member(parameters["emulator_config"], codec.parameter_widths, 3).flatten(0, 1)
    for case in (0, 1):
        chosen = own[cases == case]
        assert len(chosen) > 5
        torch.testing.assert_close(chosen, chosen[:1].expand_as(chosen))
    assert not torch.allclose(own[cases == 0][0], own[cases == 1][0])


@pytest.mark.parametrize("reading", READINGS)
def test_batches_and_episodes_are_the_same_training_data(reading):
    made = {"emulator_action": reading}
    by_batch = runner(config(made, num_envs=1), BatchedEnvRunner)
    by_episode = runner(config(made, num_envs=1, batched=False), EpisodeEnvRunner)
    by_episode.module.set_state(by_batch.module.get_state())
    by_episode.module.generator = torch.Generator().manual_seed(3)
    [batch] = by_batch.sample(num_episodes=1)
    episodes = by_episode.sample(num_episodes=1)
    connector = EpisodesToTeamBatch(by_batch.module.team)
    other = connector(episodes=episodes, batch={}, rl_module=None)[TEAM_BATCH]
    for name in ("observations", "actions", "log_probs", "parameters", "final_observations"):
        for agent, column in getattr(batch, name).items():
            np.testing.assert_allclose(getattr(other, name)[agent], column, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(other.rewards, batch.rewards, rtol=1e-6)


@pytest.mark.ray
@pytest.mark.parametrize("entity_shared", [False, True])
@pytest.mark.parametrize("critic", ["decision_point", "separate"])
def test_it_trains_is_saved_and_evaluated(build, tmp_path, critic, entity_shared):
    """Also by another number of UEs: no weight of an actor depends on it."""
    algorithm = build(config(critic=critic, entity_shared=entity_shared))
    results = algorithm.train()
    critics = [CENTRAL_CRITIC] if critic == "decision_point" else [f"{a}_critic" for a in AGENTS]
    assert set(results["learners"]) == {*AGENTS, *critics, "__all_modules__"}
    assert results["env_runners"]["module_episode_returns_mean"].keys() == set(AGENTS)
    path = algorithm.save_to_path(str(tmp_path / "checkpoint"))
    metrics = evaluate(path, None, {}, 3, 0, trust=True)
    assert metrics["reward"].shape == (3,)
    larger = evaluate(path, "mec", {**ENV, "num_ues": 5}, 3, 0, trust=True)
    assert np.isfinite(larger["reward"]).all()


def test_baselines_are_scored_alike():
    register()
    scores = [
        evaluate("hold", "mec", ENV | {"decentralised": decentralised}, 3, 0)["reward"]
        for decentralised in (False, True)
    ]
    np.testing.assert_array_equal(*scores)


def test_ippo_has_a_critic_for_each_decision_over_one_ue():
    register()
    made = IPPOConfig().environment("mec", env_config=ENV)
    made.validate()
    specs = made.rl_module_spec.rl_module_specs
    for agent in AGENTS:
        own = specs[agent].observation_space.shape
        assert specs[f"{agent}_critic"].observation_space.shape == own
        assert made.team().observation_size(agent) == 3 * own[0]
