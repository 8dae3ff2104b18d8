"""Reader of TensorFlow Lite files: tensors, constants and operators of the one subgraph that these networks have.

A file is a FlatBuffer of the schema that TensorFlow publishes (schema.fbs, version 3). Numbers of fields, operators and types below
are those of the schema. No code of TensorFlow or of the flatbuffers library is needed.
"""

from __future__ import annotations

import dataclasses
import struct
from typing import Any

import numpy as np

IDENTIFIER = b"TFL3"
DTYPES: dict[int, np.dtype[Any]] = {
    0: np.dtype("<f4"),
    1: np.dtype("<f2"),
    2: np.dtype("<i4"),
    3: np.dtype("u1"),
    4: np.dtype("<i8"),
}
OPERATORS = {
    0: "ADD",
    2: "CONCATENATION",
    3: "CONV_2D",
    4: "DEPTHWISE_CONV_2D",
    6: "DEQUANTIZE",
    14: "LOGISTIC",
    17: "MAX_POOL_2D",
    18: "MUL",
    19: "RELU",
    22: "RESHAPE",
    23: "RESIZE_BILINEAR",
    34: "PAD",
    39: "TRANSPOSE",
    40: "MEAN",
    41: "SUB",
    42: "DIV",
    45: "STRIDED_SLICE",
    54: "PRELU",
    59: "NEG",
    74: "SUM",
    75: "SQRT",
    76: "RSQRT",
    99: "SQUARED_DIFFERENCE",
}
#: Names of the options of an operator, each with its field and its format: "b" an enumeration or truth value, "i" a number.
OPTIONS: dict[str, tuple[tuple[str, int, str], ...]] = {
    "CONV_2D": (("valid", 0, "b"), ("stride_w", 1, "i"), ("stride_h", 2, "i"), ("activation", 3, "b")),
    "DEPTHWISE_CONV_2D": (
        ("valid", 0, "b"),
        ("stride_w", 1, "i"),
        ("stride_h", 2, "i"),
        ("activation", 4, "b"),
    ),
    "MAX_POOL_2D": (
        ("valid", 0, "b"),
        ("stride_w", 1, "i"),
        ("stride_h", 2, "i"),
        ("filter_w", 3, "i"),
        ("filter_h", 4, "i"),
        ("activation", 5, "b"),
    ),
    "ADD": (("activation", 0, "b"),),
    "SUB": (("activation", 0, "b"),),
    "MUL": (("activation", 0, "b"),),
    "DIV": (("activation", 0, "b"),),
    "CONCATENATION": (("axis", 0, "i"), ("activation", 1, "b")),
    "MEAN": (("keep", 0, "b"),),
    "SUM": (("keep", 0, "b"),),
    "RESIZE_BILINEAR": (("align_corners", 2, "b"), ("half_pixel_centers", 3, "b")),
    "STRIDED_SLICE": (
        ("begin_mask", 0, "i"),
        ("end_mask", 1, "i"),
        ("ellipsis_mask", 2, "i"),
        ("new_axis_mask", 3, "i"),
        ("shrink_mask", 4, "i"),
    ),
}


