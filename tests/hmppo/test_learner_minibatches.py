"""From episodes to minibatches: aligned rows, whole epochs, baselines and bootstrapping."""

import itertools

import pytest
import torch
from learners import batch_for
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing
from toy_teams import AGENTS, ID_ENTRY, toy_config, toy_episode, toy_learner

from rllib_mec.hmppo.learning.episodes_to_team_batch import TEAM_BATCH, EpisodesToTeamBatch
from rllib_mec.hmppo.modules.critic_plan import CENTRAL_CRITIC, CRITICS


@pytest.fixture(scope="module")
def learner():
    return toy_learner()


def episodes_with_ids(team, *lengths):
    """Episodes whose steps are numbered through."""
    episodes, start = [], 0
    for seed, steps in enumerate(lengths):
        ids = range(start, start + steps + 1)
        episodes.append(toy_episode(team, steps, ids=ids, seed=seed, end="truncated"))
        start += steps
    return episodes


def ids_of(minibatch):
    """The numbers of a minibatch's rows, as each module sees them."""
    ids = {a: minibatch[a][Columns.OBS][:, ID_ENTRY[a]].tolist() for a in AGENTS}
    # The critic's input begins with the leader's observation; its first point will do.
    ids["critic"] = minibatch[CENTRAL_CRITIC][Columns.OBS][:, 0, ID_ENTRY["leader"]].tolist()
    return ids


@pytest.fixture
def minibatches(learner, monkeypatch):
    """Runs an update and returns its minibatches."""

    def run(*lengths, **kwargs):
        seen = []
        step = learner.stacked_update._step

        def record(rows, chosen, *others):
            [indices] = chosen
            picked = {m: {n: c[indices] for n, c in own.items()} for m, own in rows.items()}
            seen.append(picked)
            return step(rows, chosen, *others)

        with monkeypatch.context() as patch:
            patch.setattr(learner.stacked_update, "_step", record)
            learner.update(episodes=episodes_with_ids(learner.plan.team, *lengths), **kwargs)
        return seen

    return run


def test_rows_of_all_modules_are_the_same_steps(minibatches):
    seen = minibatches(10, 8, 5, minibatch_size=6, num_epochs=2, shuffle_batch_per_epoch=True)
    for minibatch in seen:
        assert set(minibatch) == {*AGENTS, CENTRAL_CRITIC}
        ids = ids_of(minibatch)
        assert ids["leader"] == ids["painter"] == ids["tail"] == ids["critic"]
        assert len({len(c) for columns in minibatch.values() for c in columns.values()}) == 1


