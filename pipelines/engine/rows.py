"""A row between two stages: a dict of values inside a worker, one `pyarrow.Table` row with an exact schema
outside.

Tensors travel as flat lists of their dtype; the shape is known from the declared column and the list's
length. A list column never falls back to pickles, allows rows with different numbers of frames, and holds the
empty list of a failed row like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from operators.columns import OTHERS, empty_value, tensor_spec

Row = dict[str, Any]
#: Values of the column ``kind``: a title's plan for the driver, a sign of life of its planner, a segment (or an
#: output segment of it). Only segments are worked on; the others pass through all pools untouched.
PLAN_ROW, HEARTBEAT, SEGMENT = "plan", "heartbeat", "segment"


def to_table(row: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    """One row as a table; tensors are not copied."""
    arrays = []
    for field in schema:
        spec = tensor_spec(field)
        if field.type == OTHERS:
            arrays.append(pa.array([_stream(row.get(field.name, ()), schema)], OTHERS))
        elif spec is None:
            arrays.append(pa.array([row[field.name]], field.type))
        else:
            flat = np.ascontiguousarray(row[field.name], spec[0]).reshape(-1)
            values = pa.array(flat, field.type.value_type)
            list_type = pa.LargeListArray if pa.types.is_large_list(field.type) else pa.ListArray
            arrays.append(list_type.from_arrays([0, flat.size], values))
    return pa.Table.from_arrays(arrays, schema=schema)


def from_table(table: pa.Table, schema: pa.Schema, index: int = 0) -> Row:
    """The row at `index`; tensors are read-only views of the table's memory."""
    row: Row = {}
    for field in schema:
        value, spec = table.column(field.name)[index], tensor_spec(field)
        if field.type == OTHERS:
            row[field.name] = _rows(value.as_buffer(), schema)
        elif spec is None:
            row[field.name] = value.as_py()
        else:
            flat = (
                value.values.to_numpy(zero_copy_only=spec[0].kind != "b")
                if len(value)
                else np.zeros(0, spec[0])
            )
            time_axis = isinstance(spec[1][0], str)
            shape = (-1, *spec[1][1:]) if time_axis or flat.size == 0 else spec[1]
            row[field.name] = flat.reshape(shape) if flat.size else np.zeros((0, *spec[1][1:]), spec[0])
    return row


def _stream(rows: Sequence[Row], schema: pa.Schema) -> bytes:
    """Rows as Arrow's stream; nothing for none."""
    if not rows:
        return b""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        for row in rows:
            writer.write_table(to_table(row, schema))
    return bytes(sink.getvalue())


def _rows(stream: pa.Buffer | None, schema: pa.Schema) -> tuple[Row, ...]:
    """Return what `_stream` was given; tensors are views."""
    if stream is None or not stream.size:
        return ()
    table = pa.ipc.open_stream(stream).read_all()
    return tuple(from_table(table.slice(k, 1).combine_chunks(), schema) for k in range(table.num_rows))


def empty_row(schema: pa.Schema, values: Mapping[str, Any]) -> Row:
    """A row of zero-length tensors and zeros, except for the columns of the schema that `values` has."""
    return {
        field.name: values[field.name] if field.name in values else empty_value(field) for field in schema
    }


def row_bytes(schema: pa.Schema, frames: int, core: int | None = None) -> int:
    """Bytes of a row whose time axes are `frames` long, `core` of them core frames (all by default); strings
    are not counted.
    """
    lengths = {"T": frames, "N": frames if core is None else core, "C": frames if core is None else core}
    total = 0
    for field in schema:
        spec = tensor_spec(field)
        if spec is not None:
            total += (
                int(np.prod([lengths[size] if isinstance(size, str) else size for size in spec[1]]))
                * spec[0].itemsize
            )
    return total
