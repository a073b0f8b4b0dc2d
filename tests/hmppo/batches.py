"""Batches compared bit for bit."""

import dataclasses


def arrays(batch):
    """Every array of a batch under a name."""
    named = {}
    for field in dataclasses.fields(batch):
        value = getattr(batch, field.name)
        if value is None:
            continue
        columns = value if isinstance(value, dict) else {"": value}
        named |= {f"{field.name}/{agent}": column for agent, column in columns.items()}
    return named


def assert_same(found, expected):
    ours, theirs = arrays(found), arrays(expected)
    assert list(ours) == list(theirs)
    for name, array in theirs.items():
        assert (ours[name].dtype, ours[name].shape) == (array.dtype, array.shape), name
        assert ours[name].tobytes() == array.tobytes(), name


def segments(batch):
    """The segments of a batch in an order of their own."""
    ends = batch.lengths.cumsum()
    parts = [batch[end - length : end] for end, length in zip(ends, batch.lengths, strict=True)]
    return sorted(b"".join(a.tobytes() for a in arrays(part).values()) for part in parts)
