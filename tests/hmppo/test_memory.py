"""Recurrent networks: what they remember, over whatever cuts, and how they learn from it."""

import itertools

import numpy as np
import pytest
import torch
from learners import assert_same, build, update
from ray.rllib.core.columns import Columns
from toy_memory import STEPS, recall_config

from rllib_mec.errors import InputError
from rllib_mec.hmppo.distributions import ActionDistribution
from rllib_mec.hmppo.images import Image
from rllib_mec.hmppo.learning.minibatches import minibatches_of_sequences
from rllib_mec.hmppo.model_settings import MODEL_DEFAULTS
from rllib_mec.hmppo.modules.recurrent import (
    Memory,
    Recurrent,
    memory_of,
    pull_members,
    trace_members,
)
from rllib_mec.hmppo.sampling.batched_env_runner import BatchedEnvRunner
from rllib_mec.hmppo.sampling.episode_runner import EpisodeEnvRunner
from rllib_mec.hmppo.team_batch import TeamBatch

LAYERS = ("gru", "lstm")
ROWS, STARTS = 9, (0, 4, 7)


def networks(layer, images=()):
    settings = MODEL_DEFAULTS | {
        "recurrent_layer": layer,
        "recurrent_size": 5,
        "fcnet_hiddens": [7],
        "conv_filters": [[2, 2, 1]],
    }
    inputs = 3 + sum(image.size for image in images)
    return [Recurrent(inputs, 2, 1.0, settings, images) for _ in range(2)], inputs


def unrolled(network, x, there):
    """Outputs and memories before each row, step by step, gradients cut where sequences start."""
    memory = torch.zeros(1, network.memory_size)
    outputs, memories = [], []
    for row in range(len(x)):
        memory = memory.detach() if row in STARTS else memory
        memories.append(memory)
        y, after = network.advance(x[row : row + 1], memory)
        memory = after if there[row] else memory
        outputs.append(y)
    return torch.cat(outputs), torch.cat(memories).detach()


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("rests", [False, True])
@pytest.mark.parametrize("images", [(), (Image(1, (2, 3, 1)),)])
def test_sequences_are_the_steps_one_after_the_other(layer, rests, images):
    """Outputs and gradients of two networks, also where a member is not always there."""
    torch.manual_seed(0)
    pair, inputs = networks(layer, images)
    x, weight = torch.randn(2, ROWS, inputs), torch.randn(2, ROWS, 2)
    there = torch.tensor([1, 0, 1, 1, 0, 0, 1, 0, 1] if rests else [1] * ROWS).bool()
    starts = torch.zeros(ROWS, dtype=torch.bool)
    starts[list(STARTS)] = True
    expected, before, gradients = [], [], []
    for network, own, out in zip(pair, x, weight, strict=True):
        y, memories = unrolled(network, own, there)
        loss = (y * out)[there].sum()
        gradients.append(torch.autograd.grad(loss, list(network.parameters())))
        expected.append(y.detach())
        before.append(memories)
    values = [torch.stack(own) for own in zip(*(n.parameters() for n in pair), strict=True)]
    active = there.float().expand(2, -1)[..., None] if rests else None
    with torch.no_grad():
        memory = Memory(torch.stack(before), starts.expand(2, -1), active)
        y, tape = trace_members(pair[0], values, x[:, :, None], memory)
        pulled = pull_members(pair[0], values, tape, (weight * there[:, None])[:, :, None])
    torch.testing.assert_close(y[:, there, 0], torch.stack(expected)[:, there])
    for ours, theirs in zip(pulled, zip(*gradients, strict=True), strict=True):
        torch.testing.assert_close(ours, torch.stack(theirs), atol=1e-5, rtol=1e-4)


