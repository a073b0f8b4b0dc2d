"""Small traces for tests, and ways to spoil them."""

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from rllib_mec.system import Scenario, Simulator
from rllib_mec.traces import write_trace

SMALL = Scenario.of("field", num_ues=3, num_tasks=4)
"""With all parts on."""


def record(directory: Path, scenario: Scenario = SMALL, episodes: int = 2, seed: int = 0):
    """Writes a trace of drawn episodes and returns them."""
    simulator = Simulator(scenario, episodes)
    simulator.reset(seed)
    write_trace(directory, [simulator.episode], {"seed": seed})
    return simulator.episode


def arrays(episode):
    """All that an episode holds, by name."""
    named = {"first_gain": episode.first_gain}
    for record in (episode.tasks, episode.devices):
        named |= {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    return {name: values for name, values in named.items() if values is not None}


def assert_equal(one, other):
    """The same to the last bit."""
    one, other = arrays(one), arrays(other)
    assert set(one) == set(other)
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name], err_msg=name)


def change(file: Path, function) -> None:
    """Rewrites a file with a function of its table."""
    parquet.write_table(function(parquet.read_table(file)), file)


def with_value(column: str, row: int, value):
    """A function that puts a value into a row."""

    def function(table: pa.Table) -> pa.Table:
        values = table[column].to_pylist()
        values[row] = value
        at = table.schema.get_field_index(column)
        field = table.schema.field(column).with_nullable(True)
        return table.set_column(at, field, pa.array(values, field.type))

    return function


def with_field(column: str, **changes):
    """A function that changes a column's name, type or unit."""

    def function(table: pa.Table) -> pa.Table:
        at = table.schema.get_field_index(column)
        field, values = table.schema.field(column), table[column]
        if "unit" in changes:
            field = field.with_metadata({"unit": changes["unit"]} if changes["unit"] else None)
        if "type" in changes:
            field, values = field.with_type(changes["type"]), values.cast(changes["type"])
        return table.set_column(at, field.with_name(changes.get("name", column)), values)

    return function


def with_metadata(**changes):
    """A function that changes what the schema says; None takes it away."""

    def function(table: pa.Table) -> pa.Table:
        about = {k.decode(): v.decode() for k, v in table.schema.metadata.items()} | changes
        return table.replace_schema_metadata({k: v for k, v in about.items() if v is not None})

    return function


def without_rows(**keys):
    """A function that drops the rows with these values of index columns."""

    def function(table: pa.Table) -> pa.Table:
        kept = ~np.all([table[k].to_numpy() == v for k, v in keys.items()], axis=0)
        return table.filter(pa.array(kept))

    return function
