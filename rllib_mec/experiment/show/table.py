"""The episode as a table: a row for each UE in each step, units in the metadata of the columns."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from rllib_mec.experiment.show.played import Played

FORMAT = "rllib_mec.episode"
VERSION = "1"


def parquet_of(played: Played, origin: Mapping[str, Any]) -> bytes:
    """Returns a Parquet file; what belongs to a whole step stands in each of its rows.

    Args:
        origin: what was played; free, but JSON.
    """
    num_steps, num_ues = played.num_steps, played.num_ues
    step, ue = np.indices((num_steps, num_ues))
    values = {"step": step, "ue": ue, **played.ues}
    values |= {name: np.repeat(each[:, None], num_ues, 1) for name, each in played.steps.items()}
    fields = [column.field for column in played.columns if column.name in values]
    about = {"format": FORMAT, "version": VERSION, "origin": json.dumps(origin)}
    schema = pa.schema(fields, metadata=about)
    columns = [pa.array(values[field.name].ravel(), field.type) for field in fields]
    file = io.BytesIO()
    parquet.write_table(pa.table(columns, schema=schema), file)
    return file.getvalue()
