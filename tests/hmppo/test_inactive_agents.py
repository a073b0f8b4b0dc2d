"""Agents that come and go: whole steps, what is sampled of them, and what is learned."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from batches import arrays, assert_same
from learners import assert_same as assert_same_state
from learners import batch_for, build, state, update
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing
from toy_relay import SIZES, BatchableRelay, Relay, there
from toy_teams import toy_config

from rllib_mec.hmppo.learning.active_rows import ACTIVE
from rllib_mec.hmppo.learning.advantages import normalised
from rllib_mec.hmppo.learning.episodes_to_team_batch import TEAM_BATCH, EpisodesToTeamBatch
from rllib_mec.hmppo.learning.gradients import Coefficients, actor_gradient
from rllib_mec.hmppo.modules.leaf_parameters import LeafParameters
from rllib_mec.hmppo.recording import rows as recording
from rllib_mec.hmppo.team_batch import TeamBatch

ALONE = ("walker", "porter", "guest")


def runner_of(env, **training):
    config = toy_config(env, **training).env_runners(num_envs_per_env_runner=2)
    config.validate()
    return config.env_runner_cls(config=config)


def sampled(env, steps, explore, **training):
    """A batch of two environments, each over as many steps, and the runner."""
    runner = runner_of(env, **training)
    torch.manual_seed(3)
    samples = runner.sample(num_timesteps=2 * steps, explore=explore)
    if not isinstance(samples[0], TeamBatch):
        connector = EpisodesToTeamBatch(runner.module.team)
        samples = [connector(episodes=samples, batch={}, rl_module=None)[TEAM_BATCH]]
    return samples[0], runner


@pytest.mark.parametrize("env", [Relay, BatchableRelay])
@pytest.mark.parametrize("steps", [10, 7, 23])
def test_who_is_there_in_which_row(env, steps):
    """The environment asserts that nobody else acts, over ends of episodes and cuts, too."""
    batch, runner = sampled(env, steps, explore=True)
    taken = np.concatenate([np.arange(10)[:length] for length in batch.lengths])
    expected = [there(step) for step in taken]
    for agent in ("walker", "guest"):
        assert batch.active[agent].tolist() == [agent in own for own in expected]
    twins = [["left" in own, "right" in own] for own in expected]
    assert batch.active["twins"].tolist() == twins
    assert batch.active.get("porter", np.ones(1, bool)).all()
    for agent in ALONE:
        away = ~batch.active[agent] if agent in batch.active else np.zeros(len(batch), bool)
        assert (batch.observations[agent][away] == 0).all()
        assert (batch.observations[agent][~away] != 0).any(axis=1).all()
    members = batch.observations["twins"].reshape(len(batch), 2, 4)
    assert ((members != 0).any(axis=-1) == batch.active["twins"]).all()
    finals = [there(length) if length < 10 else there(10) for length in batch.lengths]
    assert batch.final_active["walker"].tolist() == ["walker" in own for own in finals]
    # All are given the number of the step; a fifth of it is the guest's, who gets it if even.
    rewards = [(step + 1) * (1 if step % 2 else 0.8) for step in taken]
    np.testing.assert_allclose(batch.rewards, rewards, rtol=1e-6)
    sizes = {name: runner.metrics.peek(("num_agent_steps_sampled", name)) for name in SIZES}
    assert sizes == {a: sum(a in own for own in expected) for a in SIZES}
    assert batch.agent_steps() == len(batch) * 4 - sum(
        int((~own).sum()) for own in batch.active.values()
    )


def test_batches_are_what_episodes_are():
    """The same environments, seeds and policy, without exploration, up to the order of segments."""
    ours, _ = sampled(BatchableRelay, 20, explore=False)
    theirs, _ = sampled(Relay, 20, explore=False)
    first, second = (sorted(_segments(batch), key=lambda own: own[0]) for batch in (ours, theirs))
    assert len(first) == len(second) == 4
    for (_, one), (_, other) in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        assert "active/twins" in one
        for name, column in one.items():
            there_ = ours_there(one, name)
            np.testing.assert_allclose(
                column[there_], other[name][there_], rtol=1e-5, atol=1e-6, err_msg=name
            )


def _segments(batch):
    """A number of each segment's own, and its columns."""
    ends = batch.lengths.cumsum()
    for end, length in zip(ends, batch.lengths, strict=True):
        part = arrays(batch[end - length : end])
        yield float(part["observations/porter"][0, 4]), part


