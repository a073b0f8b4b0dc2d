"""Bundles on nodes: hand-made cases, and never a refusal of what can be arranged."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rllib_mec.experiment import fitting
from rllib_mec.experiment.fitting import STRATEGIES, why_not

RESOURCES = st.dictionaries(st.sampled_from(["CPU", "GPU", "disk"]), st.integers(0, 4), max_size=3)


def an_arrangement_exists(bundles, nodes, strategy):
    """Tries every way to give each bundle a node."""
    for chosen in itertools.product(range(len(nodes)), repeat=len(bundles)):
        if strategy == "STRICT_SPREAD" and len(set(chosen)) < len(bundles):
            continue
        if strategy == "STRICT_PACK" and len(set(chosen)) > 1:
            continue
        held = [{} for _ in nodes]
        for bundle, node in zip(bundles, chosen, strict=True):
            for name, amount in bundle.items():
                held[node][name] = held[node].get(name, 0) + amount
        if all(
            amount <= node.get(name, 0)
            for node, own in zip(nodes, held, strict=True)
            for name, amount in own.items()
        ):
            return True
    return False


@given(
    st.lists(RESOURCES, min_size=1, max_size=5),
    st.lists(RESOURCES, min_size=1, max_size=4),
    st.sampled_from(STRATEGIES),
)
@settings(max_examples=400, deadline=None)
def test_small_cases_are_exact(bundles, nodes, strategy):
    assert (why_not(bundles, nodes, strategy) is None) == an_arrangement_exists(
        bundles, nodes, strategy
    )


def test_first_fit_decreasing_is_not_the_last_word():
    # First fit puts 4 + 4 on the node of 10 and then has no place for the 3s.
    bundles = [{"CPU": size} for size in (4, 4, 3, 3, 3)]
    assert why_not(bundles, [{"CPU": 10}, {"CPU": 7}], "PACK") is None
    assert "cannot hold them together" in why_not(bundles, [{"CPU": 12}, {"CPU": 5}], "PACK")


def test_fractions_are_counted_as_ray_does():
    thirds = [{"CPU": 0.1}] * 30
    assert why_not(thirds, [{"CPU": 1}, {"CPU": 1}, {"CPU": 1}], "PACK") is None
    assert why_not([*thirds, {"CPU": 0.1}], [{"CPU": 3}], "PACK") is not None


def test_what_is_too_hard_to_say_is_not_refused():
    # Even sizes waste 1 CPU on each of five odd nodes, and only three are left over in all:
    # to find that out, everything would have to be tried.
    bundles = [{"CPU": 2 * size} for size in range(1, 61)]
    assert why_not(bundles, [{"CPU": 733}] * 4 + [{"CPU": 731}], "PACK") is None
    assert why_not([{"CPU": 3}] * (fitting.MAX_BUNDLES + 1), [{"CPU": 4}] * 600, "PACK") is None


def test_large_clusters_of_like_nodes_are_quick():
    """A search without symmetries would try 200! arrangements."""
    bundles, nodes = [{"CPU": 1}] + [{"CPU": 3}] * 200, [{"CPU": 5}] * 200
    assert why_not(bundles, nodes, "PACK") is None
    assert "together" in why_not([*bundles, {"CPU": 3}], nodes, "PACK")


@pytest.mark.parametrize(
    ("bundles", "nodes", "strategy", "why"),
    [
        ([{"CPU": 1}], [], "PACK", "1 CPU in all, and there is none"),
        ([{"CPU": 3}, {"CPU": 3}], [{"CPU": 4}], "SPREAD", "6 CPU in all, and there are 4 CPU"),
        ([{"CPU": 1, "GPU": 1}], [{"CPU": 4}], "PACK", "1 GPU in all, and there is none"),
        (
            [{"CPU": 2, "GPU": 1}],
            [{"CPU": 4}, {"CPU": 1, "GPU": 1}],
            "PACK",
            "2 CPU, 1 GPU on one node, and no node has that",
        ),
        (
            [{"CPU": 2}, {"CPU": 2}],
            [{"CPU": 3}, {"CPU": 3}],
            "STRICT_PACK",
            "4 CPU on one node, and no node has that",
        ),
        ([{"CPU": 1}] * 3, [{"CPU": 4}] * 2, "STRICT_SPREAD", "3 nodes, and there are 2"),
        (
            [{"CPU": 2}, {"CPU": 2}],
            [{"CPU": 4}, {"CPU": 1}],
            "STRICT_SPREAD",
            "a node of its own for each bundle",
        ),
    ],
)
def test_the_reason_is_named(bundles, nodes, strategy, why):
    assert why_not(bundles, nodes, strategy).startswith(why)
