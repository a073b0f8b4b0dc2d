"""Groups that whoever trains chooses, whatever the environment says of them."""

import numpy as np
import pytest
import torch
from batches import assert_same as assert_same_batch
from learners import assert_same, batch_for, build, update
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing
from ray.rllib.examples.envs.classes.multi_agent import MultiAgentCartPole
from toy_groups import MEMBERS, Crew
from toy_relay import Relay
from toy_seekers import GROUPS, SEEKERS, DeclaredSeekers, Seekers
from toy_teams import CopyEnv, MobileEdge, box, toy_config

from rllib_mec.errors import InputError
from rllib_mec.hmppo import Team
from rllib_mec.hmppo.learning.episodes_to_team_batch import TEAM_BATCH, EpisodesToTeamBatch
from rllib_mec.hmppo.modules.critic_plan import CENTRAL_CRITIC
from rllib_mec.hmppo.recording.files import read_recording
from rllib_mec.hmppo.recording.runners import RecordingEpisodeEnvRunner
from rllib_mec.hmppo.sampling.batched_env_runner import BatchedEnvRunner
from rllib_mec.hmppo.sampling.episode_runner import EpisodeEnvRunner

BOTH = {"masks": True, "away": True}


def sampler_of(config, runner=EpisodeEnvRunner):
    config = config.copy(copy_frozen=False)
    config.validate()
    torch.manual_seed(0)
    return runner(config=config, worker_index=0)


def batch_of(sampler, steps):
    sampler.module.generator = torch.Generator().manual_seed(0)
    episodes = sampler.sample(num_timesteps=steps)
    connector = EpisodesToTeamBatch(sampler.config.team())
    return connector(episodes=episodes, batch={}, rl_module=None)[TEAM_BATCH]


def config_of(env=Seekers, env_config=None, **training):
    return toy_config(env, env_config, **training).debugging(seed=1)


@pytest.mark.parametrize("env_config", [{}, BOTH], ids=["always there", "masks, away"])
@pytest.mark.parametrize("critic", ["decision_point", "separate"])
@pytest.mark.parametrize("update_", ["simultaneous", "sequential"])
def test_chosen_groups_are_what_declared_ones_are(env_config, critic, update_):
    settings = {"critic": critic, "update": update_}
    chosen = config_of(Seekers, env_config, agent_groups=GROUPS, **settings)
    declared = config_of(DeclaredSeekers, env_config, **settings)
    batches = [batch_of(sampler_of(own), 24) for own in (chosen, declared)]
    assert_same_batch(*batches)
    assert batches[0].actions["seekers"].shape == (24, 3)
    assert bool(batches[0].active) == bool(env_config)
    learners = [build(own) for own in (chosen, declared)]
    before = learners[0].module["seekers"].network.last.weight.clone()
    for learner, batch in zip(learners, batches, strict=True):
        update(learner, batch)
    assert_same(*learners, rtol=0, atol=0)
    assert not torch.equal(learners[0].module["seekers"].network.last.weight, before)


@pytest.mark.parametrize(
    ("critic", "members"), [("decision_point", 1), ("joint_state", 1), ("separate", 3)]
)
def test_a_value_for_all_or_one_for_each_member(critic, members):
    learner = build(config_of(critic=critic, agent_groups=GROUPS))
    rows = learner.module_batches(batch_for(learner))
    assert rows["seekers"][Postprocessing.ADVANTAGES].shape == (60, members)
    assert rows["seekers"][Columns.ACTION_LOGP].shape == (60, 3)
    assert rows["host"][Postprocessing.ADVANTAGES].shape == (60, 1)
    inputs = {mid: tuple(rows[mid][Columns.OBS].shape) for mid in learner.plan.critics}
    if critic == "separate":
        assert inputs == {"seekers_critic": (60, 3, 2), "host_critic": (60, 1, 3)}
    else:
        assert inputs == {CENTRAL_CRITIC: (60, 1, 9)}


