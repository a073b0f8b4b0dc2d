"""The action distribution, against torch.distributions and against its own samples."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import distributions as reference
from torch.distributions.kl import kl_divergence

from rllib_mec.hmppo.action_codec import ActionCodec
from rllib_mec.hmppo.distributions import ActionDistribution, rllib_distribution


def coins(logits):
    return [reference.Independent(reference.Bernoulli(logits=logits), 1)]


def choices(*sizes):
    def build(logits):
        return [reference.Categorical(logits=part) for part in logits.split(sizes, dim=-1)]

    return build


def gaussian(parameters):
    mean, log_std = parameters.chunk(2, dim=-1)
    return [reference.Independent(reference.Normal(mean, log_std.exp()), 1)]


def mixture(*parts):
    """Parameters of several leaves, one after the other: (width, builder) each."""

    def build(parameters):
        columns = parameters.split([width for width, _ in parts], dim=-1)
        return [d for (_, f), column in zip(parts, columns, strict=True) for d in f(column)]

    return build


CASES = {
    "Discrete(2)": (spaces.Discrete(2), coins),
    "Discrete(5)": (spaces.Discrete(5), choices(5)),
    "Discrete(4, start)": (spaces.Discrete(4, start=3), choices(4)),
    "MultiDiscrete": (spaces.MultiDiscrete([3, 2, 4]), choices(3, 2, 4)),
    "MultiDiscrete(2s)": (spaces.MultiDiscrete([2, 2, 2]), coins),
    "MultiBinary": (spaces.MultiBinary(4), coins),
    "Box": (spaces.Box(-3.0, 5.0, (3,), np.float32), gaussian),
    "Dict": (
        spaces.Dict(
            {"keep": spaces.MultiBinary(2), "share": spaces.Box(0.2, 0.8, (2,), np.float32)}
        ),
        mixture((2, coins), (4, gaussian)),
    ),
    "Tuple": (
        spaces.Tuple((spaces.Box(0, 1, (1,)), spaces.Discrete(3), spaces.MultiBinary(2))),
        mixture((2, gaussian), (3, choices(3)), (2, coins)),
    ),
}
ROWS = 7


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request):
    space, build = request.param
    torch.manual_seed(0)
    return space, ActionCodec(space), build


def parameters_for(codec):
    return torch.randn(ROWS, codec.num_parameters)


def columns_for(parts, flat):
    """The columns of a flat action that belong to each reference distribution."""
    sizes = [d.event_shape.numel() for d in parts]
    columns = flat.split(sizes, dim=-1)
    return [c if d.event_shape else c[:, 0] for d, c in zip(parts, columns, strict=True)]


def test_log_prob_is_the_reference(case):
    _, codec, build = case
    parameters = parameters_for(codec)
    distribution = ActionDistribution(codec, parameters)
    flat, parts = distribution.sample(), build(parameters)
    expected = sum(d.log_prob(c) for d, c in zip(parts, columns_for(parts, flat), strict=True))
    torch.testing.assert_close(distribution.log_prob(flat), expected)


def test_entropy_is_the_reference(case):
    _, codec, build = case
    parameters = parameters_for(codec)
    expected = sum(d.entropy() for d in build(parameters))
    torch.testing.assert_close(ActionDistribution(codec, parameters).entropy(), expected)


def test_kl_is_the_reference(case):
    _, codec, build = case
    p, q = parameters_for(codec), parameters_for(codec)
    expected = sum(kl_divergence(a, b) for a, b in zip(build(p), build(q), strict=True))
    ours = ActionDistribution(codec, p).kl(ActionDistribution(codec, q))
    torch.testing.assert_close(ours, expected)
    assert ours.min() > 0


def test_mode_is_the_most_probable_action(case):
    """No sample is more probable than the mode."""
    _, codec, _ = case
    distribution = ActionDistribution(codec, parameters_for(codec))
    best = distribution.log_prob(distribution.mode())
    for _ in range(100):
        assert (distribution.log_prob(distribution.sample()) <= best + 1e-6).all()


def test_samples_come_with_their_probability(case):
    """Means of all entries, and of the coins' and choices' indicators, over many samples."""
    _, codec, build = case
    row = torch.randn(1, codec.num_parameters)
    many = 20_000
    flat = ActionDistribution(codec, row.expand(many, -1)).sample()
    parts = build(row.double())
    for d, column in zip(parts, columns_for(parts, flat.double()), strict=True):
        if isinstance(d, reference.Categorical):
            frequency = torch.nn.functional.one_hot(column.long(), d.probs.shape[-1]).double()
            expected, variance = d.probs[0], d.probs[0] * (1 - d.probs[0])
        else:
            frequency, expected, variance = column, d.mean[0], d.variance[0]
        bound = 5 * (variance / many).sqrt()
        assert ((frequency.mean(0) - expected).abs() <= bound).all()
        if isinstance(d.base_dist if hasattr(d, "base_dist") else d, reference.Normal):
            torch.testing.assert_close(frequency.var(0), variance, rtol=0.06, atol=0)


def test_extreme_parameters_stay_finite():
    codec = ActionCodec(spaces.Tuple((spaces.MultiBinary(2), spaces.Discrete(3))))
    parameters = torch.tensor([[200.0, -200.0, 300.0, 0.0, -300.0]], requires_grad=True)
    distribution = ActionDistribution(codec, parameters)
    unlikely = distribution.log_prob(torch.tensor([[0.0, 1.0, 2.0]]))
    assert unlikely.item() == -200 - 200 - 600
    total = unlikely + distribution.entropy() + distribution.kl(distribution)
    total.sum().backward()
    assert parameters.grad.isfinite().all()


def test_rllib_form_speaks_the_space_s_own_structure(case):
    space, codec, _ = case
    parameters = parameters_for(codec)
    form = rllib_distribution(space)
    assert form.required_input_dim(space) == codec.num_parameters
    theirs, ours = form.from_logits(parameters), ActionDistribution(codec, parameters)
    actions = theirs.sample()
    flat = torch.as_tensor(codec.flatten(actions))
    assert flat.shape == (ROWS, codec.size)
    torch.testing.assert_close(theirs.logp(actions), ours.log_prob(flat))
    torch.testing.assert_close(theirs.entropy(), ours.entropy())
    other = parameters_for(codec)
    torch.testing.assert_close(
        theirs.kl(form.from_logits(other)), ours.kl(ActionDistribution(codec, other))
    )
    greedy = theirs.to_deterministic().sample()
    torch.testing.assert_close(torch.as_tensor(codec.flatten(greedy)), ours.mode())


def test_discrete_actions_of_the_rllib_form_begin_at_start():
    actions = rllib_distribution(spaces.Discrete(4, start=3)).from_logits(torch.zeros(200, 4))
    assert set(actions.sample().ravel().tolist()) == {3, 4, 5, 6}
