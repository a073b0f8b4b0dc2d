"""Episodes to team batches, row by row."""

import numpy as np
import pytest
from ray.rllib.core.columns import Columns
from ray.rllib.env.multi_agent_episode import MultiAgentEpisode
from ray.rllib.utils.minibatch_utils import ShardEpisodesIterator
from toy_teams import AGENTS, ID_ENTRY, entity_team, toy_episode, toy_team

from rllib_mec.hmppo.config import module_of_agent
from rllib_mec.hmppo.learning.episodes_to_team_batch import TEAM_BATCH, EpisodesToTeamBatch


def batch_of(team, episodes):
    return EpisodesToTeamBatch(team)(episodes=episodes, batch={}, rl_module=None)[TEAM_BATCH]


def columns_of(batch, team):
    """Every array of a batch under a name."""
    arrays = {"rewards": batch.rewards, "lengths": batch.lengths, "terminated": batch.terminated}
    for name in ("observations", "actions", "log_probs", "parameters", "final_observations"):
        arrays |= {f"{name} of {a}": getattr(batch, name)[a] for a in team.agents}
    return arrays


def test_rows_of_two_episodes():
    team = toy_team()
    one = toy_episode(team, 3, rewards=[1, 2, 3], ids=[0, 1, 2, 3], end="terminated")
    two = toy_episode(team, 2, rewards=[4, 5], ids=[10, 11, 12], end="truncated", seed=1)
    batch = batch_of(team, [one, two])
    assert batch.rewards.tolist() == [1, 2, 3, 4, 5]
    assert batch.lengths.tolist() == [3, 2]
    assert batch.terminated.tolist() == [True, False]
    for agent in AGENTS:
        assert batch.observations[agent][:, ID_ENTRY[agent]].tolist() == [0, 1, 2, 10, 11]
        assert batch.final_observations[agent][:, ID_ENTRY[agent]].tolist() == [3, 12]
        for episode, rows in ((one, slice(3)), (two, slice(3, 5))):
            own = episode.agent_episodes[agent]
            for name, ours in (
                (Columns.ACTION_LOGP, batch.log_probs[agent][:, 0]),
                (Columns.ACTION_DIST_INPUTS, batch.parameters[agent]),
            ):
                np.testing.assert_allclose(ours[rows], own.get_extra_model_outputs(name))
            flat = team.codecs[agent].flatten(own.get_actions())
            np.testing.assert_array_equal(batch.actions[agent][rows], flat)
    for name, array in columns_of(batch, team).items():
        if name not in ("lengths", "terminated"):
            assert array.dtype == np.float32, name


def test_dict_actions_are_flattened():
    team = entity_team(3)
    episode = toy_episode(team, 4)
    batch = batch_of(team, [episode])
    actions = episode.agent_episodes["second"].get_actions()
    np.testing.assert_array_equal(batch.actions["second"][:, :3], actions["keep"])
    np.testing.assert_array_equal(batch.actions["second"][:, 3:], actions["share"])


def outputs_of(team, agent):
    size = team.codecs[agent].num_parameters
    return {Columns.ACTION_LOGP: -1.0, Columns.ACTION_DIST_INPUTS: np.zeros(size, np.float32)}


def pieces(team, cut_at, lookback):
    """An episode of 7 steps as a runner returns it in pieces, cut in mid-episode."""
    whole = toy_episode(team, 7, ids=range(8), end="truncated")
    parts, start = [], 0
    for stop in (*cut_at, 7):
        part = whole.slice(slice(start, stop), len_lookback_buffer=lookback)
        parts.append(part)
        start = stop
    return whole, parts


@pytest.mark.parametrize("lookback", [0, 1, 3])
def test_a_cut_episode_gives_the_same_rows_in_more_segments(lookback):
    team = toy_team()
    whole, parts = pieces(team, (2, 3), lookback)
    one, several = batch_of(team, [whole]), batch_of(team, parts)
    assert several.lengths.tolist() == [2, 1, 4]
    assert several.terminated.tolist() == [False] * 3
    for agent in AGENTS:
        assert several.final_observations[agent][:, ID_ENTRY[agent]].tolist() == [2, 3, 7]
    ours, theirs = columns_of(several, team), columns_of(one, team)
    for name, array in theirs.items():
        if array.shape[0] == 7:
            np.testing.assert_array_equal(ours[name], array, err_msg=name)


