"""The rows of a recording: a :class:`TeamBatch` as an Arrow table, and back.

A row is one step of one environment. Rows of a segment stand together in the order of its steps;
the last of them holds what was observed after it. Nothing is rounded: what is read back equals,
bit for bit, what was sampled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from rllib_mec import __version__
from rllib_mec.errors import InputError
from rllib_mec.hmppo.team import Team
from rllib_mec.hmppo.team_batch import Array, TeamBatch

FORMATS = (1, 2)
"""Versions of the format: one that an old reader would get wrong has another number.

2 is where agents are not always there, which 1 cannot say.
"""

METADATA = b"rllib_mec"
"""Key of the description (JSON) in a file's metadata."""

_OF_THE_STEP = {
    "segment": "number of the segment, from 0 on over all parts of a session",
    "step": "number of the step in its segment, from 0 on",
    "terminated": "whether the episode terminated with this step; an end of segment without it is "
    "a truncated or a cut episode",
    "rewards": "the team's reward for the step",
}
_OF_EACH_AGENT = {
    "observations": "flat observation before the step; slots of other agents' actions are empty",
    "actions": "flat action, before it is clipped to what the environment takes",
    "log_probs": "log probability of the action under the policy that sampled it; a list where "
    "each part of it has its own",
    "parameters": "parameters of that policy's action distribution",
    "final_observations": "flat observation after the segment's last step; null in other rows",
}
_OF_SOME_AGENTS = {
    "active": "whether the agent was there to act, of a group each of its members; null: it was",
    "final_active": "the same after the segment's last step; null in other rows, too",
}
"""Columns of agents that were not always there; without them, a file's agents were."""


def description(
    team: Team, runner: int, session: str, part: int, names: Sequence[str] = ()
) -> dict[bytes, bytes]:
    """Returns the metadata of one file.

    Args:
        runner: index of the environment runner. session: name of one life of that runner.
        part: number of the file. names: of its columns.
    """
    columns = _OF_THE_STEP | {
        f"{name}/{agent}": meaning
        for name, meaning in _OF_EACH_AGENT.items()
        for agent in team.agents
    }
    some = {
        f"{name}/{agent}": meaning
        for name, meaning in _OF_SOME_AGENTS.items()
        for agent in team.agents
        if f"{name}/{agent}" in names
    }
    described = {
        "format": 2 if some else 1,
        "versions": {"rllib_mec": __version__, "ray": ray.__version__},
        "runner": runner,
        "session": session,
        "part": part,
        "team": team.to_dict(),
        "columns": columns | some,
    }
    return {METADATA: json.dumps(described).encode()}


def described(schema: pa.Schema, place: str) -> dict[str, Any]:
    """Returns the description that a file carries.

    Raises:
        InputError: it carries none, or one of a later format; ``place`` names the file.
    """
    text = (schema.metadata or {}).get(METADATA)
    if text is None:
        raise InputError(f"{place}: expected a recording of HMPPO, this is another Parquet file")
    found = json.loads(text)
    if found["format"] not in FORMATS:
        raise InputError(f"{place}: format = {found['format']}: expected one of {FORMATS}")
    return found


def table_of(batch: TeamBatch, first_segment: int) -> pa.Table:
    """Returns the rows of a batch, R of them, whose segments are numbered from ``first_segment``.

    Vectors are lists of float32; those of a fixed size have it in their type.
    """
    lengths = batch.lengths
    ends = np.cumsum(lengths) - 1
    terminated = np.zeros(len(batch), bool)
    terminated[ends] = batch.terminated
    columns: dict[str, pa.Array] = {
        "segment": pa.array(np.repeat(first_segment + np.arange(len(lengths)), lengths)),
        "step": pa.array(np.arange(len(batch)) - np.repeat(ends + 1 - lengths, lengths)),
        "terminated": pa.array(terminated),
        "rewards": _floats(batch.rewards),
    }
    for agent in batch.observations:
        columns[f"observations/{agent}"] = _vectors(batch.observations[agent])
        columns[f"actions/{agent}"] = _vectors(batch.actions[agent])
        # One number where the action is one whole, as recordings had it before there were parts.
        parts = batch.log_probs[agent]
        whole = parts.shape[1] == 1
        columns[f"log_probs/{agent}"] = _floats(parts[:, 0]) if whole else _vectors(parts)
        columns[f"parameters/{agent}"] = _vectors(batch.parameters[agent])
        final = batch.final_observations[agent]
        columns[f"final_observations/{agent}"] = _vectors_at(ends, final, len(batch))
    for agent, there in batch.active.items():
        columns[f"active/{agent}"] = pa.array(there.tolist())
        final_there: list[Any] = [None] * len(batch)
        always = np.ones((len(ends), *there.shape[1:]), bool)
        for row, own in zip(ends, batch.final_active.get(agent, always).tolist(), strict=True):
            final_there[row] = own
        columns[f"final_active/{agent}"] = pa.array(final_there, columns[f"active/{agent}"].type)
    return pa.table(columns)


def joined(tables: Sequence[pa.Table]) -> pa.Table:
    """Joins tables, of which some may say nothing of who was there."""
    return pa.concat_tables(tables, promote_options="default")


def always_there(schema: pa.Schema) -> pa.Schema:
    """Returns a schema without what files may lack."""
    names = [name for name in schema.names if name.split("/")[0] not in _OF_SOME_AGENTS]
    return pa.schema([schema.field(name) for name in names])