def test_a_critic_sees_what_a_chosen_group_does():
    learner = build(config_of(agent_groups=GROUPS, critic_input=["seekers"]))
    batch = batch_for(learner)
    seen = learner.module_batches(batch)[CENTRAL_CRITIC][Columns.OBS]
    np.testing.assert_array_equal(seen[:, 0], batch.observations["seekers"])
    with pytest.raises(InputError, match="unknown agent in critic_input 'seeker_0': did you mean"):
        config_of(agent_groups=GROUPS, critic_input=["seeker_0"]).validate()


def test_declared_groups_can_be_undone():
    config = config_of(DeclaredSeekers, agent_groups={})
    config.validate()
    assert config.team().agents == ("seeker_0", "host", "seeker_1", "seeker_2")
    assert config.team().members == {}
    alone = build(config)
    other = build(config_of(Seekers))
    batch = batch_for(alone)
    assert_same_batch(batch_for(other), batch)


def test_agents_that_are_numbers_are_trained_as_a_group():
    """RLlib's example environment, whose poles fall one after the other."""
    config = config_of(MultiAgentCartPole, {"num_agents": 3}, critic="separate")
    with pytest.raises(InputError, match="agent 0: expected a string as the id of an agent that"):
        config.validate()
    config.training(agent_groups={"carts": [0, 1, 2]})
    batch = batch_of(sampler_of(config), 60)
    assert batch.observations["carts"].shape == (len(batch), 3 * 4)
    assert 0 < batch.active["carts"].mean() < 1
    learner = build(config)
    before = learner.module["carts"].network.last.weight.clone()
    update(learner, batch)
    assert not torch.equal(learner.module["carts"].network.last.weight, before)


class Ordered(Seekers):
    agent_order = ("host", *reversed(SEEKERS))


class Kinds(Seekers):
    """Two kinds with names of their own, one of two names, and one who is like nobody."""

    def __init__(self, env_config=None):
        super().__init__(env_config)
        sizes = {"red_1": 1, "red_2": 1, "7": 2, "blue0": 2, "blue1": 2, "chief": 3}
        self.agents = self.possible_agents = list(sizes)
        self.observation_spaces = {agent: box(size) for agent, size in sizes.items()}
        self.action_spaces = {agent: box(1) for agent in sizes}


@pytest.mark.parametrize(
    ("env", "groups", "agents", "members"),
    [
        (Seekers, "alike", ("seeker", "host"), {"seeker": SEEKERS}),
        (Seekers, {"a": ["seeker_1"]}, ("seeker_0", "host", "a", "seeker_2"), {"a": ("seeker_1",)}),
        (Ordered, "alike", ("host", "seeker"), {"seeker": SEEKERS}),
        (
            Ordered,
            {"one": ["seeker_0", "seeker_2"]},
            ("host", "one", "seeker_1"),
            {"one": ("seeker_0", "seeker_2")},
        ),
        (
            Kinds,
            "alike",
            ("red", "alike_1", "chief"),
            {"red": ("red_1", "red_2"), "alike_1": ("7", "blue0", "blue1")},
        ),
        (MultiAgentCartPole, "alike", ("alike_0",), {"alike_0": (0, 1)}),
        # All of whom decide in turn with others, which the environment's slots say.
        (Crew, "alike", ("scouts", "porters", "chief"), MEMBERS),
        (CopyEnv, "alike", ("leader", "painter", "tail"), {}),
        (CopyEnv, {}, ("leader", "painter", "tail"), {}),
        # The twins are in no slot.
        (Relay, {}, ("walker", "left", "right", "porter", "guest"), {}),
    ],
)
def test_agents_of_a_team(env, groups, agents, members):
    team = Team.of_env(env({"num_agents": 2}), groups)
    assert team.agents == agents
    assert team.members == members


