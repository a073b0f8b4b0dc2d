"""Who holds which data, who takes part, and how fast a client is."""

import numpy as np
import pytest
import torch

from rllib_mec.errors import InputError
from rllib_mec.federated.clock import Devices
from rllib_mec.federated.draws import PURPOSES, Participation, seed_of
from rllib_mec.federated.splits import Split, split

DOMAINS = [torch.arange(i * 100, i * 100 + 60)[:, None].repeat(1, 4) for i in range(3)]
"""Three tasks; each sequence holds its own number, which tells the task, too."""

WAYS = ["iid", "blocks", "dirichlet:0.1", "dirichlet:100"]


def parts(how, clients=6, share=0.0, seed=0):
    return split(DOMAINS, clients, Split.of(how, share), seed)


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("share", [0.0, 0.2])
@pytest.mark.parametrize("clients", [1, 6, 50])
def test_each_sequence_belongs_to_one(how, share, clients):
    found = parts(how, clients, share)
    assert len(found.clients) == clients
    assert all(len(part) for part in found.clients)
    numbers = torch.cat([*found.clients, found.server])[:, 0]
    assert sorted(numbers.tolist()) == sorted(torch.cat(DOMAINS)[:, 0].tolist())
    assert len(found.server) == round(share * 180)


def skew(how):
    """How far the clients' shares of tasks are from even, mean over seeds."""
    far = []
    for seed in range(5):
        for part in parts(how, seed=seed).clients:
            shares = np.bincount(part[:, 0].numpy() // 100, minlength=3) / len(part)
            far.append(np.abs(shares - 1 / 3).sum())
    return np.mean(far)


def test_other_splits_are_less_even_than_iid():
    assert skew("iid") < 0.4
    assert skew("blocks") > 3 * skew("iid")
    assert skew("dirichlet:0.1") > 2 * skew("iid")
    assert skew("dirichlet:0.1") > 2 * skew("dirichlet:100")


def test_blocks_are_runs_of_neighbours():
    for part in parts("blocks", 6).clients:
        assert (part[1:, 0] - part[:-1, 0]).tolist() == [1] * (len(part) - 1)


@pytest.mark.parametrize("how", WAYS)
def test_a_seed_says_all(how):
    one, other, third = (parts(how, 6, 0.1, seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one.clients, other.clients, strict=True))
    assert torch.equal(one.server, other.server)
    assert not torch.equal(one.server, third.server)


def test_splits_that_cannot_be():
    for text in ("random", "iid:1", "dirichlet", "dirichlet:", "dirichlet:x", "dirichlet:-1"):
        with pytest.raises(InputError, match=f"split = '{text}': expected iid, blocks or"):
            Split.of(text)
    with pytest.raises(InputError, match="server_share = 1: expected a share"):
        Split("iid", server_share=1.0)
    with pytest.raises(InputError, match="clients = 181: expected at most 180"):
        parts("iid", 181)
    with pytest.raises(InputError, match="expected at least two tasks"):
        split(DOMAINS[:1], 2, Split.of("dirichlet:1"), 0)


def test_who_is_selected_and_who_drops_out():
    all_of_them = Participation(5)
    assert all_of_them.selected(0, 1) == [0, 1, 2, 3, 4]
    assert all_of_them.dropped(0, 1, [0, 1, 2]) == set()
    some = Participation(50, 10, 0.3)
    rounds = [some.selected(0, number) for number in range(20)]
    assert all(len(set(each)) == 10 and each == sorted(each) for each in rounds)
    assert len(set(map(tuple, rounds))) > 1
    gone = sum(len(some.dropped(0, number, each)) for number, each in enumerate(rounds))
    assert 30 < gone < 90  # of 200, expected 60, deviation 6.5
    assert Participation(50, 10, 1.0).dropped(0, 1, rounds[0]) == set(rounds[0])
    # Whether a client drops out does not hang on who else was asked.
    assert some.dropped(0, 1, list(range(50))) & {7} == some.dropped(0, 1, [7])


def test_seeds_of_purposes_rounds_and_clients_differ():
    seeds = {
        seed_of(purpose, seed, number, client)
        for purpose in PURPOSES
        for seed in range(2)
        for number in range(5)
        for client in range(5)
    }
    assert len(seeds) == len(PURPOSES) * 2 * 25


def test_devices_are_drawn_from_their_ranges():
    ranges = Devices((10.0, 20.0), (1.0, 2.0), (1.0, 3.0))
    drawn = [ranges.device(0, client) for client in range(50)]
    for name in ("downlink_mbps", "uplink_mbps", "slowness"):
        low, high = getattr(ranges, name)
        values = [getattr(device, name) for device in drawn]
        assert low <= min(values) < max(values) <= high
    assert ranges.device(0, 3) == drawn[3]
    assert ranges.device(1, 3) != drawn[3]
    with pytest.raises(InputError, match="slowness = 2,1: expected two positive numbers"):
        Devices(slowness=(2.0, 1.0))


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((0,), "clients = 0: expected at least 1"),
        ((3, 4), "clients_per_round = 4: expected 1 to 3"),
        ((3, 0), "clients_per_round = 0: expected 1 to 3"),
        ((3, 2, 1.5), "dropout = 1.5: expected a probability"),
    ],
)
def test_participation_that_makes_no_sense(numbers, words):
    with pytest.raises(InputError, match=words):
        Participation(*numbers)
