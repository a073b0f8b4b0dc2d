"""Groups: members decide each for itself, with one actor, and are agents of PPO one by one."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from batches import assert_same as assert_same_batch
from learners import batch_for
from learners import build as learner_of
from toy_groups import ACTIONS, MEMBERS, SCOUTS, SIZES, Crew, Pairs
from toy_teams import CopyEnv, box, toy_config

from rllib_mec.errors import InputError
from rllib_mec.hmppo import Team
from rllib_mec.hmppo.action_codec import ActionCodec
from rllib_mec.hmppo.distributions import ActionDistribution
from rllib_mec.hmppo.groups import by_member, joined_space, of_group
from rllib_mec.hmppo.learning.episodes_to_team_batch import TEAM_BATCH, EpisodesToTeamBatch
from rllib_mec.hmppo.modules.critic_plan import CENTRAL_CRITIC, CRITICS
from rllib_mec.hmppo.recording.rows import batch_of, check_rows, table_of
from rllib_mec.hmppo.sampling.batched_env_runner import BatchedEnvRunner
from rllib_mec.hmppo.sampling.episode_runner import EpisodeEnvRunner


def policy_of(config, bold=True):
    """The policy of a configuration, with actors that do depend on what they see."""
    torch.manual_seed(0)
    config.validate()
    policy = config.rl_module_spec.build()
    if bold:
        for agent in policy.team.agents:
            torch.nn.init.normal_(policy[agent].network.last.weight)
    return policy


def runner(config, cls):
    config.validate()
    assert config.env_runner_cls is cls
    torch.manual_seed(0)
    return cls(config=config, worker_index=0)


def test_the_team_is_of_groups():
    team = Team.of_env(Crew())
    assert team.agents == ("scouts", "porters", "chief")
    assert team.members == MEMBERS
    assert {a: team.observation_size(a) for a in team.agents} == {
        "scouts": 3 * 7,
        "porters": 2 * 7,
        "chief": 11,
    }
    assert {a: team.codecs[a].size for a in team.agents} == {"scouts": 3, "porters": 6, "chief": 1}
    assert {a: team.num_parts(a) for a in team.agents} == {"scouts": 3, "porters": 2, "chief": 1}
    assert team.decision_points == {"scouts": 0, "porters": 1, "chief": 1}
    spaces = (team.observation_spaces, team.action_spaces)
    assert Team.from_dict(team.to_dict(), *spaces) == team


@pytest.mark.parametrize(
    ("space", "joined"),
    [
        (gym.spaces.Discrete(2), gym.spaces.MultiDiscrete([2] * 3)),
        (gym.spaces.Discrete(4, start=5), gym.spaces.MultiDiscrete([4] * 3, start=[5] * 3)),
        (gym.spaces.MultiDiscrete([2, 3]), gym.spaces.MultiDiscrete([2, 3] * 3)),
        (gym.spaces.MultiBinary(2), gym.spaces.MultiBinary(6)),
        (
            gym.spaces.Box(np.float32([0, -1]), np.float32([1, 2])),
            gym.spaces.Box(np.float32([0, -1] * 3), np.float32([1, 2] * 3)),
        ),
        (gym.spaces.Box(0, 1, (2, 2)), gym.spaces.Box(0, 1, (12,))),
        (
            gym.spaces.Tuple([gym.spaces.Discrete(2), gym.spaces.Dict(a=gym.spaces.Discrete(3))]),
            gym.spaces.Tuple(
                [
                    gym.spaces.MultiDiscrete([2] * 3),
                    gym.spaces.Dict(a=gym.spaces.MultiDiscrete([3] * 3)),
                ]
            ),
        ),
    ],
)
def test_spaces_of_three_members_as_one(space, joined):
    assert joined_space(space, 3) == joined


def test_leaves_stay_in_the_order_of_the_space():
    """Which is not that of the alphabet where a Dict is given as keywords or pairs."""
    space = gym.spaces.Dict(turn=gym.spaces.MultiDiscrete([3, 3]), fire=gym.spaces.Discrete(2))
    assert list(joined_space(space, 2).spaces) == list(space.spaces) == ["turn", "fire"]


def test_a_groups_probabilities_are_those_of_its_members():
    single = ActionCodec(ACTIONS["porters"])
    group = ActionCodec(joined_space(ACTIONS["porters"], 4), parts=4)
    torch.manual_seed(0)
    parameters = torch.randn(5, 4, single.num_parameters)
    own = ActionDistribution(single, parameters)
    actions = own.sample()
    joined = ActionDistribution(group, of_group(parameters, single.parameter_widths))
    flat = of_group(actions, single.action_widths)
    torch.testing.assert_close(joined.log_probs(flat), own.log_prob(actions))
    torch.testing.assert_close(joined.log_prob(flat), own.log_prob(actions).sum(-1))
    torch.testing.assert_close(by_member(flat, group.action_widths, 4), actions)
    assert torch.equal(
        by_member(of_group(parameters, single.parameter_widths), group.parameter_widths, 4),
        parameters,
    )


@pytest.mark.parametrize("kind", CRITICS)
def test_a_group_is_one_actor_whatever_its_size(kind):
    config = toy_config(Crew, critic=kind)
    policy = policy_of(config)
    critics = ["scouts_critic", "porters_critic", "chief_critic"]
    critics = critics if kind == "separate" else [CENTRAL_CRITIC]
    assert set(config.rl_module_spec.rl_module_specs) == {"scouts", "porters", "chief", *critics}
    other = policy_of(toy_config(Pairs, critic=kind))
    for group in MEMBERS:
        shapes = [[p.shape for p in own[group].parameters()] for own in (policy, other)]
        assert shapes[0] == shapes[1]
    mapping = config.policy_mapping_fn
    assert {mapping(a, None) for a in SCOUTS} == {"scouts"}
    assert mapping("chief", None) == "chief"


def test_a_member_decides_from_its_own_observation():
    policy = policy_of(toy_config(Crew))
    for group, ids in MEMBERS.items():
        actor, size = policy[group], SIZES[group]
        torch.manual_seed(1)
        observed = torch.randn(4, len(ids) * size)
        codec = policy.team.codecs[group]
        before = by_member(actor.parameters_of(observed), codec.parameter_widths, len(ids))
        alone = actor.parameters_of(observed.reshape(-1, size))
        torch.testing.assert_close(alone.reshape(before.shape), before)
        observed[:, :size] += 1  # what the first member sees
        after = by_member(actor.parameters_of(observed), codec.parameter_widths, len(ids))
        logits = slice(codec.num_logits // len(ids))
        assert torch.equal(after[:, 1:], before[:, 1:])
        assert not torch.isclose(after[:, 0, logits], before[:, 0, logits]).any()


def test_alike_observations_give_alike_decisions():
    policy = policy_of(toy_config(Crew))
    observations = {a: torch.zeros(2, policy.team.observation_size(a)) for a in policy.team.agents}
    observations["scouts"] = torch.randn(1, 7).repeat(2, 3)
    _, _, parameters = policy.act(observations, explore=True)
    scouts = parameters["scouts"].reshape(6, 3)
    torch.testing.assert_close(scouts, scouts[:1].expand(6, 3))


def test_members_get_their_own_actions_back_from_rllibs_runner():
    """Each scout names its place in the group, in each of three environments."""
    config = toy_config(Crew, batched=False).rl_module(model_config={"fcnet_hiddens": []})
    config.env_runners(num_envs_per_env_runner=3)
    sampler = runner(config, EpisodeEnvRunner)
    with torch.no_grad():
        layer = sampler.module["scouts"].network.last
        layer.weight.zero_()
        layer.weight[:, :3] = 10 * torch.eye(3)
    samples = sampler.sample(num_timesteps=9, explore=False)
    for env in sampler.env.envs:
        taken = env.unwrapped.taken
        assert [int(taken[scout]) for scout in SCOUTS] == [0, 1, 2]
    team = sampler.module.team
    batch = EpisodesToTeamBatch(team)(episodes=samples, batch={}, rl_module=None)[TEAM_BATCH]
    assert batch.actions["scouts"].tolist() == [[0, 1, 2]] * 9
    places = batch.observations["scouts"].reshape(9, 3, 7)[:, :, :3]
    assert (places == np.eye(3)).all()
    np.testing.assert_array_equal(
        batch.observations["porters"].reshape(9, 2, 7)[:, :, 0], [[0, 1]] * 9
    )


def test_batches_and_episodes_are_the_same_training_data():
    def config(**training):
        return toy_config(Crew, **training).env_runners(num_envs_per_env_runner=1).debugging(seed=3)

    by_batch = runner(config(), BatchedEnvRunner)
    by_episode = runner(config(batched=False), EpisodeEnvRunner)
    by_episode.module.set_state(by_batch.module.get_state())
    [batch] = by_batch.sample(num_episodes=1)
    by_episode.module.generator = torch.Generator().manual_seed(3)
    episodes = by_episode.sample(num_episodes=1)
    connector = EpisodesToTeamBatch(by_batch.module.team)
    other = connector(episodes=episodes, batch={}, rl_module=None)[TEAM_BATCH]
    for name in ("observations", "actions", "log_probs", "parameters", "final_observations"):
        for agent, column in getattr(batch, name).items():
            found = getattr(other, name)[agent]
            assert found.shape == column.shape
            np.testing.assert_allclose(found, column, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(other.rewards, batch.rewards, rtol=1e-6)
    assert batch.log_probs["scouts"].shape == (8, 3)

    ours, theirs = (sampler.get_metrics() for sampler in (by_batch, by_episode))
    per_agent = {"agent_episode_returns_mean", "module_episode_returns_mean", "agent_steps"}
    steps = {f"num_{what}_steps_sampled" for what in ("agent", "module")}
    for key in per_agent | steps:
        assert set(ours[key]) == set(theirs[key]) != set()
        for name, value in theirs[key].items():
            assert ours[key][name].peek() == pytest.approx(value.peek()), (key, name)
    for key in ("episode_return_mean", "episode_return_max", "num_env_steps_sampled"):
        assert ours[key].peek() == pytest.approx(theirs[key].peek())


def test_a_recording_of_groups_is_read_as_it_was():
    learner = learner_of(toy_config(Crew))
    batch = batch_for(learner)
    agents = list(learner.plan.team.agents)
    table = table_of(batch, 0)
    check_rows(table, agents, "here")
    assert_same_batch(batch_of(table, agents, "here"), batch)


class Absent(Crew):
    """A scout misses a step."""

    def observe(self):
        observations = super().observe()
        if self.steps == 2:
            del observations["scout_a"]
        return observations

    def step(self, action_dict):
        if self.steps == 2:
            assert set(action_dict) == set(self.possible_agents) - {"scout_a"}
            action_dict = {"scout_a": 0} | action_dict
        return super().step(action_dict)


def test_a_member_may_miss_a_step():
    config = toy_config(Absent, batched=False).env_runners(num_envs_per_env_runner=1)
    sampler = runner(config, EpisodeEnvRunner)
    samples = sampler.sample(num_episodes=1)
    connector = EpisodesToTeamBatch(sampler.module.team)
    batch = connector(episodes=samples, batch={}, rl_module=None)[TEAM_BATCH]
    expected = np.ones((len(batch), 3), bool)
    expected[2::8, SCOUTS.index("scout_a")] = False
    assert list(batch.active) == ["scouts"]
    np.testing.assert_array_equal(batch.active["scouts"], expected)


def grouped(**groups):
    """A CopyEnv with groups."""

    class Grouped(CopyEnv):
        agent_groups = groups
        agent_order = None
        action_slots = {}  # noqa: RUF012

    return Grouped


class Unlike(Crew):
    def __init__(self, env_config=None):
        super().__init__(env_config)
        self.observation_spaces["scout_a"] = box(8)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (toy_config(grouped(all=())), r"agent_groups\[all\] = \(\): expected at least one agent"),
        (toy_config(grouped(tail=("tail",))), r"agent_groups\[tail\]: expected a name that no ag"),
        (toy_config(grouped(one=("tale",))), r"agent_groups\[one\] names 'tale': expected one of"),
        (
            toy_config(grouped(one=("tail",), two=("tail",))),
            r"agent_groups\[two\] names 'tail', which is already in a group",
        ),
        (
            toy_config(grouped(one=("tail", "leader"))),
            r"agent_groups\[one\]: observation space of leader = .*: expected that of tail",
        ),
        (toy_config(Unlike), r"agent_groups\[scouts\]: observation space of scout_a"),
        (
            toy_config(Crew, entity_shared=True),
            "entity_shared = true: expected groups of 3 members, .* entity, porters has 2",
        ),
        (toy_config(Crew, ratio="entity"), "ratio = 'entity': expected entity_shared = true"),
        (toy_config(Crew, ratio="entities"), "unknown ratio 'entities': did you mean 'entity'"),
        (
            toy_config(Crew).multi_agent(count_steps_by="agent_steps"),
            "count_steps_by = 'agent_steps': expected 'env_steps' with groups of agents",
        ),
    ],
)
def test_mistakes_are_named(config, message):
    with pytest.raises(InputError, match=message):
        config.validate()


def test_members_are_put_in_order_or_nothing_is_sampled():
    config = toy_config(Crew, batched=False)
    config.env_runners(add_default_connectors_to_env_to_module_pipeline=False)
    config.validate()
    with pytest.raises(InputError, match="env_to_module_pipeline = False: expected true with gr"):
        EpisodeEnvRunner(config=config, worker_index=0)