def ours_there(columns, name):
    """The rows in which an agent's columns mean something."""
    column, agent = name.partition("/")[::2]
    own = columns.get(f"active/{agent}")
    if own is None or column not in ("actions", "log_probs", "parameters"):
        return slice(None)
    return own.reshape(len(own), -1).all(axis=1)


class Pixels(Relay):
    """The same with whole numbers to see, of which none is NaN."""

    def __init__(self, env_config=None):
        super().__init__(env_config)
        self.observation_spaces = {
            agent: gym.spaces.Box(-100, 100, space.shape, np.int32)
            for agent, space in self.observation_spaces.items()
        }

    def reset(self, **kwargs):
        observed, infos = super().reset(**kwargs)
        return self.rounded(observed), infos

    def step(self, action_dict):
        observed, *others = super().step(action_dict)
        return (self.rounded(observed), *others)

    def rounded(self, observed):
        return {agent: np.ceil(9 * own).astype(np.int32) for agent, own in observed.items()}


def test_who_sees_whole_numbers_may_be_absent_too():
    batch, _ = sampled(Pixels, 10, explore=True)
    other, _ = sampled(Relay, 10, explore=True)
    assert batch.active.keys() == other.active.keys()
    for agent, active in other.active.items():
        np.testing.assert_array_equal(batch.active[agent], active)
    for agent in ALONE:
        if agent in batch.active:
            assert (batch.observations[agent][~batch.active[agent]] == 0).all()
        assert np.abs(batch.observations[agent]).max() <= 100


def test_nobody_sees_actions_of_who_is_not_there():
    runner = runner_of(Relay)
    policy = runner.module
    team = policy.team
    observations = {a: torch.randn(6, team.observation_size(a)) for a in team.agents}
    taken = {"walker": torch.tensor([[2.0]] * 6), "porter": torch.tensor([[1.0, 0.0]] * 6)}
    active = {"walker": torch.tensor([[True], [False]] * 3)}
    filled = team.fill_slots("porter", observations["porter"], taken, active)
    assert filled[0::2, :3].tolist() == [[0, 0, 1]] * 3
    assert filled[1::2, :3].tolist() == [[0, 0, 0]] * 3
    assert torch.equal(filled[:, 3:], observations["porter"][:, 3:])
    # Whatever the walker is thought to see and do.
    for agent in team.agents:
        torch.nn.init.normal_(policy[agent].network.last.weight)
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        observations["walker"] = torch.randn(6, 2)
        results.append(policy.act(observations, explore=False, active=active)[2]["porter"])
    assert torch.equal(results[0][1::2], results[1][1::2])
    assert not torch.equal(results[0][0::2], results[1][0::2])


TRAINING = [
    {},
    {"critic": "joint_state", "update": "sequential"},
    {"critic": "separate", "entropy_coeff": 0.01, "use_kl_loss": True},
    {"ratio": "branch", "entropy_coeff": 0.01},
]


def relay_batch(learner, seed=0):
    """Random steps in which agents are there at random, at least the porter."""
    batch = batch_for(learner, seed)
    team = learner.plan.team
    draw = np.random.default_rng(seed)
    for agent in team.agents:
        if agent == "porter":
            continue
        shape = (team.num_members(agent),) if agent in team.members else ()
        for name, observations in (
            ("active", batch.observations[agent]),
            ("final_active", batch.final_observations[agent]),
        ):
            own = draw.random((len(observations), *shape)) < 0.6
            getattr(batch, name)[agent] = own
            members = observations.reshape(len(observations), team.num_members(agent), -1)
            members[~own.reshape(members.shape[:2])] = 0.0
    tensors = {a: torch.from_numpy(o) for a, o in batch.observations.items()}
    active = {a: torch.from_numpy(own.reshape(len(own), -1)) for a, own in batch.active.items()}
    torch.manual_seed(seed)
    drawn = learner.module.act(tensors, explore=True, active=active)
    for name, columns in zip(("actions", "log_probs", "parameters"), drawn, strict=True):
        setattr(batch, name, {a: own.numpy() for a, own in columns.items()})
    return batch


def relay_config(**training):
    config = toy_config(Relay, **training)
    return config.env_runners(observation_filter="MeanStdFilter")


