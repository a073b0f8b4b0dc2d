"""The two losses by hand."""

import math

import pytest
import torch

from rllib_mec.hmppo.learning.losses import policy_loss, policy_loss_gradient, value_loss


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        (1.0, 2.0, -2.0, -2.0),
        (1.1, 2.0, -2.2, -2.2),
        (1.5, 2.0, -2.4, 0.0),  # far enough up: clipped at 1.2
        (0.5, 2.0, -1.0, -1.0),  # went the wrong way: not clipped
        (0.5, -2.0, 1.6, 0.0),  # far enough down: clipped at 0.8
        (1.5, -2.0, 3.0, 3.0),  # went the wrong way: not clipped
        (1.5, 0.0, 0.0, 0.0),
    ],
)
def test_clipped_surrogate(ratio, advantage, loss, slope):
    log_ratio = torch.tensor([[math.log(ratio)]], requires_grad=True)
    ours = policy_loss(log_ratio, torch.tensor([[advantage]]), clip=0.2)
    ours.backward()
    assert ours.item() == pytest.approx(loss)
    assert log_ratio.grad.item() == pytest.approx(slope, abs=1e-6)


def test_clipped_surrogate_is_a_mean_over_rows():
    log_ratio = torch.tensor([[1.0], [1.5], [0.5]]).log()
    ours = policy_loss(log_ratio, torch.tensor([[2.0], [2.0], [-2.0]]), clip=0.2)
    assert ours.item() == pytest.approx((-2.0 - 2.4 + 1.6) / 3)


def test_parts_are_clipped_one_by_one_and_summed_up():
    """Of two rows with two parts; the joint ratios, 1.5 and 1, would say something else."""
    log_ratio = torch.tensor([[1.5, 1.0], [2.0, 0.5]]).log().requires_grad_()
    advantages = torch.tensor([[2.0], [1.0]])
    ours = policy_loss(log_ratio, advantages, clip=0.2)
    ours.backward()
    assert ours.item() == pytest.approx((-2.4 - 2.0 - 1.2 - 0.5) / 2)
    torch.testing.assert_close(log_ratio.grad, torch.tensor([[0.0, -1.0], [0.0, -0.25]]))
    by_hand = policy_loss_gradient(log_ratio.detach(), advantages, 0.2)
    torch.testing.assert_close(by_hand, log_ratio.grad)


def test_parts_may_have_advantages_of_their_own():
    log_ratio = torch.tensor([[1.5, 1.0]]).log()
    ours = policy_loss(log_ratio, torch.tensor([[-2.0, 1.0]]), clip=0.2)
    assert ours.item() == pytest.approx(3.0 - 1.0)


def test_value_loss_compares_every_point_with_the_target_of_its_row():
    values = torch.tensor([[1.0, 2.0], [5.0, 3.0]])
    assert value_loss(values, torch.tensor([[1.0], [3.0]])).item() == pytest.approx(1.25)
    own = torch.tensor([[1.0, 3.0], [3.0, 3.0]])
    assert value_loss(values, own).item() == pytest.approx((0 + 1 + 4 + 0) / 4)
