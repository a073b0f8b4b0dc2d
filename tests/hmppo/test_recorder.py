"""Batches that are recorded step by step, shared out and joined again."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.utils.minibatch_utils import ShardEpisodesIterator
from toy_teams import box

from rllib_mec.hmppo import Team
from rllib_mec.hmppo.sampling.recorder import Recorder
from rllib_mec.hmppo.team_batch import TeamBatch

NUM_ENVS = 3
TEAM = Team(("a",), {"a": box(1)}, {"a": gym.spaces.Box(-1, 1, (1,), np.float32)})


def _observation(step):
    """Tells the environment and the step: 10 * environment + step."""
    return {"a": 10.0 * np.arange(NUM_ENVS)[:, None] + step}


def recorded(pieces, groups=1):
    """Records pieces of (steps, terminated); time goes on over them."""
    recorder, time = Recorder(TEAM, groups), 0
    for steps, terminated in pieces:
        for _ in range(steps):
            add(recorder, _observation(time))
            time += 1
        recorder.end_piece(_observation(time), terminated)
    batches = recorder.batches()
    return batches[0] if groups == 1 else batches


def add(recorder, now):
    """A step whose action and parameter are the observation."""
    column = torch.as_tensor(now["a"], dtype=torch.float32).unflatten(0, (recorder.groups, -1))
    parameters = torch.cat([column, torch.zeros_like(column)], dim=-1)
    recorder.add(now, {"a": column}, {"a": parameters}, now["a"][:, 0])


def arrays(batch):
    """All arrays of a batch, by name."""
    return {
        field.name: value["a"] if isinstance(value, dict) else value
        for field in dataclasses.fields(batch)
        for value in [getattr(batch, field.name)]
        if not isinstance(value, dict) or value  # the agent is always there
    }


def test_rows_are_segment_by_segment():
    batch = recorded([(2, False), (3, True)])
    first, second = [0, 1, 10, 11, 20, 21], [2, 3, 4, 12, 13, 14, 22, 23, 24]
    assert batch.observations["a"][:, 0].tolist() == first + second
    assert batch.lengths.tolist() == [2, 2, 2, 3, 3, 3]
    assert batch.final_observations["a"][:, 0].tolist() == [2, 12, 22, 5, 15, 25]
    assert batch.terminated.tolist() == [False] * 3 + [True] * 3
    np.testing.assert_array_equal(batch.rewards, batch.observations["a"][:, 0])
    assert (len(batch), batch.env_steps(), batch.agent_steps()) == (15, 15, 15)


def test_groups_get_a_batch_each():
    pieces = [(2, False), (3, True)]
    whole, groups = recorded(pieces), recorded(pieces, groups=3)
    assert len(groups) == 3
    for index, batch in enumerate(groups):
        mine = [env == index for env in whole.observations["a"][:, 0] // 10]
        for name in ("observations", "actions", "log_probs", "parameters", "rewards"):
            np.testing.assert_array_equal(arrays(batch)[name], arrays(whole)[name][mine])
        assert batch.lengths.tolist() == [2, 3]
        final = [2 + 10 * index, 5 + 10 * index]
        assert batch.final_observations["a"][:, 0].tolist() == final


def test_log_probabilities_are_those_of_the_actions():
    batch = recorded([(2, True)])
    # A standard deviation of 1, and actions that are the means.
    np.testing.assert_allclose(batch.log_probs["a"], -0.5 * np.log(2 * np.pi), rtol=1e-6)


def test_a_dropped_piece_leaves_no_trace():
    recorder = Recorder(TEAM)
    for piece in ("kept", "dropped", "kept"):
        for step in range(2):
            add(recorder, _observation(step if piece == "kept" else 7))
        if piece == "dropped":
            recorder.drop_piece()
        else:
            recorder.end_piece(_observation(2), False)
    assert recorder.steps == 4
    [batch] = recorder.batches()
    assert batch.observations["a"][:, 0].tolist() == [0, 1, 10, 11, 20, 21] * 2
    assert batch.lengths.tolist() == [2] * 6


@pytest.mark.parametrize("at", [1, 2, 3, 6, 7, 14])
def test_cutting_and_joining_keeps_every_row(at):
    batch = recorded([(2, False), (3, True)])
    first, second = batch[:at], batch[at:]
    assert (len(first), len(second)) == (at, 15 - at)
    joined = TeamBatch.concatenate([first, second])
    for name in ("observations", "actions", "log_probs", "parameters", "rewards"):
        np.testing.assert_array_equal(arrays(joined)[name], arrays(batch)[name])
    assert first.lengths.sum() == at
    assert len(first.terminated) == len(first.lengths) == len(first.final_observations["a"])


def test_a_cut_segment_is_bootstrapped_from_the_next_row():
    batch = recorded([(5, True)])
    first, second = batch[:7], batch[7:]
    assert first.lengths.tolist() == [5, 2]
    assert first.terminated.tolist() == [True, False]
    assert first.final_observations["a"][:, 0].tolist() == [5, 12]
    assert second.lengths.tolist() == [3, 5]
    assert second.terminated.tolist() == [True, True]
    assert second.final_observations["a"][:, 0].tolist() == [15, 25]
    # The batch that was cut is as it was.
    assert batch.terminated.all()
    assert batch.final_observations["a"][:, 0].tolist() == [5, 15, 25]


@pytest.mark.parametrize("num_shards", [2, 3, 4])
def test_rllib_can_share_it_out_to_learners(num_shards):
    batches = [recorded([(4, False)]), recorded([(3, True)])]
    shards = list(ShardEpisodesIterator(batches, num_shards))
    lengths = [sum(len(part) for part in shard) for shard in shards]
    assert sum(lengths) == 21
    assert max(lengths) - min(lengths) <= 1
    rows = np.sort([r for shard in shards for part in shard for r in part.rewards])
    np.testing.assert_array_equal(rows, np.sort(np.concatenate([b.rewards for b in batches])))


def test_only_runs_of_rows():
    with pytest.raises(ValueError, match="expected a step of 1"):
        recorded([(4, False)])[::2]
