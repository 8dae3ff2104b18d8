"""Columns of a stage, declared as a `pyarrow.Schema` and checked at its edge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

#: Names of time axes in a tensor's declared shape: T = decoded source frames of a segment, halo included; C =
#: its core frames; N = frames of the output.
TIME_AXES = ("T", "C", "N")
#: Type of a column that holds further rows (of the same columns): a tuple of them in a worker, Arrow's stream of them outside.
OTHERS = pa.large_binary()


def tensor(name: str, dtype: str, *shape: int | str) -> pa.Field:
    """Declare a tensor column.

    Args:
        name: column name.
        dtype: numpy dtype name, e.g. ``"float32"``.
        shape: sizes; the strings ``"T"``, ``"C"`` and ``"N"`` mark time axes (see `TIME_AXES`), at most the
            first axis.

    Returns:
        A `pyarrow.Field` of a list type whose metadata keep dtype and shape; `check_columns` reads them.
    """
    if not shape or any(isinstance(s, str) and (s not in TIME_AXES or i > 0) for i, s in enumerate(shape)):
        raise ValueError(
            f"column {name!r}: shape {shape} must be sizes, with 'T', 'C' or 'N' allowed on the first axis only"
        )
    metadata = {b"dtype": np.dtype(dtype).name.encode(), b"shape": ",".join(map(str, shape)).encode()}
    return pa.field(name, pa.list_(pa.from_numpy_dtype(np.dtype(dtype))), nullable=False, metadata=metadata)


def scalar(name: str, arrow_type: pa.DataType) -> pa.Field:
    """Declare a scalar column (string, integer, float or bool)."""
    return pa.field(name, arrow_type, nullable=False)


def tensor_spec(field: pa.Field) -> tuple[np.dtype, tuple[int | str, ...]] | None:
    """Dtype and declared shape of a tensor column, None for a scalar column."""
    if not field.metadata or b"shape" not in field.metadata:
        return None
    shape = tuple(
        int(s) if s.lstrip("-").isdigit() else s for s in field.metadata[b"shape"].decode().split(",")
    )
    return np.dtype(field.metadata[b"dtype"].decode()), shape


def empty_value(field: pa.Field) -> Any:
    """The value of this column in a row that carries an error: a zero-length tensor, or the scalar type's
    zero. Never None.
    """
    spec = tensor_spec(field)
    if spec is not None:
        dtype, shape = spec
        return np.zeros([0, *shape[1:]], dtype)
    if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
        return ""
    if field.type == OTHERS:
        return ()
    return False if pa.types.is_boolean(field.type) else 0.0 if pa.types.is_floating(field.type) else 0


def check_columns(
    stage: str, schema: pa.Schema, columns: Mapping[str, Any], sizes: Mapping[str, int]
) -> None:
    """Hold a stage's columns against its declaration.

    Args:
        stage: name for messages.
        schema: declared columns.
        columns: actual values.
        sizes: what ``T``, ``C`` and ``N`` are for this row.

    Raises:
        ValueError: a column is missing, undeclared, or has another dtype or shape than declared.
    """
    if missing := sorted(set(schema.names) - set(columns)):
        raise ValueError(f"stage {stage!r}: columns {missing} are declared but absent")
    if extra := sorted(set(columns) - set(schema.names)):
        raise ValueError(f"stage {stage!r}: columns {extra} are not declared")
    for field in schema:
        value, spec = columns[field.name], tensor_spec(field)
        if spec is None:
            if value is None or isinstance(value, np.ndarray):
                raise ValueError(
                    f"stage {stage!r}: column {field.name!r} must be a {field.type}, got {type(value).__name__}"
                )
            continue
        dtype, shape = spec
        expected = tuple(sizes.get(s, -1) if isinstance(s, str) else s for s in shape)
        if not isinstance(value, np.ndarray) or value.dtype != dtype or value.shape != expected:
            got = (
                f"{value.dtype}{list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__
            )
            raise ValueError(
                f"stage {stage!r}: column {field.name!r} must be {dtype}{list(expected)} ({','.join(map(str, shape))}), got {got}"
            )
