"""The lean optimiser does what torch's own does."""

import copy

import pytest
import torch
from torch import nn

from rllib_mec.hmppo.learning.optimiser import FusedAdam, clip_global_norm


def _network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))


def _train(network, optimiser, steps, clip=None, first=0):
    norms = []
    for step in range(first, first + steps):
        inputs = torch.randn(16, 3, generator=torch.Generator().manual_seed(step))
        network(inputs).pow(2).sum().backward()
        parameters = list(network.parameters())
        if clip is not None:
            norms.append(float(clip(parameters, 0.5)))
        optimiser.step()
        optimiser.zero_grad()
    return norms


def _assert_equal(ours, theirs):
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=1e-5, atol=1e-7)


def test_it_takes_the_steps_of_adam_clipped_by_the_global_norm():
    ours, theirs = _network(), _network()
    lean, plain = FusedAdam(list(ours.parameters())), torch.optim.Adam(theirs.parameters())
    norms = _train(ours, lean, 7, clip_global_norm)
    expected = _train(theirs, plain, 7, nn.utils.clip_grad_norm_)
    assert norms == pytest.approx(expected, rel=1e-5)
    assert max(norms) > 0.5  # so that something was clipped
    _assert_equal(ours, theirs)
    # The learning rate of the moment counts.
    for optimiser, network in ((lean, ours), (plain, theirs)):
        optimiser.param_groups[0]["lr"] = 0.1
        _train(network, optimiser, 1)
    _assert_equal(ours, theirs)


def test_gradients_within_the_norm_stay_as_they_are():
    network = _network()
    network(torch.randn(4, 3)).sum().backward()
    before = [p.grad.clone() for p in network.parameters()]
    norm = clip_global_norm(list(network.parameters()), 1e6)
    assert norm > 0
    for parameter, gradient in zip(network.parameters(), before, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


@pytest.mark.parametrize("loader", [FusedAdam, torch.optim.Adam])
def test_its_state_is_adams(loader):
    ours = _network()
    lean = FusedAdam(list(ours.parameters()))
    _train(ours, lean, 3)
    other = copy.deepcopy(ours)
    resumed = loader(list(other.parameters()))
    _train(other, resumed, 2)  # a state and weights of its own, to be replaced
    other.load_state_dict(ours.state_dict())
    resumed.load_state_dict(copy.deepcopy(lean.state_dict()))
    _train(ours, lean, 3, first=3)
    _train(other, resumed, 3, first=3)
    _assert_equal(ours, other)