def check_rows(table: pa.Table, agents: list[str], place: str) -> None:
    """Checks the columns of one file.

    Raises:
        InputError: a column is missing, of another type, or holds empty values or NaN.
    """
    for name, kind in _types(agents).items():
        if name not in table.column_names:
            raise InputError(f"{place}: column {name} is missing")
        column = table[name]
        if not _is(column.type, kind):
            raise InputError(f"{place}: column {name} is of type {column.type}: expected {kind}")
        if column.null_count and not name.startswith("final_observations/"):
            raise InputError(f"{place}: column {name} holds {column.null_count} empty values")
        values = column.combine_chunks()
        while not pa.types.is_primitive(values.type):
            values = values.flatten()
        if pa.types.is_floating(values.type) and np.isnan(_numpy(values)).any():
            raise InputError(f"{place}: column {name} holds NaN: expected numbers")


def batch_of(table: pa.Table, agents: list[str], place: str) -> TeamBatch:
    """Returns rows, all of one session and in order, as the batch that they were.

    Raises:
        InputError: a segment is not whole.
    """
    if not len(table):
        raise InputError(f"{place}: expected at least one row")
    ends = _numpy(table[f"final_observations/{agents[0]}"].is_valid())
    starts = np.flatnonzero(np.concatenate([[True], ends[:-1]]))
    lengths = np.diff(np.append(starts, len(table)))
    segment, step = _numpy(table["segment"]), _numpy(table["step"])
    steps = np.arange(len(table)) - np.repeat(starts, lengths)
    broken = (step != steps) | (segment != np.repeat(segment[starts], lengths))
    broken[starts[1:]] |= segment[starts[1:]] <= segment[starts[1:] - 1]  # a copied file
    broken[-1] |= not ends[-1]
    if broken.any():
        raise InputError(
            f"{place}: segment {segment[broken.argmax()]} is not whole or comes twice: expected "
            "each part of the recording once"
        )

    def of_each_agent(name: str) -> dict[str, Array]:
        return {agent: _array(table[f"{name}/{agent}"]) for agent in agents}

    return TeamBatch(
        observations=of_each_agent("observations"),
        actions=of_each_agent("actions"),
        log_probs={
            agent: own.reshape(len(table), -1) for agent, own in of_each_agent("log_probs").items()
        },
        parameters=of_each_agent("parameters"),
        rewards=_array(table["rewards"]),
        lengths=lengths,
        final_observations={
            a: _array(table[f"final_observations/{a}"]).reshape(
                len(lengths), table.schema.field(f"observations/{a}").type.list_size
            )
            for a in agents
        },
        terminated=_numpy(table["terminated"])[ends],
        active=_activity(table, agents, "active", np.arange(len(table))),
        final_active=_activity(table, agents, "final_active", np.flatnonzero(ends)),
    )


def _activity(table: pa.Table, agents: list[str], name: str, rows: Array) -> dict[str, Array]:
    """Who was there in some rows, of agents that have that column."""
    found = {}
    for agent in agents:
        if f"{name}/{agent}" in table.column_names:
            own = table[f"{name}/{agent}"].take(pa.array(rows)).to_pylist()
            members = next((len(v) for v in own if isinstance(v, list)), None)
            there: Any = True if members is None else [True] * members
            found[agent] = np.array([there if v is None else v for v in own], bool)
    return found


def _types(agents: list[str]) -> Mapping[str, str]:
    """The type of each column, in words."""
    of_the_step = {"segment": "int64", "step": "int64", "terminated": "bool", "rewards": "float"}
    of_an_agent = dict.fromkeys(_OF_EACH_AGENT, "fixed_size_list<float>")
    of_an_agent |= {
        "log_probs": "float or fixed_size_list<float>",
        "final_observations": "list<float>",
    }
    return of_the_step | {f"{n}/{a}": kind for n, kind in of_an_agent.items() for a in agents}


def _is(found: pa.DataType, kind: str) -> bool:
    if " or " in kind:
        return any(_is(found, one) for one in kind.split(" or "))
    if kind == "fixed_size_list<float>":
        return pa.types.is_fixed_size_list(found) and pa.types.is_float32(found.value_type)
    if kind == "list<float>":
        return pa.types.is_list(found) and pa.types.is_float32(found.value_type)
    return str(found) == kind


def _floats(values: Array) -> pa.Array:
    return pa.array(np.asarray(values, np.float32))


def _vectors(rows: Array) -> pa.Array:
    """(R, size) as R lists."""
    return pa.FixedSizeListArray.from_arrays(_floats(rows.reshape(-1)), rows.shape[1])


def _vectors_at(positions: Array, vectors: Array, rows: int) -> pa.Array:
    """``vectors`` at their ``positions`` among ``rows`` rows, null in all others.

    Not of fixed size: of such lists, older versions of Arrow cannot read nulls from Parquet.
    """
    lengths = np.zeros(rows, np.int64)
    lengths[positions] = vectors.shape[1]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    absent = np.ones(rows, bool)
    absent[positions] = False
    return pa.ListArray.from_arrays(
        pa.array(offsets), _floats(vectors.reshape(-1)), mask=pa.array(absent)
    )


def _numpy(column: Any) -> Array:
    """An array that may be Arrow's own, which is read-only."""
    if isinstance(column, pa.ChunkedArray):
        return column.to_numpy()
    return column.to_numpy(zero_copy_only=False)


def _array(column: pa.ChunkedArray) -> Array:
    """A column as an array of its own: (R,), or (R, size) for lists of a fixed size."""
    values = column.combine_chunks()
    if pa.types.is_primitive(values.type):
        return np.array(_numpy(values))
    flat = np.array(_numpy(values.flatten()))
    if pa.types.is_fixed_size_list(values.type):
        return flat.reshape(len(values), values.type.list_size)
    return flat