@pytest.mark.parametrize(("size", "sizes"), [(6, [6, 6, 11]), (23, [23]), (50, [23]), (None, [23])])
def test_every_row_is_used_once_an_epoch(minibatches, size, sizes):
    """23 rows; what is left over joins the last minibatch."""
    seen = minibatches(10, 8, 5, minibatch_size=size, num_epochs=3, shuffle_batch_per_epoch=True)
    ids = [ids_of(minibatch)["leader"] for minibatch in seen]
    assert [len(rows) for rows in ids] == sizes * 3
    per_epoch = len(sizes)
    epochs = [
        list(itertools.chain(*ids[start : start + per_epoch]))
        for start in range(0, len(ids), per_epoch)
    ]
    assert all(sorted(epoch) == list(range(23)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_without_shuffling_rows_stay_in_order(minibatches):
    seen = minibatches(4, 3, minibatch_size=3, num_epochs=2)
    assert [ids_of(m)["tail"] for m in seen] == [[0, 1, 2], [3, 4, 5, 6]] * 2


def test_the_number_of_minibatches_can_be_fixed(minibatches):
    """Learners that train together must take equally many steps, however many rows they have."""
    seen = minibatches(10, 3, minibatch_size=4, num_epochs=2, num_total_minibatches=8)
    assert [len(ids_of(m)["leader"]) for m in seen] == [4, 4, 5, 4, 4, 5, 4, 4]


def test_same_seed_same_order():
    def order(seed):
        learner = toy_learner(toy_config().debugging(seed=seed))
        chosen = learner.stacked_update.minibatches(
            [batch_for(learner)], minibatch_size=20, num_epochs=2, shuffle=True
        )
        return [indices.tolist() for indices, _ in chosen]

    assert order(1) == order(1) != order(2)
    assert order(None) != order(None)


def test_observations_to_learn_from_are_those_that_were_acted_on(learner):
    """Recomputed parameters equal the stored ones, so that the first ratio is 1."""
    policy = learner.module
    episode = toy_episode(learner.plan.team, 12, policy=policy)
    stored = team_batch(learner, [episode])
    out = policy.forward_train(learner.module_batches(stored))
    for agent in AGENTS:
        parameters = torch.as_tensor(stored.parameters[agent])
        torch.testing.assert_close(out[agent][Columns.ACTION_DIST_INPUTS], parameters)


def team_batch(learner, episodes):
    connector = EpisodesToTeamBatch(learner.plan.team)
    return connector(episodes=episodes, batch={}, rl_module=None)[TEAM_BATCH]


def with_values(learner, function):
    """Makes every critic of the learner compute ``function`` of its inputs."""
    for critic_id in learner.plan.critics:
        critic = learner.module[critic_id]
        critic.trace = lambda values, inputs, memory=None: (function(inputs[0])[None], None)


@pytest.mark.parametrize("kind", CRITICS)
def test_value_targets_of_terminated_truncated_and_cut_episodes(kind):
    """One step, reward 3, gamma 1/2; the critic says 8 of everything."""
    learner = toy_learner(toy_config(critic=kind, gamma=0.5, lambda_=0.9))
    with_values(learner, lambda inputs: torch.full(inputs.shape[:2], 8.0))
    team = learner.plan.team
    ends = ("terminated", "truncated", None)
    episodes = [toy_episode(team, 1, rewards=[3.0], end=end) for end in ends]
    batch = learner.module_batches(team_batch(learner, episodes))
    for critic_id in learner.plan.critics:
        critic = learner.module[critic_id]
        targets = batch[critic_id][Postprocessing.VALUE_TARGETS] * critic.std + critic.mean
        assert targets[:, 0].tolist() == pytest.approx([3.0, 7.0, 7.0], abs=1e-4)


def test_advantages_are_taken_from_each_agents_own_point():
    """A critic that values rows differently at each point."""
    learner = toy_learner(toy_config(gamma=1.0, lambda_=1.0))
    values = torch.tensor([[1.0, 0.0, 5.0], [2.0, 0.0, 1.0], [4.0, 3.0, 0.0]])
    with_values(learner, lambda inputs: values[: len(inputs)])
    episode = toy_episode(learner.plan.team, 3, rewards=[0, 0, 0], end="terminated")
    batch = learner.module_batches(team_batch(learner, [episode]))
    for point, agent in enumerate(AGENTS):
        expected = -values[:, point]
        expected = (expected - expected.mean()) / expected.std(correction=0)
        torch.testing.assert_close(batch[agent][Postprocessing.ADVANTAGES][:, 0], expected)


def test_final_values_of_a_joint_state_see_actions(monkeypatch):
    """The state after a cut is completed with actions drawn from the policy."""
    learner = toy_learner(toy_config(critic="joint_state"))
    team = learner.plan.team
    seen = []
    original = learner.plan.inputs
    monkeypatch.setattr(
        type(learner.plan), "inputs", lambda _, i, o: seen.append(o) or original(i, o)
    )
    learner.module_batches(team_batch(learner, [toy_episode(team, 2, end=None)]))
    _, final = seen
    codes = final["painter"][:, list(team.slots["painter"]["leader"])]
    assert codes.sum() == 1
    assert set(codes.ravel().tolist()) == {0.0, 1.0}


def test_final_values_of_decision_points_see_none():
    learner = toy_learner()
    seen = []
    with_values(learner, lambda inputs: seen.append(inputs) or inputs.sum(-1))
    team = learner.plan.team
    learner.module_batches(team_batch(learner, [toy_episode(team, 2, end=None)]))
    _, final = seen
    sizes = [team.observation_size(a) for a in AGENTS]
    _, painter, tail, _ = final.split([*sizes, 3], dim=-1)
    assert not painter[:, 0, [0, 1, 3]].any()
    assert not tail[:, 0, [0, 1, 2, 3, 5]].any()
