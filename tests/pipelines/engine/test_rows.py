"""Rows between stages: what goes in comes out, without copies, errors included."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from operators.columns import OTHERS, scalar, tensor
from pipelines.engine.rows import empty_row, from_table, row_bytes, to_table

SCHEMA = pa.schema(
    [
        scalar("name", pa.string()),
        scalar("count", pa.int64()),
        scalar("good", pa.bool_()),
        tensor("crops", "uint8", "T", 4, 4, 3),
        tensor("flags", "bool", "T"),
        tensor("box", "float32", 4),
        tensor("half", "float16", "N", 2),
    ]
)


def row(frames: int) -> dict[str, object]:
    generator = np.random.default_rng(frames)
    return {
        "name": "é",
        "count": 2**40,
        "good": True,
        "crops": generator.integers(0, 255, (frames, 4, 4, 3), np.uint8),
        "flags": generator.integers(0, 2, frames).astype(bool),
        "box": generator.normal(size=4).astype(np.float32),
        "half": generator.normal(size=(frames + 1, 2)).astype(np.float16),
    }


def test_rows_of_any_length_survive_side_by_side() -> None:
    rows = [row(5), empty_row(SCHEMA, {"name": "bad", "count": 1}), row(0), row(17)]
    table = pa.concat_tables([to_table(r, SCHEMA) for r in rows])
    # As Ray moves them: serialised and sliced.
    with pa.BufferOutputStream() as sink:
        with pa.ipc.new_stream(sink, SCHEMA) as writer:
            writer.write_table(table)
        table = pa.ipc.open_stream(sink.getvalue()).read_all()
    for index, before in enumerate(rows):
        after = from_table(table, SCHEMA, index)
        assert after.keys() == before.keys()
        for name, value in before.items():
            if isinstance(value, np.ndarray):
                assert after[name].dtype == value.dtype, name
                assert after[name].shape == value.shape, name
                assert (after[name] == value).all(), name
            else:
                assert after[name] == value
    sliced = from_table(table.slice(3, 1), SCHEMA)
    assert (sliced["crops"] == rows[3]["crops"]).all()


def test_rows_inside_a_row_survive() -> None:
    schema = SCHEMA.append(pa.field("others", OTHERS, nullable=False))
    inner = [{**row(frames), "others": ()} for frames in (5, 0, 3)]
    before = {**row(4), "others": tuple(inner)}
    table = pa.concat_tables([to_table(row(2), schema), to_table(before, schema)])
    assert from_table(table, schema)["others"] == ()
    after = from_table(table, schema, 1)
    assert (after["crops"] == before["crops"]).all()
    assert len(after["others"]) == 3
    for one, other in zip(after["others"], inner, strict=True):
        assert one["others"] == ()
        assert one["half"].shape == other["half"].shape
        assert (one["half"] == other["half"]).all()
        assert (one["flags"] == other["flags"]).all()
    assert empty_row(schema, {"name": "bad"})["others"] == ()


def test_tensors_are_views_on_both_sides() -> None:
    before = row(5)
    table = to_table(before, SCHEMA)
    after = from_table(table, SCHEMA)
    assert np.shares_memory(before["crops"], after["crops"])
    assert not after["crops"].flags.writeable


def test_row_bytes_counts_time_axes() -> None:
    assert row_bytes(SCHEMA, 10) == 10 * 48 + 10 + 16 + 10 * 2 * 2