@pytest.mark.parametrize("training", TRAINING)
def test_what_absent_agents_are_said_to_do_makes_no_difference(training):
    """Bit for bit: neither to their actors, nor to others who would see it, nor to critics."""
    ours, theirs = build(relay_config(**training)), build(relay_config(**training))
    batch, changed = relay_batch(ours), relay_batch(theirs)
    team = ours.plan.team
    for agent in ("walker", "guest"):
        away = ~changed.active[agent]
        changed.actions[agent][away] = 1.0
        changed.log_probs[agent][away] = -3.0
        changed.parameters[agent][away] = 0.5
        changed.observations[agent][away] = 4.0
    # Of the twins a member's part: to (two choices), by (two numbers).
    away = ~changed.active["twins"]
    codec = team.codecs["twins"]
    assert codec.action_widths == [2, 2]
    for first in (0, 2):
        changed.actions["twins"][:, first : first + 2][away] = 1.0
    changed.log_probs["twins"][away] = -3.0
    changed.observations["twins"].reshape(-1, 2, 4)[away] = 4.0
    with pytest.raises(AssertionError):
        assert_same(batch, changed)
    update(ours, batch)
    update(theirs, changed)
    for one, other in zip(_tensors(state(ours)), _tensors(state(theirs)), strict=True):
        assert torch.equal(one, other)


def _tensors(tree):
    if isinstance(tree, dict):
        return [tensor for key in tree for tensor in _tensors(tree[key])]
    return [torch.as_tensor(tree)]


@pytest.mark.parametrize("training", TRAINING)
def test_the_update_by_hand_is_that_of_autograd(training):
    ours, theirs = (
        build(relay_config(**training)),
        build(relay_config(**training), by_autograd=True),
    )
    batch = relay_batch(ours)
    before = ours.module["walker"].unwrapped().network.last.weight.clone()
    update(ours, batch)
    update(theirs, batch)
    assert_same_state(ours, theirs)
    assert not torch.equal(ours.module["walker"].unwrapped().network.last.weight, before)


