"""Rounds of a federation: what travels, who is used, and what becomes of the others."""

import dataclasses
import math

import pytest
import torch
from small_federations import federation, same, tokens
from small_models import gpt2

from rllib_mec.emulator.adapters import from_bytes, to_bytes
from rllib_mec.emulator.training import Trainer, Training
from rllib_mec.errors import InputError
from rllib_mec.federated.cases import Case
from rllib_mec.federated.costs import measure_costs
from rllib_mec.federated.draws import seed_of
from rllib_mec.federated.tuning import SERVER, Failed, Update, Work, answered
from rllib_mec.federated.updates import Guard

NUMBERS = sum(weight.numel() for weight in gpt2(6).parameters())
LAYER = sum(weight.numel() for weight in gpt2(6).transformer.h[0].parameters())


def play(federation, rounds, carry=None):
    state, row = federation.start()
    rows = [row]
    for _ in range(rounds):
        state, row = federation.round(state, carry)
        rows.append(row)
    return state, rows


def changed(federation, change):
    """Carries out the work, and changes what clients answer."""

    def carry(works, payload):
        return [change(work, answered(work, federation.ground, payload)) for work in works]

    return carry


def test_fedpeat_sends_the_emulator_once_and_the_adapter_in_each_round():
    state, (before, first, second) = play(federation("fedpeat"), 2)
    adapter = len(to_bytes(state.weights))
    # Two layers of numbers in 4 bytes, and safetensors' header.
    assert sum(weight.numel() for weight in state.weights.values()) == 2 * LAYER
    assert 0 < adapter - 4 * 2 * LAYER < 100 * len(state.weights)
    assert before.total_bytes == 0
    assert (before.selected, before.exchanges, before.seconds) == (0, 0, 0)
    # Clients 0 and 2 have retention 0.5, client 1 has 0.75.
    assert first.emulator_bytes_down == 500 + 750 + 500
    assert first.exchanges == 3
    assert second.emulator_bytes_down == second.exchanges == 0
    for row in (first, second):
        assert row.adapter_bytes_down == row.adapter_bytes_up == 3 * adapter
        assert row.model_bytes_down == row.model_bytes_up == 0
        assert (row.selected, row.used, row.peak_memory_bytes) == (3, 3, (500, 750, 500))
    # Client 1 is the slowest: a byte takes a microsecond, a step 0.75 s, and twice that.
    assert first.seconds == pytest.approx((2 * adapter + 750) * 1e-6 + 2 * 0.75 * 2)
    assert second.seconds == pytest.approx(2 * adapter * 1e-6 + 2 * 0.75 * 2)
    assert second.perplexity < first.perplexity < before.perplexity


def test_fl_peft_sends_the_rest_of_the_model_once():
    state, (_, first, second) = play(federation("fl-peft"), 2)
    adapter = len(to_bytes(state.weights))
    assert first.model_bytes_down == 3 * 1000
    assert (first.exchanges, second.exchanges, second.model_bytes_down) == (3, 0, 0)
    assert second.total_bytes == 2 * 3 * adapter
    assert first.emulator_bytes_down == first.model_bytes_up == 0
    assert first.peak_memory_bytes == (1000, 1000, 1000)


def test_fl_sends_all_weights_in_each_round():
    state, rows = play(federation("fl"), 2)
    model = len(to_bytes(state.weights))
    assert sum(weight.numel() for weight in state.weights.values()) == NUMBERS
    for row in rows[1:]:
        assert row.model_bytes_down == row.model_bytes_up == 3 * model
        assert row.total_bytes == 6 * model
        assert row.exchanges == 3


def test_what_a_part_weighs_is_measured():
    cases = [Case("fedpeat"), Case("fl")]
    costs = measure_costs(cases, gpt2(6), (0.5,), tokens(4))
    emulator, whole = costs["fedpeat"][0.5], costs["fedpeat"][1.0]
    assert emulator.frozen_bytes == 4 * (NUMBERS - 4 * LAYER)
    assert whole.frozen_bytes == 4 * (NUMBERS - 2 * LAYER)
    assert costs["fl"][1.0].frozen_bytes == 0
    assert emulator.memory_bytes < whole.memory_bytes < costs["fl"][1.0].memory_bytes
    assert all(each.step_seconds > 0 for found in costs.values() for each in found.values())


def test_steps_of_given_time_are_in_proportion_to_their_operations():
    given = measure_costs([Case("fedpeat"), Case("fl")], gpt2(6), (0.5,), tokens(4), 2.0)
    assert 0 < given["fedpeat"][0.5].step_seconds < given["fedpeat"][1.0].step_seconds < 2
    assert {each: found.step_seconds for each, found in given["fl"].items()} == {1.0: 2.0}


def test_an_emulator_that_changes_is_sent_again():
    _, rows = play(federation("fedpeat", rotate=2), 4)
    assert [row.exchanges for row in rows[1:]] == [3, 0, 3, 0]
    assert rows[3].emulator_bytes_down == 750 + 500 + 750
    assert rows[3].peak_memory_bytes == (750, 500, 750)


