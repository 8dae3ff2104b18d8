"""A writer of TensorFlow Lite files with one subgraph, just enough to make small networks for tests."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

CODES = {
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 4,
    "DEQUANTIZE": 6,
    "MAX_POOL_2D": 17,
    "PAD": 34,
    "PRELU": 54,
    "RESHAPE": 22,
    "ADD": 0,
}


class Raw(bytes):
    """Bytes of a table's scalar field."""


def _aligned(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _offset(value: Any) -> bytes:
    """The bytes of a vector, table or text, which begin where a reference to it points."""
    if isinstance(value, str):
        return _aligned(struct.pack("<I", len(value)) + value.encode() + b"\0")
    if isinstance(value, np.ndarray):
        return _aligned(struct.pack("<I", value.size) + value.tobytes())
    if isinstance(value, list):
        parts = [_offset(one) for one in value]
        starts, at = [], 4 + 4 * len(parts)
        for part, one in zip(parts, value, strict=True):
            starts.append(at + (_table_start(one) if isinstance(one, dict) else 0))
            at += len(part)
        references = [start - (4 + 4 * i) for i, start in enumerate(starts)]
        return struct.pack(f"<I{len(parts)}I", len(parts), *references) + b"".join(parts)
    return _table(value)


def _table_start(fields: dict[int, Any]) -> int:
    """Bytes before a table, which are its field offsets."""
    return len(_aligned(bytes(4 + 2 * (max(fields, default=-1) + 1))))


def _table(fields: dict[int, Any]) -> bytes:
    before = _table_start(fields)
    slots, places, at = {}, [], 4
    for number, value in fields.items():
        slots[number] = at
        places.append((at, value))
        at += 4
    body, tail = bytearray(at), b""
    body[:4] = struct.pack("<i", before)
    for place, value in places:
        if isinstance(value, Raw):
            body[place : place + len(value)] = value
        else:
            start = at + len(tail) + (_table_start(value) if isinstance(value, dict) else 0)
            body[place : place + 4] = struct.pack("<I", start - place)
            tail += _offset(value)
    count = max(fields, default=-1) + 1
    vtable = struct.pack("<HH", 4 + 2 * count, at) + b"".join(
        struct.pack("<H", slots.get(number, 0)) for number in range(count)
    )
    return _aligned(vtable) + bytes(body) + tail


def network(
    tensors: list[tuple[tuple[int, ...], np.ndarray | None]],
    operators: list[tuple[str, list[int], list[int], dict[int, int]]],
    inputs: list[int],
    outputs: list[int],
) -> bytes:
    """A file.

    Args:
        tensors: shape and, of a constant, value.
        operators: kind, tensors in, tensors out, options as numbers by field.
        inputs, outputs: of the network.
    """
    kinds = {np.dtype("f4"): 0, np.dtype("f2"): 1, np.dtype("i4"): 2}
    buffers: list[dict[int, Any]] = [{}]
    described = []
    for number, (shape, value) in enumerate(tensors):
        fields = {0: np.array(shape, "<i4"), 3: f"tensor {number}"}
        if value is not None:
            fields |= {1: Raw(struct.pack("<b", kinds[value.dtype])), 2: Raw(struct.pack("<I", len(buffers)))}
            buffers.append({0: np.frombuffer(value.tobytes(), "u1")})
        described.append(fields)
    used = sorted({kind for kind, *_ in operators})
    steps = [
        {
            0: Raw(struct.pack("<I", used.index(kind))),
            1: np.array(taken, "<i4"),
            2: np.array(given, "<i4"),
            4: {field: Raw(struct.pack("<i", value)) for field, value in options.items()},
        }
        for kind, taken, given, options in operators
    ]
    graph = {0: described, 1: np.array(inputs, "<i4"), 2: np.array(outputs, "<i4"), 3: steps}
    codes = [
        {0: Raw(struct.pack("<b", CODES[kind])), 3: Raw(struct.pack("<i", CODES[kind]))} for kind in used
    ]
    model = {0: Raw(struct.pack("<I", 3)), 1: codes, 2: [graph], 4: buffers}
    return struct.pack("<I", 8 + _table_start(model)) + b"TFL3" + _table(model)
