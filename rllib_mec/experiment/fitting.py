"""Whether bundles of resources fit on nodes: arithmetic, without Ray.

A bundle is what has to be on one node, such as ``{"CPU": 2, "GPU": 1}``; how bundles may share
nodes is one of :data:`STRATEGIES`. What is refused here would wait for ever in Ray, so that a
doubtful case counts as one that fits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Resources = Mapping[str, float]

STRATEGIES = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")
"""Ray's: on few nodes or on many where possible; all on one node; each on a node of its own."""

MAX_STATES = 20_000
"""How many arrangements are tried before bundles count as fitting."""

MAX_BUNDLES = 500
"""Of more than these, only sums and each by itself are looked at."""

_UNIT = 10_000
"""Ray counts resources in ten thousandths."""

_BYTES = ("memory", "object_store_memory")

_Whole = dict[str, int]


def why_not(bundles: Sequence[Resources], nodes: Sequence[Resources], strategy: str) -> str | None:
    """Returns why no arrangement of ``bundles`` on ``nodes`` exists; None if one may.

    >>> why_not([{"CPU": 1}, {"CPU": 2}], [{"CPU": 3}], "PACK")
    >>> why_not([{"CPU": 1}, {"GPU": 1}], [{"CPU": 3}], "PACK")
    '1 GPU in all, and there is none'
    >>> why_not([{"CPU": 2}], [{"CPU": 1}, {"CPU": 1}], "PACK")
    '2 CPU on one node, and no node has that'
    >>> why_not([{"CPU": 1}, {"CPU": 1}], [{"CPU": 8}], "STRICT_SPREAD")
    '2 nodes, and there is 1'
    """
    wanted, there = [_whole(b) for b in bundles], [_whole(n) for n in nodes]
    if strategy == "STRICT_PACK":
        wanted = [_sum(wanted)]
    total, present = _sum(wanted), _sum(there)
    for name, amount in total.items():
        if amount > present.get(name, 0):
            has = f"there are {words({name: present[name] / _UNIT})}" if present.get(name) else ""
            return f"{words({name: amount / _UNIT})} in all, and {has or 'there is none'}"
    for bundle in wanted:
        if not any(_within(bundle, node) for node in there):
            return f"{words(_fractions(bundle))} on one node, and no node has that"
    if strategy == "STRICT_SPREAD":
        if len(wanted) > len(there):
            return f"{len(wanted)} nodes, and there {'is' if len(there) == 1 else 'are'} " + str(
                len(there)
            )
        if not _matched(wanted, there):
            return "a node of its own for each bundle, and too few nodes are large enough"
    elif not _packed(wanted, there):
        return "all bundles at once, and the nodes cannot hold them together"
    return None


def words(resources: Resources) -> str:
    """Returns resources in words.

    >>> words({"CPU": 2.0, "GPU": 0.5, "memory": 2147483648.0})
    '2 CPU, 0.5 GPU, 2 GiB memory'
    """
    parts = [
        f"{amount / 2**30:.3g} GiB {name}" if name in _BYTES else f"{amount:g} {name}"
        for name, amount in resources.items()
        if amount
    ]
    return ", ".join(parts) or "nothing"


def _whole(resources: Resources) -> _Whole:
    counted = {name: round(amount * _UNIT) for name, amount in resources.items()}
    return {name: amount for name, amount in counted.items() if amount > 0}


def _fractions(whole: _Whole) -> dict[str, float]:
    return {name: amount / _UNIT for name, amount in whole.items()}


def _sum(every: Sequence[_Whole]) -> _Whole:
    total: _Whole = {}
    for each in every:
        for name, amount in each.items():
            total[name] = total.get(name, 0) + amount
    return total


def _within(bundle: _Whole, node: _Whole) -> bool:
    return all(amount <= node.get(name, 0) for name, amount in bundle.items())


def _matched(bundles: Sequence[_Whole], nodes: Sequence[_Whole]) -> bool:
    """Tells whether each bundle can have a node of its own: a matching, by augmenting paths."""
    owner: dict[int, int] = {}

    def place(bundle: int, seen: set[int]) -> bool:
        for node, has in enumerate(nodes):
            if node in seen or not _within(bundles[bundle], has):
                continue
            seen.add(node)
            if node not in owner or place(owner[node], seen):
                owner[node] = bundle
                return True
        return False

    return all(place(bundle, set()) for bundle in range(len(bundles)))


def _packed(bundles: Sequence[_Whole], nodes: Sequence[_Whole]) -> bool:
    """Tells whether bundles fit on nodes that may hold several; True if that is too hard to say.

    The first descent of the search is first-fit decreasing, which mostly finds an arrangement.
    """
    names = sorted(_sum(bundles))
    total = _sum(nodes)
    rows = [tuple(bundle.get(name, 0) for name in names) for bundle in bundles if bundle]
    if len(rows) > MAX_BUNDLES:
        return True
    scale = [total[name] for name in names]
    rows.sort(key=lambda row: (-max(a / s for a, s in zip(row, scale, strict=True)), row))
    failed: set[tuple[int, tuple[tuple[int, ...], ...]]] = set()

    def place(index: int, free: tuple[tuple[int, ...], ...]) -> bool:
        if index == len(rows) or len(failed) >= MAX_STATES:
            return True
        state = (index, free)
        if state in failed:
            return False
        row = rows[index]
        for position, node in enumerate(free):
            # Nodes are sorted: like ones stand together, and one of them is enough to try.
            if position and node == free[position - 1]:
                continue
            left = tuple(has - amount for has, amount in zip(node, row, strict=True))
            if min(left) >= 0:
                others = (*free[:position], left, *free[position + 1 :])
                if place(index + 1, tuple(sorted(others, reverse=True))):
                    return True
        failed.add(state)
        return False

    free = sorted((tuple(node.get(name, 0) for name in names) for node in nodes), reverse=True)
    return place(0, tuple(free))