def test_batches_are_for_the_groups_that_they_have():
    def runner_of(**training):
        config = toy_config(Crew, **training)
        config.validate()
        return config.env_runner_cls

    class Free(Crew):
        action_slots = {}  # noqa: RUF012

    assert runner_of(agent_groups=MEMBERS) is BatchedEnvRunner
    assert runner_of(agent_groups="alike") is BatchedEnvRunner
    others = {"scouts": MEMBERS["scouts"]}
    config = toy_config(Free, agent_groups=others)
    config.validate()
    assert config.env_runner_cls is EpisodeEnvRunner
    assert config.team().agents == ("scouts", "porter_1", "porter_0", "chief")
    with pytest.raises(InputError, match="batched = True: agent_groups are not those of the env"):
        toy_config(Free, agent_groups=others, batched=True).validate()


@pytest.mark.parametrize(
    ("env", "groups", "message"),
    [
        (Seekers, 3, r"agent_groups = 3: expected \{group: \[agents\]\}, 'alike' or null"),
        (Seekers, "all", "agent_groups = 'all': expected .*'alike' or null"),
        (Seekers, {"all": "host"}, r"agent_groups\[all\] = 'host': expected a list of agents"),
        (Seekers, {"all": None}, r"agent_groups\[all\] = None: expected a list of agents"),
        (Seekers, {"all": []}, r"agent_groups\[all\] = \(\): expected at least one agent"),
        (Seekers, {1: ["host"]}, r"agent_groups\[1\]: expected a name that a file can have"),
        (Seekers, {"a/b": ["host"]}, r"agent_groups\[a/b\]: expected a name that a file can have"),
        (Seekers, {"__all_modules__": ["host"]}, "expected a name that a file can have"),
        (Seekers, {"host": list(SEEKERS)}, r"agent_groups\[host\]: expected a name that no agent"),
        (Seekers, {"a": ["seeker_3"]}, r"agent_groups\[a\] names 'seeker_3': expected one of \["),
        (
            Seekers,
            {"a": ["seeker_0"], "b": ["seeker_0"]},
            r"agent_groups\[b\] names 'seeker_0', which is already in a group",
        ),
        (
            Seekers,
            {"a": ["seeker_0", "seeker_0"]},
            r"agent_groups\[a\] names 'seeker_0', which is already in a group",
        ),
        (
            Seekers,
            {"a": ["seeker_0", "host"]},
            r"agent_groups\[a\]: observation space of host = Box\(.*: expected that of seeker_0",
        ),
        (Seekers, {CENTRAL_CRITIC: ["host"]}, "group 'central_critic': expected another name than"),
        (
            Crew,
            {},
            "agent_groups: expected porters, which the environment's action_slots names, to stay "
            "what it is there: porter_1, porter_0",
        ),
        (CopyEnv, {"one": ["leader"]}, "agent_groups: expected leader, which the env"),
        (MobileEdge, {"all": ["case_decision"]}, "expected case_decision, .*'s action_slots names"),
    ],
)
def test_mistakes_are_named(env, groups, message):
    with pytest.raises(InputError, match=message):
        toy_config(env, agent_groups=groups).validate()


def test_rllibs_own_mapping_is_not_passed_over():
    def shared(agent, episode, **kwargs):
        return "shared"

    with pytest.raises(InputError, match=r"policy_mapping_fn: .*expected none, .* agent_groups"):
        config_of().multi_agent(policies={"shared"}, policy_mapping_fn=shared).validate()
    with pytest.raises(InputError, match=r"policy_mapping_fn: expected none, .* AttributeError"):
        config_of().multi_agent(policy_mapping_fn=lambda agent, episode: episode.id_).validate()
    same = config_of().multi_agent(policy_mapping_fn=lambda agent, *args, **kwargs: agent)
    same.validate()
    again = same.copy(copy_frozen=False).training(agent_groups=GROUPS)
    again.validate()
    assert again.policy_mapping_fn("seeker_1") == "seekers"
    again.training(agent_groups="alike").validate()
    assert again.policy_mapping_fn("seeker_1") == "seeker"


def test_a_recording_of_chosen_groups(tmp_path):
    config = config_of(Seekers, BOTH, agent_groups=GROUPS).offline_data(output=str(tmp_path))
    sampler = sampler_of(config, RecordingEpisodeEnvRunner)
    batch = batch_of(sampler, 24)
    sampler.stop()
    assert_same_batch(read_recording(tmp_path), batch)
