"""Clipping and Adam on flat parameters do what torch's own do for each network."""

import copy

import pytest
import torch
from torch import nn

from rllib_mec.hmppo.learning.optimiser import StackedAdam, clip
from rllib_mec.hmppo.modules.stacked import Stacked

SEEDS = (0, 1, 2)


def networks():
    built = []
    for seed in SEEDS:
        torch.manual_seed(seed)
        built.append(nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)))
    return built


def backward(network, step):
    inputs = torch.randn(16, 3, generator=torch.Generator().manual_seed(step))
    network.zero_grad()
    network(inputs).pow(2).sum().backward()
    return [parameter.grad for parameter in network.parameters()]


def flat_gradients(modules, step):
    return torch.stack([torch.cat([g.flatten() for g in backward(m, step)]) for m in modules])


def train_apart(modules, optimisers, steps, clipping=None):
    for step in steps:
        for network, optimiser in zip(modules, optimisers, strict=True):
            backward(network, step)
            if clipping is not None:
                clipping(list(network.parameters()))
            optimiser.step()


def train_together(stacked, optimiser, steps, by="global_norm", most=None):
    for step in steps:
        optimiser.begin()
        gradients = flat_gradients(stacked.modules, step)
        if most is not None:
            clip(gradients, torch.full((len(SEEDS), 1), most), by, stacked.sizes)
        optimiser.step(gradients)
        optimiser.end()


def adams(modules, lrs):
    return [
        torch.optim.Adam(network.parameters(), lr, weight_decay=1e-2)
        for network, lr in zip(modules, lrs, strict=True)
    ]


def assert_equal(ours, theirs):
    for own, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own.state_dict(), other.state_dict(), rtol=1e-5, atol=1e-7)


CLIPPING = {
    "global_norm": lambda parameters: nn.utils.clip_grad_norm_(parameters, 0.5),
    "norm": lambda parameters: [nn.utils.clip_grad_norm_(p, 0.5) for p in parameters],
    "value": lambda parameters: nn.utils.clip_grad_value_(parameters, 0.5),
}


@pytest.mark.parametrize("by", CLIPPING)
@pytest.mark.parametrize("lrs", [(1e-2, 1e-2, 1e-2), (1e-2, 3e-3, 1e-2)], ids=["same", "own"])
def test_networks_take_the_steps_that_they_would_take_alone(by, lrs):
    ours, theirs = networks(), networks()
    stacked = Stacked(ours)
    together = StackedAdam(stacked, adams(ours, lrs))
    apart = adams(theirs, lrs)
    train_together(stacked, together, range(7), by, 0.5)
    train_apart(theirs, apart, range(7), CLIPPING[by])
    assert_equal(ours, theirs)
    # The learning rate of the moment counts.
    together.optimizers[1].param_groups[0]["lr"] = apart[1].param_groups[0]["lr"] = 0.1
    train_together(stacked, together, [7])
    train_apart(theirs, apart, [7])
    assert_equal(ours, theirs)


def test_clipping_tells_the_norms_and_leaves_small_gradients():
    gradients = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    norms = clip(gradients, torch.tensor([[1.0], [1.0]]), "global_norm", [2])
    torch.testing.assert_close(norms, torch.tensor([5.0, 0.5]))
    torch.testing.assert_close(gradients, torch.tensor([[0.6, 0.8], [0.3, 0.4]]))


def test_the_optimisers_keep_a_state_that_torch_can_go_on_with():
    ours, lrs = networks(), (1e-2, 1e-2, 3e-3)
    stacked = Stacked(ours)
    together = StackedAdam(stacked, adams(ours, lrs))
    train_together(stacked, together, range(3))
    others = copy.deepcopy(ours)
    resumed = adams(others, lrs)
    for optimiser, other in zip(together.optimizers, resumed, strict=True):
        other.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    train_together(stacked, together, range(3, 6))
    train_apart(others, resumed, range(3, 6))
    assert_equal(ours, others)


def test_it_goes_on_from_a_state_and_weights_that_are_loaded():
    trained, lrs = networks(), (1e-2, 1e-2, 3e-3)
    apart = adams(trained, lrs)
    train_apart(trained, apart, range(3))
    ours = networks()
    stacked = Stacked(ours)
    together = StackedAdam(stacked, adams(ours, lrs))
    train_together(stacked, together, range(2))  # a state of its own, to be replaced
    for network, other in zip(ours, trained, strict=True):
        network.load_state_dict(other.state_dict())
    for optimiser, other in zip(together.optimizers, apart, strict=True):
        optimiser.load_state_dict(copy.deepcopy(other.state_dict()))
    train_together(stacked, together, range(3, 6))
    train_apart(trained, apart, range(3, 6))
    assert_equal(ours, trained)


def test_parameters_that_are_replaced_are_taken_up_again():
    ours = networks()
    stacked = Stacked(ours)
    replaced = torch.ones(8, 3)
    ours[1][0].weight.data = replaced
    stacked.refresh()
    assert torch.equal(stacked.values[0][1], replaced)
    stacked.flat.zero_()
    assert not any(p.any() for network in ours for p in network.parameters())