def sampled(config, steps, batched=True, seed=3):
    """Fragments of the same episodes by the same policy, and a learner with its weights."""
    config = config.copy(copy_frozen=False).debugging(seed=seed)
    config.validate()
    torch.manual_seed(seed)
    runner = (BatchedEnvRunner if batched else EpisodeEnvRunner)(config=config, worker_index=0)
    learner = config.build_learner()
    generator = torch.Generator().manual_seed(seed)
    for mid, module in learner.module.items():
        # As after some learning: what is remembered makes a difference.
        for parameter in module.parameters():
            parameter.data += 0.5 * torch.randn(parameter.shape, generator=generator)
        if mid in runner.module:
            runner.module[mid].load_state_dict(module.state_dict())
    runner.module.generator = torch.Generator().manual_seed(seed)
    samples = [runner.sample(num_timesteps=4 * each) for each in steps]
    batches = [learner._team_batch(sample) for sample in samples]
    return learner, batches


@pytest.mark.parametrize("batched", [True, False], ids=["batched", "episodes"])
@pytest.mark.parametrize("critic", ["decision_point", "joint_state", "separate"])
def test_what_is_learned_from_is_what_was_done(batched, critic):
    """Probabilities from sequences are those that acting had recorded, whatever cuts episodes."""
    config = recall_config("lstm", critic=critic, batched=batched)
    learner, batches = sampled(config, [3, 9], batched)
    for batch in batches:
        rows = learner.stacked_update.rows([batch])
        for agent in learner.plan.team.agents:
            own, actor = rows[agent], learner.module[agent]
            actions = own[Columns.ACTIONS]
            values = [value[None] for value in actor.parameters()]
            with torch.no_grad():
                found, _ = actor.trace(values, own[Columns.OBS], actions, memory_of(own))
            there = own.get("active", torch.ones(1)) > 0
            found = ActionDistribution(actor.codec, found).log_probs(actions)
            recorded = own[Columns.ACTION_LOGP]
            assert recorded.std() > 0.1
            torch.testing.assert_close(
                torch.where(there, found, 0.0), torch.where(there, recorded, 0.0)
            )


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("critic", ["decision_point", "separate"])
def test_values_know_nothing_of_cuts(layer, critic):
    """Values of critics are the same, whether episodes come whole or in fragments."""
    config = recall_config(layer, critic=critic)
    learner, [whole] = sampled(config, [2 * STEPS])
    _, parts = sampled(config, [3, 4, 3])
    for mid in learner.plan.critics:
        ours, theirs = (
            step_by_step(batches, [values_of(learner, mid, own) for own in batches])
            for batches in ([whole], parts)
        )
        assert ours.std() > 0.1
        torch.testing.assert_close(ours, theirs)


def values_of(learner, mid, batch):
    """Values in units of the return, which learning from a batch leaves as they are."""
    own = learner.stacked_update.rows([batch])[mid]
    critics = learner.stacked_update.networks[mid]
    normalised = critics.outputs(own[Columns.OBS], memory=memory_of(own))[0]
    return normalised * critics.module.std + critics.module.mean


def step_by_step(batches, values):
    """Rows of batches, four environments in lockstep, as (steps, 4, …)."""
    steps = []
    for batch, own in zip(batches, values, strict=True):
        ends = batch.lengths.cumsum()
        for first in range(0, len(ends), 4):
            segments = [own[e - n : e] for e, n in zip(ends, batch.lengths, strict=True)]
            steps.append(torch.stack(segments[first : first + 4], dim=1))
    return torch.cat(steps)


def test_a_fragment_begins_with_the_memory_at_the_end_of_the_last():
    _, batches = sampled(recall_config(), [3, 2, 5])
    first, second, third = batches
    assert set(first.memories) == {"twins", "guest", "central_critic"}
    for mid in first.memories:
        begins = first.lengths.cumsum() - first.lengths
        assert not first.memories[mid][begins].any()
        np.testing.assert_array_equal(
            second.memories[mid][second.lengths.cumsum() - second.lengths],
            first.final_memories[mid],
        )
        assert not third.memories[mid][third.lengths.cumsum() - third.lengths].any()
        assert first.memories[mid].any()
    # Who is not there forgets nothing: guest, in the second step.
    rows = np.flatnonzero(~first.active["guest"])
    np.testing.assert_array_equal(first.memories["guest"][rows], first.memories["guest"][rows + 1])