def test_one_client_with_all_data_is_plain_training():
    alone = federation("fl", clients=1)
    state, _ = play(alone, 1)
    plain = gpt2(6)
    weights = dict(plain.named_parameters())
    data = alone.ground.holdings.clients[0]
    assert sorted(data[:, 0].tolist()) == sorted(tokens()[:, 0].tolist())
    training = Training(2, 4, 1e-2)
    Trainer(plain, list(weights.values()), training, seed_of("tuning", 0, 1, 0)).run(data)
    assert same(state.weights, {name: weight.detach() for name, weight in weights.items()})


def test_the_server_tunes_on_its_own_share():
    found = federation("fedpeat", clients=2, server_share=0.5, server_steps=3)
    works = []

    def carry(asked, payload):
        works.extend(asked)
        return [answered(work, found.ground, payload) for work in asked]

    state, (_, row) = play(found, 1, carry)
    server = works[-1]
    assert (server.client, server.retention, server.training.steps) == (SERVER, 1.0, 3)
    assert (row.server_used, row.used) == (1, 2)
    # What the server makes does not travel.
    assert row.adapter_bytes_up == row.adapter_bytes_down == 2 * len(to_bytes(state.weights))
    # Half of the 60 sequences are its own, a quarter each client's.
    payload = to_bytes(found.start()[0].weights)
    parts = [from_bytes(answered(work, found.ground, payload).payload) for work in works]
    for name, weight in state.weights.items():
        hand = (parts[0][name].double() + parts[1][name] + 2 * parts[2][name]) / 4
        assert torch.allclose(weight.double(), hand, atol=1e-7)
    with pytest.raises(InputError, match="server_share = 0: expected more"):
        federation("fedpeat", server_steps=1)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e6])
def test_a_poisoned_update_is_refused_by_name_and_the_others_go_on(value):
    found = federation("fedpeat", guard=Guard(max_norm=100))

    def poison(work, update):
        if work.client != 1:
            return update
        state = from_bytes(update.payload)
        state["last.0.mlp.c_fc.bias"][3] = value
        return dataclasses.replace(update, payload=to_bytes(state))

    state, (_, row) = play(found, 1, changed(found, poison))
    (event,) = row.events
    assert event.startswith("client 1 refused: update")
    assert ("last.0.mlp.c_fc.bias: expected finite" in event) == (value != 1e6)
    assert ("norm 1e+06: expected at most 100" in event) == (value == 1e6)
    assert (row.used, row.refused) == (2, 1)
    # What the two others make alone.
    without = federation("fedpeat", guard=Guard(max_norm=100))

    def silent(works, payload):
        return [answered(work, without.ground, payload) for work in works if work.client != 1]

    assert same(state.weights, play(without, 1, silent)[0].weights)


def test_a_round_without_updates_leaves_the_weights_as_they_were():
    found = federation("fedpeat")
    state, _ = found.start()
    garbage = changed(found, lambda work, update: Update(work.client, 5, b"garbage"))
    new, row = found.round(state, garbage)
    assert (row.refused, row.used) == (3, 0)
    assert row.events[-1] == "no update is left: the global weights stay as they were"
    assert same(new.weights, state.weights)
    assert new.round == 1


def test_a_client_that_fails_or_diverges_is_named():
    found = federation("fedpeat")

    def fails(work, update):
        return Failed(work.client, "its process died") if work.client == 2 else update

    _, (_, row) = play(found, 1, changed(found, fails))
    assert (row.used, row.failed) == (2, 1)
    assert row.events == ("client 2 failed: its process died",)
    assert row.adapter_bytes_down * 2 == row.adapter_bytes_up * 3
    payload = to_bytes(found.start()[0].weights)
    answer = answered(Work(0, 1, 1.0, Training(3, 4, 1e30), 0), found.ground, payload)
    assert answer.client == 0
    assert "expected a smaller lr" in answer.reason


def test_dropped_clients_get_and_send_nothing():
    _, (_, row) = play(federation("fedpeat", dropout=1.0), 1)
    assert (row.selected, row.dropped, row.used, row.exchanges) == (3, 3, 0, 0)
    assert row.total_bytes == 0
    assert row.events[0] == "client 0 dropped out"


def test_clients_over_the_deadline_are_not_used():
    # Two steps take 2 s with retention 0.5 and 3 s with 0.75.
    state, (_, row, _) = play(federation("fedpeat", deadline_s=2.9), 2)
    assert (row.used, row.late, row.seconds) == (2, 1, 2.9)
    adapter = len(to_bytes(state.weights))
    assert (row.adapter_bytes_down, row.adapter_bytes_up) == (3 * adapter, 2 * adapter)
    assert row.events[0].startswith("client 1 late: 3.")
    # What it was sent it has by the next round.
    assert state.held == {0: 0.5, 1: 0.75, 2: 0.5}
    _, (_, row) = play(federation("fedpeat"), 1)
    assert (row.used, row.late) == (3, 0)
    with pytest.raises(InputError, match="deadline_s = 0: expected a positive number"):
        federation("fedpeat", deadline_s=0.0)


def test_rounds_hang_on_nothing_but_the_seed():
    def rows(**changes):
        played = play(federation("fedpeat", clients=4, per_round=2, dropout=0.3, **changes), 3)[1]
        return [dataclasses.replace(row, wall_seconds=0.0) for row in played]

    assert rows() == rows()
    assert rows() != rows(seed=1)
