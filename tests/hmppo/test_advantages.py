"""Lambda-returns: numbers written out, a naive loop, and laws."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_mec.hmppo.learning.advantages import lambda_returns, next_values, normalised


def returns_of(rewards, values, lengths, final_values, terminated, gamma, lambda_):
    lengths = torch.tensor(lengths)
    following = next_values(
        torch.tensor(values, dtype=torch.float64),
        lengths,
        torch.tensor(final_values, dtype=torch.float64),
        torch.tensor(terminated),
    )
    rewards = torch.tensor(rewards, dtype=torch.float64)
    return lambda_returns(rewards, following, lengths, gamma, lambda_).tolist()


def naive(rewards, values, lengths, final_values, terminated, gamma, lambda_):
    """GAE as in the textbook, segment by segment: advantages from temporal differences."""
    returns, start = [], 0
    for segment, length in enumerate(lengths):
        r, v = rewards[start : start + length], values[start : start + length]
        v = [*v, 0.0 if terminated[segment] else final_values[segment]]
        advantage, advantages = 0.0, []
        for t in reversed(range(length)):
            advantage = r[t] + gamma * v[t + 1] - v[t] + gamma * lambda_ * advantage
            advantages.append(advantage)
        returns += [a + b for a, b in zip(reversed(advantages), v, strict=False)]
        start += length
    return returns


def test_by_hand():
    """gamma = lambda = 1/2; V = 2, 4 and then 8, or nothing."""
    # cut or truncated: G_1 = 1 + 8/2 = 5, G_0 = 3 + (4/2 + 5/2)/2 = 5.25
    assert returns_of([3, 1], [2, 4], [2], [8], [False], 0.5, 0.5) == [5.25, 5.0]
    # terminated: G_1 = 1, G_0 = 3 + (4/2 + 1/2)/2 = 4.25
    assert returns_of([3, 1], [2, 4], [2], [8], [True], 0.5, 0.5) == [4.25, 1.0]


def test_segments_do_not_touch_each_other():
    """The two segments of the test above and a step of its own, in one batch."""
    batch = ([3, 1, 7, 3, 1], [2, 4, 9, 2, 4], [2, 1, 2], [8, 2, 8], [False, False, True])
    assert returns_of(*batch, 0.5, 0.5) == [5.25, 5.0, 8.0, 4.25, 1.0]


segments = st.lists(
    st.tuples(
        st.lists(st.tuples(st.floats(-10, 10), st.floats(-10, 10)), min_size=1, max_size=6),
        st.floats(-10, 10),
        st.booleans(),
    ),
    min_size=1,
    max_size=5,
)
share = st.floats(0, 1)


def unzip(drawn):
    rows = [row for steps, _, _ in drawn for row in steps]
    return (
        [reward for reward, _ in rows],
        [value for _, value in rows],
        [len(steps) for steps, _, _ in drawn],
        [final for _, final, _ in drawn],
        [terminated for _, _, terminated in drawn],
    )


@settings(deadline=None)
@given(segments, share, share)
def test_equals_a_naive_loop(drawn, gamma, lambda_):
    batch = unzip(drawn)
    expected = naive(*batch, gamma, lambda_)
    assert returns_of(*batch, gamma, lambda_) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)
@given(segments)
def test_without_discount_it_is_the_sum_of_rewards_and_the_bootstrap(drawn):
    batch = unzip(drawn)
    expected = []
    for steps, final, terminated in drawn:
        rewards = [reward for reward, _ in steps]
        rest = 0.0 if terminated else final
        expected += [sum(rewards[t:]) + rest for t in range(len(rewards))]
    assert returns_of(*batch, 1.0, 1.0) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)
@given(segments, share)
def test_with_lambda_zero_it_looks_one_step_ahead(drawn, gamma):
    rewards, values, lengths, finals, terminated = unzip(drawn)
    expected, start = [], 0
    for length, final, ended in zip(lengths, finals, terminated, strict=True):
        following = [*values[start + 1 : start + length], 0.0 if ended else final]
        rows = rewards[start : start + length]
        expected += [r + gamma * v for r, v in zip(rows, following, strict=True)]
        start += length
    ours = returns_of(rewards, values, lengths, finals, terminated, gamma, 0.0)
    assert ours == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)
@given(
    st.lists(st.tuples(*[st.floats(-5, 5)] * 2), min_size=2, max_size=8), share, share, st.data()
)
def test_a_cut_counts_the_value_there_and_changes_nothing_after_it(rows, gamma, lambda_, data):
    """Before a cut, k steps earlier, G_t misses (gamma lambda)^k times G - V at the cut."""
    rewards, values = [r for r, _ in rows], [v for _, v in rows]
    cut = data.draw(st.integers(1, len(rows) - 1))
    whole = returns_of(rewards, values, [len(rows)], [1.5], [False], gamma, lambda_)
    lengths = [cut, len(rows) - cut]
    parts = returns_of(rewards, values, lengths, [values[cut], 1.5], [False, False], gamma, lambda_)
    assert parts[cut:] == pytest.approx(whole[cut:], abs=1e-9)
    surprise = whole[cut] - values[cut]
    expected = [whole[t] - (gamma * lambda_) ** (cut - t) * surprise for t in range(cut)]
    assert parts[:cut] == pytest.approx(expected, abs=1e-9)


def test_a_true_value_function_makes_cuts_and_lambda_irrelevant():
    """Where V is the return itself, every way to estimate it agrees."""
    rewards, gamma = [1.0, -2.0, 4.0, 0.5], 0.9
    values = returns_of(rewards, [0.0] * 4, [4], [0.0], [True], gamma, 1.0)
    for lambda_ in (0.0, 0.3, 1.0):
        cut = returns_of(rewards, values, [1, 3], [values[1], 0.0], [False, True], gamma, lambda_)
        assert cut == pytest.approx(values)


@settings(deadline=None)
@given(segments, share, share)
def test_several_values_of_a_step_are_what_each_is_alone(drawn, gamma, lambda_):
    """As members of a group have them; with a discount for each segment, too."""
    rewards, values, lengths, finals, terminated = unzip(drawn)
    columns = [(values, finals), ([2 * v - 1 for v in values], [3 - f for f in finals])]
    both = [list(zip(*parts, strict=True)) for parts in zip(*columns, strict=True)]
    gammas = torch.full((len(lengths),), gamma, dtype=torch.float64)
    together = returns_of(rewards, both[0], lengths, both[1], terminated, gammas, lambda_)
    for index, (own, final) in enumerate(columns):
        alone = returns_of(rewards, own, lengths, final, terminated, gamma, lambda_)
        assert [row[index] for row in together] == pytest.approx(alone, abs=1e-9)


def test_normalised():
    out = normalised(torch.tensor([1.0, 2.0, 3.0, 10.0]))
    assert out.mean().item() == pytest.approx(0, abs=1e-6)
    assert out.square().mean().item() == pytest.approx(1)
    assert normalised(torch.full((5,), 3.0)).tolist() == [0.0] * 5
    assert normalised(torch.tensor([4.0])).tolist() == [0.0]