def test_a_running_episode_that_was_cut_by_rllib_goes_on_without_its_past():
    """As an environment runner does it: cut(), with one step of the past to look back at."""
    team = toy_team()
    first = toy_episode(team, 3, ids=range(4))
    second = first.cut(len_lookback_buffer=1)
    template = toy_episode(team, 1, seed=5)
    second.add_env_step(
        observations={a: np.full(team.observation_size(a), 9, np.float32) for a in AGENTS},
        actions={a: template.agent_episodes[a].get_actions(0) for a in AGENTS},
        rewards=dict.fromkeys(AGENTS, 8.0),
        infos={a: {} for a in AGENTS},
        extra_model_outputs={a: outputs_of(team, a) for a in AGENTS},
    )
    batch = batch_of(team, [second])
    assert batch.rewards.tolist() == [8.0]
    assert batch.observations["tail"][:, ID_ENTRY["tail"]].tolist() == [3]
    assert batch.final_observations["tail"].tolist() == [[9.0] * 6]


def test_learners_share_an_episode_without_losing_a_row():
    """RLlib splits episodes among learners where it likes."""
    team = toy_team()
    episodes = [
        toy_episode(team, n, ids=[100 * n + t for t in range(n + 1)], end=end, seed=n)
        for n, end in ((7, "terminated"), (4, "truncated"), (2, None))
    ]
    batches = [
        batch_of(team, shard)
        for shard in ShardEpisodesIterator(episodes, num_shards=2, len_lookback_buffer=1)
    ]
    assert sorted(len(batch.rewards) for batch in batches) == [6, 7]
    for agent, entry in ID_ENTRY.items():
        rows = np.concatenate([batch.observations[agent][:, entry] for batch in batches])
        assert sorted(rows) == [200, 201, 400, 401, 402, 403, *range(700, 707)]
        finals = np.concatenate([batch.final_observations[agent][:, entry] for batch in batches])
        terminated = np.concatenate([batch.terminated for batch in batches])
        assert finals[terminated].tolist() == [707]


def test_the_reward_of_the_team_is_the_mean_of_its_agents_rewards():
    team = toy_team()
    episode = toy_episode(team, 2, rewards=[1.0, 4.0])
    episode.agent_episodes["tail"].rewards.data[0] = 7.0
    assert batch_of(team, [episode]).rewards.tolist() == [3.0, 4.0]


def test_episodes_without_a_step_are_left_out():
    team = toy_team()
    empty = toy_episode(team, 0)
    assert batch_of(team, [empty, toy_episode(team, 2)]).lengths.tolist() == [2]


def test_an_agent_that_sits_out_is_named():
    team = toy_team()
    episode = MultiAgentEpisode(agent_to_module_mapping_fn=module_of_agent)
    everyone = {a: np.zeros(team.observation_size(a), np.float32) for a in AGENTS}
    episode.add_env_reset(observations=everyone)
    one = toy_episode(team, 1)
    for acting in (AGENTS, AGENTS[:2]):
        episode.add_env_step(
            observations={a: everyone[a] for a in AGENTS[:2]},
            actions={a: one.agent_episodes[a].get_actions(0) for a in acting},
            rewards=dict.fromkeys(AGENTS[:2], 0.0),
            infos={},
            extra_model_outputs={a: outputs_of(team, a) for a in acting},
        )
    with pytest.raises(ValueError, match=r"tail acted in 0 of 2 steps.*subclasses of"):
        batch_of(team, [episode])


def test_agents_truncated_one_by_one_are_bootstrapped():
    """RLlib calls such an episode terminated, which PettingZoo's environments all would be."""
    team = toy_team()
    episode = toy_episode(team, 3, end="truncated")
    episode.is_terminated = True
    assert not batch_of(team, [episode]).terminated.any()
    assert batch_of(team, [toy_episode(team, 3, end="terminated")]).terminated.all()