@dataclasses.dataclass(frozen=True)
class TensorInfo:
    """A tensor of the graph.

    Attributes:
        name: as the file has it.
        shape: with the batch as its first size; () for a number.
        value: of a constant, else None.
    """

    name: str
    shape: tuple[int, ...]
    value: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class Operator:
    """One step: its kind, the numbers of its tensors (-1: left out) and its options."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, int]


@dataclasses.dataclass(frozen=True)
class Graph:
    """A network: tensors by number, operators in the order to run, and the numbers of its inputs and outputs."""

    tensors: list[TensorInfo]
    operators: list[Operator]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class _Table:
    """A FlatBuffer table at a place; fields are asked for by number."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at
        self.vtable = at - struct.unpack_from("<i", data, at)[0]
        self.size = struct.unpack_from("<H", data, self.vtable)[0]

    def _place(self, field: int) -> int:
        slot = 4 + 2 * field
        offset = struct.unpack_from("<H", self.data, self.vtable + slot)[0] if slot < self.size else 0
        return self.at + offset if offset else 0

    def number(self, field: int, form: str = "i") -> int:
        place = self._place(field)
        return int(struct.unpack_from(f"<{form}", self.data, place)[0]) if place else 0

    def _target(self, field: int) -> int:
        place = self._place(field)
        return place + struct.unpack_from("<I", self.data, place)[0] if place else 0

    def table(self, field: int) -> _Table | None:
        target = self._target(field)
        return _Table(self.data, target) if target else None

    def tables(self, field: int) -> list[_Table]:
        start = self._target(field)
        if not start:
            return []
        places = [start + 4 + 4 * i for i in range(struct.unpack_from("<I", self.data, start)[0])]
        return [_Table(self.data, place + struct.unpack_from("<I", self.data, place)[0]) for place in places]

    def array(self, field: int, dtype: str) -> np.ndarray | None:
        start = self._target(field)
        if not start:
            return None
        count = struct.unpack_from("<I", self.data, start)[0]
        return np.frombuffer(self.data, np.dtype(dtype), count, start + 4)

    def text(self, field: int) -> str:
        found = self.array(field, "u1")
        return "" if found is None else found.tobytes().decode("utf-8", "replace")


def read_graph(data: bytes) -> Graph:
    """Read a TensorFlow Lite file.

    Args:
        data: the whole file.

    Raises:
        ValueError: it is no such file, is cut or damaged, or has an operator or a type that is not known here.
    """
    if data[4:8] != IDENTIFIER:
        raise ValueError(f"not a TensorFlow Lite file: it has {data[4:8]!r} in the place of {IDENTIFIER!r}")
    try:
        return _read(data)
    except (struct.error, IndexError, AttributeError) as error:
        raise ValueError(f"a damaged TensorFlow Lite file ({error})") from error


def _read(data: bytes) -> Graph:
    model = _Table(data, struct.unpack_from("<I", data, 0)[0])
    kinds = [_kind(code) for code in model.tables(1)]
    buffers = model.tables(4)
    subgraphs = model.tables(2)
    if len(subgraphs) != 1:
        raise ValueError(f"a TensorFlow Lite file with {len(subgraphs)} subgraphs; one is supported")
    graph = subgraphs[0]
    return Graph(
        [_tensor(tensor, buffers) for tensor in graph.tables(0)],
        [_operator(operator, kinds) for operator in graph.tables(3)],
        _numbers(graph.array(1, "<i4")),
        _numbers(graph.array(2, "<i4")),
    )


def _numbers(array: np.ndarray | None) -> tuple[int, ...]:
    return () if array is None else tuple(int(value) for value in array)


def _kind(code: _Table) -> str:
    # Old files have the number in the first field, a byte; new ones in the fourth, and 127 or the number in the first.
    number = max(code.number(0, "b"), code.number(3, "i"))
    if number not in OPERATORS:
        raise ValueError(
            f"TensorFlow Lite operator {number} is not supported; known: {', '.join(OPERATORS.values())}"
        )
    return OPERATORS[number]


def _tensor(tensor: _Table, buffers: list[_Table]) -> TensorInfo:
    shape = _numbers(tensor.array(0, "<i4"))
    kind = tensor.number(1, "b")
    raw = buffers[tensor.number(2, "I")].array(0, "u1")
    if raw is None or not len(raw):
        return TensorInfo(tensor.text(3), shape, None)
    if kind not in DTYPES:
        raise ValueError(f"TensorFlow Lite type {kind} of tensor {tensor.text(3)} is not supported")
    return TensorInfo(tensor.text(3), shape, np.frombuffer(raw.tobytes(), DTYPES[kind]).reshape(shape))


def _operator(operator: _Table, kinds: list[str]) -> Operator:
    kind = kinds[operator.number(0, "I")]
    table = operator.table(4)
    options = {
        name: table.number(field, form) if table is not None else 0
        for name, field, form in OPTIONS.get(kind, ())
    }
    return Operator(kind, _numbers(operator.array(1, "<i4")), _numbers(operator.array(2, "<i4")), options)