@pytest.mark.parametrize("agent", [*ALONE, "twins"])
def test_the_gradient_is_that_of_the_rows_that_are_left(agent):
    """Where rows are taken out in which the agent was not there; a twin alone as one of one."""
    learner = build(relay_config(entropy_coeff=0.01, use_kl_loss=True))
    rows = learner.stacked_update.rows([relay_batch(learner)])[agent]
    actor = learner.module[agent].unwrapped()
    values = [value[None] for value in actor.parameters()]
    one = torch.ones(1, 1)
    coefficients = Coefficients(0.2 * one, 0.01 * one, 0.3 * one, one, None)
    # As if some steps had been learned from already.
    rows[Columns.ACTION_LOGP] = rows[Columns.ACTION_LOGP] + 0.3 * torch.randn(
        rows[Columns.ACTION_LOGP].shape, generator=torch.Generator().manual_seed(0)
    )
    rows[Columns.ACTION_DIST_INPUTS] = rows[Columns.ACTION_DIST_INPUTS] + 0.1
    whole, parts = actor_gradient(actor, values, rows, coefficients, with_parts=True)
    there = rows.get(ACTIVE)
    if agent == "porter":
        assert there is None
        return
    kept = there[0].amax(dim=-1) > 0
    assert 0 < kept.sum() < len(kept)
    left = {name: column[:, kept] for name, column in rows.items()}
    if agent != "twins":
        del left[ACTIVE]
    less, parts_left = actor_gradient(actor, values, left, coefficients, with_parts=True)
    torch.testing.assert_close(whole, less, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(parts, parts_left, rtol=1e-4, atol=1e-6)
    if agent != "twins":
        return
    # The sum over members of what each one's rows say by themselves.
    total = torch.zeros_like(whole)
    codec, single = actor.codec, actor.member_codec
    for place in (0, 1):
        mine = there[0, :, place] > 0
        own = {Columns.OBS: rows[Columns.OBS].unflatten(-1, (2, -1))[:, mine, place]}
        for name, widths in (
            (Columns.ACTIONS, codec.action_widths),
            (Columns.ACTION_DIST_INPUTS, codec.parameter_widths),
        ):
            blocks = [b.unflatten(-1, (2, -1)) for b in rows[name].split(widths, dim=-1)]
            own[name] = torch.cat(blocks, dim=-1)[:, mine, place]
        own[Columns.ACTION_LOGP] = rows[Columns.ACTION_LOGP][:, mine, place : place + 1]
        own[Postprocessing.ADVANTAGES] = rows[Postprocessing.ADVANTAGES][:, mine]
        actor.codec, actor.num_entities = single, 1
        actor.leaves = LeafParameters(single, single, 1)
        gradient, _ = actor_gradient(actor, values, own, coefficients)
        actor.codec, actor.num_entities = codec, 2
        total += gradient * mine.sum() / kept.sum()
    torch.testing.assert_close(whole, total, rtol=1e-3, atol=1e-6)


def test_advantages_are_normalised_over_those_who_were_there():
    advantages = torch.randn(2, 50) * 3 + 1
    active = (torch.rand(2, 50) < 0.4).float()
    found = normalised(advantages, active)
    for own, there_, row in zip(advantages, active, found, strict=True):
        assert (row[there_ == 0] == 0).all()
        torch.testing.assert_close(row[there_ > 0], normalised(own[there_ > 0]))
    assert (normalised(advantages, torch.zeros(2, 50)) == 0).all()


@pytest.mark.parametrize("critic", ["decision_point", "separate"])
def test_what_is_learned_from_has_mean_0_and_deviation_1(critic):
    """Over the rows in which an agent, or with a critic of its own a member, was there."""
    learner = build(relay_config(critic=critic))
    rows = learner.stacked_update.rows([relay_batch(learner)])
    for agent in ("walker", "guest", "twins"):
        advantages, active = rows[agent][Postprocessing.ADVANTAGES], rows[agent][ACTIVE]
        if advantages.shape != active.shape:
            active = active.amax(dim=-1, keepdim=True)
        own = advantages[active > 0]
        assert 10 < len(own) < active.numel()
        assert own.mean().abs() < 1e-5
        assert (own.std(correction=0) - 1).abs() < 1e-4


@pytest.mark.parametrize("training", TRAINING)
def test_saying_that_all_are_there_changes_nothing(training):
    ours, theirs = build(relay_config(**training)), build(relay_config(**training))
    batch, said = batch_for(ours), batch_for(theirs)
    for agent in ("walker", "twins", "guest"):
        shape = (2,) if agent == "twins" else ()
        said.active[agent] = np.ones((len(said), *shape), bool)
        said.final_active[agent] = np.ones((len(said.lengths), *shape), bool)
    update(ours, batch)
    update(theirs, said)
    assert_same_state(ours, theirs)


def test_filters_learn_from_what_was_seen():
    learner = build(relay_config())
    batch = relay_batch(learner)
    update(learner, batch)
    for agent in ("walker", "guest", "twins"):
        filter_ = learner.module[agent].unwrapped().filter
        size = len(filter_.mean)
        seen = batch.observations[agent].reshape(-1, size)[batch.active[agent].ravel()]
        np.testing.assert_allclose(filter_.mean.numpy(), seen.mean(axis=0), atol=1e-6)
        assert filter_.count == len(seen)


def test_batches_are_joined_and_cut_with_who_was_there():
    learner = build(relay_config())
    first, second = relay_batch(learner), batch_for(learner, 1)
    both = TeamBatch.concatenate([second, first])
    assert both.active["walker"].tolist() == [True] * 60 + first.active["walker"].tolist()
    assert both.active["twins"].shape == (120, 2)
    part = both[65:70]
    assert part.active["walker"].tolist() == first.active["walker"][5:10].tolist()
    assert part.final_active["walker"].tolist() == [first.active["walker"][10]]
    assert both[60:].final_active["twins"].tolist() == first.final_active["twins"].tolist()


def test_a_recording_tells_who_was_there():
    learner = build(relay_config())
    team = learner.plan.team
    first, second = relay_batch(learner), batch_for(learner, 1)
    tables = [recording.table_of(first, 0), recording.table_of(second, len(first.lengths))]
    table = recording.joined(tables)
    recording.check_rows(table, list(team.agents), "here")
    found = recording.batch_of(table, list(team.agents), "here")
    assert_same(found, TeamBatch.concatenate([first, second]))
    for own, number in ((table, b'"format": 2'), (tables[1], b'"format": 1')):
        described = recording.description(team, 0, "s", 0, own.column_names)
        assert number in described[recording.METADATA]