@pytest.mark.parametrize("critic", ["decision_point", "separate"])
def test_the_update_is_that_of_autograd(critic):
    config = recall_config("gru", critic=critic)
    config.rl_module(model_config=config._model_config | {"max_seq_len": 2})
    learner, [batch] = sampled(config, [7])
    theirs = build(config, by_autograd=True)
    ours = build(config)
    for own in (ours, theirs):
        for mid, module in learner.module.items():
            own.module[mid].unwrapped().load_state_dict(module.state_dict())
        update(own, batch)
    assert_same(ours, theirs)


@pytest.mark.parametrize("batched", [True, False], ids=["batched", "episodes"])
def test_a_critic_of_the_state_needs_no_memory(batched):
    learner, [batch] = sampled(recall_config(critic_input="state", batched=batched), [4], batched)
    assert set(batch.memories) == {"twins", "guest"}
    assert not learner.module["central_critic"].memory_size
    before = {mid: module.state_dict() for mid, module in learner.module.items()}
    before = {mid: {n: v.clone() for n, v in own.items()} for mid, own in before.items()}
    update(learner, batch)
    for mid, own in before.items():
        after = learner.module[mid].unwrapped().state_dict()
        assert any((after[name] != value).any() for name, value in own.items()), mid


def test_a_slice_of_a_batch_knows_the_memory_at_its_ends():
    _, [batch] = sampled(recall_config(), [2 * STEPS])
    joined = TeamBatch.concatenate([batch[:7], batch[7:]])
    for mid, memories in batch.memories.items():
        np.testing.assert_array_equal(joined.memories[mid], memories)
        np.testing.assert_array_equal(batch[:7].final_memories[mid][-1], memories[7])
        np.testing.assert_array_equal(batch[7:].final_memories[mid], batch.final_memories[mid][1:])


def test_minibatches_keep_sequences_whole():
    lengths = np.array([5, 3, 4])
    sequences = [[0, 1], [2, 3], [4], [5, 6], [7], [8, 9], [10, 11]]
    generator = torch.Generator().manual_seed(0)
    chosen = list(minibatches_of_sequences(lengths, 2, generator, 4, num_epochs=2, shuffle=True))
    assert [last for _, last in chosen] == [False] * 5 + [True]
    for epoch in (chosen[:3], chosen[3:]):
        rows = [indices[0].tolist() for indices, _ in epoch]
        assert sorted(itertools.chain(*rows)) == list(range(12))
        for own in rows:
            assert all(set(each) <= set(own) for each in sequences if each[0] in own)
    assert chosen[0][0].tolist() != chosen[3][0].tolist()
    [(every, last)] = minibatches_of_sequences(lengths, 20, generator)
    assert every.tolist() == [list(range(12))]
    assert last


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"recurrent_layer": "rnn"}, "model_config.recurrent_layer 'rnn'"),
        ({"use_lstm": True}, "model_config.use_lstm: expected recurrent_layer: lstm"),
        ({"recurrent_layer": "gru", "recurrent_size": 0}, "model_config.recurrent_size = 0"),
        (
            {"recurrent_layer": "gru", "per_module": {"twins": {"recurrent_size": 8}}},
            "recurrent_size: expected the same memory in all modules",
        ),
        ({"recurrent_layer": "gru", "max_seq_len": True}, "model_config.max_seq_len = True"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(InputError, match=message):
        recall_config().rl_module(model_config=settings).validate()


def test_what_cannot_be_had_with_a_memory_is_refused(tmp_path):
    with pytest.raises(InputError, match="compiled = true: expected false"):
        recall_config(compiled=True).validate()
    with pytest.raises(InputError, match="recurrent_layer: expected null with output"):
        recall_config().offline_data(output=str(tmp_path)).validate()
