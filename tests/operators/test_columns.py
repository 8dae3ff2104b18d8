"""Declared columns are what a stage is held to."""

import numpy as np
import pyarrow as pa
import pytest

from operators.columns import check_columns, empty_value, scalar, tensor, tensor_spec

SCHEMA = pa.schema([tensor("landmarks", "float32", "T", 68, 2), scalar("note", pa.string())])


def test_a_declaration_survives_arrow() -> None:
    again = pa.ipc.read_schema(pa.BufferReader(SCHEMA.serialize()))
    assert tensor_spec(again.field("landmarks")) == (np.dtype("float32"), ("T", 68, 2))
    assert tensor_spec(again.field("note")) is None


def test_the_time_axis_comes_first() -> None:
    with pytest.raises(ValueError, match="first axis"):
        tensor("x", "uint8", 3, "T")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"landmarks": np.zeros((5, 68, 2), np.float32), "note": ""}, None),
        ({"landmarks": np.zeros((4, 68, 2), np.float32), "note": ""}, r"float32\[5, 68, 2\]"),
        ({"landmarks": np.zeros((5, 68, 2)), "note": ""}, "float64"),
        ({"landmarks": np.zeros((5, 68, 2), np.float32)}, "absent"),
        ({"landmarks": np.zeros((5, 68, 2), np.float32), "note": "", "extra": 1}, "not declared"),
        ({"landmarks": np.zeros((5, 68, 2), np.float32), "note": None}, "must be a string"),
    ],
)
def test_columns_are_checked(columns: dict, message: str | None) -> None:
    if message is None:
        check_columns("detect", SCHEMA, columns, {"T": 5})
    else:
        with pytest.raises(ValueError, match=message):
            check_columns("detect", SCHEMA, columns, {"T": 5})


def test_empty_values_are_never_none() -> None:
    assert empty_value(SCHEMA.field("landmarks")).shape == (0, 68, 2)
    assert empty_value(SCHEMA.field("note")) == ""
