"""A TensorFlow Lite network as a torch module: float32, batches, any device.

Activations keep TensorFlow's order of axes, [N, H, W, C]; convolutions see them through a permuted view, which for torch is its
channels-last layout: nothing is copied. Weights in float16 are widened once, when the module is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from retalk_models.tflite.flatbuffer import Graph, Operator, read_graph

#: Numbers of fused activations: none, ReLU, ReLU6.
ACTIVATIONS: dict[int, Callable[[Tensor], Tensor] | None] = {0: None, 1: torch.relu, 3: F.relu6}
BINARY: dict[str, Callable[..., Tensor]] = {
    "ADD": torch.add,
    "SUB": torch.sub,
    "MUL": torch.mul,
    "DIV": torch.div,
}
UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    "RELU": torch.relu,
    "LOGISTIC": torch.sigmoid,
    "NEG": torch.neg,
    "SQRT": torch.sqrt,
    "RSQRT": torch.rsqrt,
}
Step = Callable[[dict[int, Tensor]], None]


def _same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Padding before and after of TensorFlow's "same": the odd pixel goes behind."""
    needed = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return needed // 2, needed - needed // 2


class TFLiteNetwork(nn.Module):
    """The network of a TensorFlow Lite file.

    Args:
        data: the file.

    Raises:
        ValueError: the file is damaged, or something in it is not supported.

    Its only input is [N, H, W, C] (or [N, ...] of whatever the file names) with any N; the outputs are those of the file, in its
    order, with N as their first size.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__()
        graph = read_graph(data)
        if len(graph.inputs) != 1:
            raise ValueError(f"a network with {len(graph.inputs)} inputs; one is supported")
        self.input_shape = graph.tensors[graph.inputs[0]].shape
        self._input, self._outputs = graph.inputs[0], graph.outputs
        self._constants = {
            number: tensor.value for number, tensor in enumerate(graph.tensors) if tensor.value is not None
        }
        self._graph = graph
        self._steps: list[Step] = []
        for operator in graph.operators:
            self._add(operator)
        # Constants were widened above: their operators leave nothing to do.
        self._program = [
            (step, gone)
            for step, gone in zip(self._steps, _last_uses(graph), strict=True)
            if step is not _nothing
        ]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Run the network on float32 [N, ...]."""
        values = {self._input: x}
        for step, gone in self._program:
            step(values)
            for number in gone:
                values.pop(number, None)
        return tuple(values[number] for number in self._outputs)

    # Making steps

    def _constant(self, number: int) -> np.ndarray:
        if number not in self._constants:
            raise ValueError(f"tensor {self._graph.tensors[number].name} is no constant, as it must be")
        return self._constants[number]

    def _buffer(self, value: np.ndarray | Tensor) -> str:
        name = f"constant_{len(self._buffers)}"
        tensor = value if isinstance(value, Tensor) else torch.from_numpy(np.array(value, np.float32))
        self.register_buffer(name, tensor, persistent=False)
        return name

    def _add(self, op: Operator) -> None:
        made: Step
        if op.kind == "DEQUANTIZE":
            self._constants[op.outputs[0]] = self._constant(op.inputs[0]).astype(np.float32)
            made = _nothing
        elif op.kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            made = self._convolution(op)
        elif op.kind == "PRELU":
            made = self._prelu(op)
        elif op.kind in BINARY or op.kind == "SQUARED_DIFFERENCE":
            made = self._binary(op)
        elif op.kind in UNARY:
            made = _unary(op)
        else:
            made = _SHAPES[op.kind](self, op)
        self._steps.append(made)

    def _convolution(self, op: Operator) -> Step:
        source, target = op.inputs[0], op.outputs[0]
        kernel = self._constant(op.inputs[1])
        depthwise = op.kind == "DEPTHWISE_CONV_2D"
        # [out, h, w, in], depthwise [1, h, w, channels], to torch's [out, in, h, w]
        axes = (3, 0, 1, 2) if depthwise else (0, 3, 1, 2)
        weight = torch.from_numpy(np.array(kernel, np.float32)).permute(axes)
        bias = self._buffer(self._constant(op.inputs[2])) if len(op.inputs) > 2 and op.inputs[2] >= 0 else ""
        groups = weight.shape[0] if depthwise else 1
        if (
            weight.shape[2:] == (1, 1)
            and not depthwise
            and op.options["stride_h"] == op.options["stride_w"] == 1
        ):
            return self._pointwise(op, self._buffer(weight[:, :, 0, 0].contiguous()), bias)
        name = self._buffer(weight.contiguous(memory_format=torch.channels_last))
        stride = (op.options["stride_h"], op.options["stride_w"])
        size = (weight.shape[2], weight.shape[3])
        same, activation = not op.options["valid"], _activation(op)

        def run(values: dict[int, Tensor]) -> None:
            x = values[source].permute(0, 3, 1, 2)
            padding = (0, 0)
            if same:
                x, padding = _padded(x, size, stride)
            y = F.conv2d(
                x, getattr(self, name), getattr(self, bias) if bias else None, stride, padding, 1, groups
            )
            values[target] = activation(y).permute(0, 2, 3, 1)

        return run

    def _pointwise(self, op: Operator, weight: str, bias: str) -> Step:
        """A convolution of single pixels is a matrix product, for which torch needs no other layout."""
        source, target = op.inputs[0], op.outputs[0]
        activation = _activation(op)

        def run(values: dict[int, Tensor]) -> None:
            y = F.linear(values[source], getattr(self, weight), getattr(self, bias) if bias else None)
            values[target] = activation(y)

        return run

    def _prelu(self, op: Operator) -> Step:
        slope = self._constant(op.inputs[1])
        if any(size != 1 for size in slope.shape[:-1]):
            raise ValueError("PRELU with a slope for each place is not supported")
        name, source, target = self._buffer(slope.reshape(-1)), op.inputs[0], op.outputs[0]

        def run(values: dict[int, Tensor]) -> None:
            x = values[source].permute(0, 3, 1, 2)
            values[target] = F.prelu(x, getattr(self, name)).permute(0, 2, 3, 1)

        return run

    def _binary(self, op: Operator) -> Step:
        names = [self._buffer(self._constants[n]) if n in self._constants else "" for n in op.inputs]
        left, right = op.inputs
        target = op.outputs[0]
        function = BINARY.get(op.kind)
        activation = _activation(op)

        def run(values: dict[int, Tensor]) -> None:
            a = getattr(self, names[0]) if names[0] else values[left]
            b = getattr(self, names[1]) if names[1] else values[right]
            y = torch.square(a - b) if function is None else function(a, b)
            values[target] = activation(y)

        return run

    def _pool(self, op: Operator) -> Step:
        source, target, options = op.inputs[0], op.outputs[0], op.options
        size = (options["filter_h"], options["filter_w"])
        stride, activation = (options["stride_h"], options["stride_w"]), _activation(op)

        def run(values: dict[int, Tensor]) -> None:
            x = values[source].permute(0, 3, 1, 2)
            if not options["valid"]:
                x, padding = _padded(x, size, stride, -torch.inf)
                assert padding == (0, 0)
            values[target] = activation(F.max_pool2d(x, size, stride)).permute(0, 2, 3, 1)

        return run

    def _pad(self, op: Operator) -> Step:
        source, target = op.inputs[0], op.outputs[0]
        # torch names the last axis first.
        amounts = [int(v) for pair in self._constant(op.inputs[1])[::-1] for v in pair]

        def run(values: dict[int, Tensor]) -> None:
            values[target] = F.pad(values[source], amounts)

        return run

    def _resize(self, op: Operator) -> Step:
        source, target = op.inputs[0], op.outputs[0]
        size = [int(v) for v in self._constant(op.inputs[1])]
        if not op.options["half_pixel_centers"] or op.options["align_corners"]:
            raise ValueError("RESIZE_BILINEAR without half-pixel centres is not supported")

        def run(values: dict[int, Tensor]) -> None:
            x = values[source].permute(0, 3, 1, 2)
            y = F.interpolate(x, size, mode="bilinear", align_corners=False)
            values[target] = y.permute(0, 2, 3, 1)

        return run

    def _reshape(self, op: Operator) -> Step:
        source, target = op.inputs[0], op.outputs[0]
        # The file repeats the shape as an input or as an option; the result's own says the same.
        shape = list(self._graph.tensors[target].shape)
        batch = self._graph.tensors[source].shape[:1] == (1,)

        def run(values: dict[int, Tensor]) -> None:
            x = values[source]
            values[target] = x.reshape([len(x), *shape[1:]] if batch and shape[:1] == [1] else shape)

        return run

    def _transpose(self, op: Operator) -> Step:
        source, target = op.inputs[0], op.outputs[0]
        axes = [int(v) for v in self._constant(op.inputs[1])]

        def run(values: dict[int, Tensor]) -> None:
            values[target] = values[source].permute(axes)

        return run

    def _reduce(self, op: Operator) -> Step:
        source, target, keep = op.inputs[0], op.outputs[0], bool(op.options["keep"])
        axes = [int(v) for v in self._constant(op.inputs[1]).reshape(-1)]
        function = torch.mean if op.kind == "MEAN" else torch.sum

        def run(values: dict[int, Tensor]) -> None:
            values[target] = function(values[source], dim=axes, keepdim=keep)

        return run

    def _slice(self, op: Operator) -> Step:
        source, target, options = op.inputs[0], op.outputs[0], op.options
        if options["ellipsis_mask"] or options["new_axis_mask"]:
            raise ValueError("STRIDED_SLICE with an ellipsis or a new axis is not supported")
        begin, end, step = ([int(v) for v in self._constant(number)] for number in op.inputs[1:4])
        index: list[slice | int] = []
        for axis in range(len(begin)):
            first = None if options["begin_mask"] >> axis & 1 else begin[axis]
            last = None if options["end_mask"] >> axis & 1 else end[axis]
            if options["shrink_mask"] >> axis & 1:
                # Only the batch is shrunk by these networks: there it stays.
                index.append(slice(None) if axis == 0 else begin[axis])
            else:
                index.append(slice(first, last, step[axis]))

        def run(values: dict[int, Tensor]) -> None:
            values[target] = values[source][tuple(index)]

        return run

    def _concatenate(self, op: Operator) -> Step:
        names = [self._buffer(self._constants[n]) if n in self._constants else "" for n in op.inputs]
        target, axis, activation = op.outputs[0], op.options["axis"], _activation(op)

        def run(values: dict[int, Tensor]) -> None:
            parts = [
                getattr(self, name) if name else values[n] for n, name in zip(op.inputs, names, strict=True)
            ]
            count = max(len(part) for part in parts)
            parts = [part.expand(count, *part.shape[1:]) if len(part) != count else part for part in parts]
            values[target] = activation(torch.cat(parts, axis))

        return run


_SHAPES: dict[str, Callable[[TFLiteNetwork, Operator], Step]] = {
    "MAX_POOL_2D": TFLiteNetwork._pool,
    "PAD": TFLiteNetwork._pad,
    "RESIZE_BILINEAR": TFLiteNetwork._resize,
    "RESHAPE": TFLiteNetwork._reshape,
    "TRANSPOSE": TFLiteNetwork._transpose,
    "MEAN": TFLiteNetwork._reduce,
    "SUM": TFLiteNetwork._reduce,
    "STRIDED_SLICE": TFLiteNetwork._slice,
    "CONCATENATION": TFLiteNetwork._concatenate,
}


def _activation(op: Operator) -> Callable[[Tensor], Tensor]:
    """The activation that is fused into an operator.

    Raises:
        ValueError: it is none that is known.
    """
    number = op.options.get("activation", 0)
    if number not in ACTIVATIONS:
        raise ValueError(f"{op.kind} with activation {number} is not supported")
    return ACTIVATIONS[number] or _unchanged


def _unchanged(value: Tensor) -> Tensor:
    return value


def _nothing(values: dict[int, Tensor]) -> None:
    """Step of an operator whose result was computed beforehand."""


def _unary(op: Operator) -> Step:
    function, source, target = UNARY[op.kind], op.inputs[0], op.outputs[0]

    def run(values: dict[int, Tensor]) -> None:
        values[target] = function(values[source])

    return run


def _padded(
    x: Tensor, size: Sequence[int], stride: Sequence[int], value: float = 0.0
) -> tuple[Tensor, tuple[int, int]]:
    """Pad [N, C, H, W] as TensorFlow's "same" does; even padding is left to the convolution that follows."""
    top, bottom = _same(x.shape[2], size[0], stride[0])
    left, right = _same(x.shape[3], size[1], stride[1])
    if top == bottom and left == right and value == 0:
        return x, (top, left)
    if not (top or bottom or left or right):
        return x, (0, 0)
    return F.pad(x, [left, right, top, bottom], value=value), (0, 0)


def _last_uses(graph: Graph) -> list[list[int]]:
    """Tensors that no later step reads, for each step: their memory is free after it."""
    last: dict[int, int] = {}
    for step, operator in enumerate(graph.operators):
        for number in operator.inputs:
            last[number] = step
    gone: list[list[int]] = [[] for _ in graph.operators]
    for number, step in last.items():
        if number not in graph.outputs:
            gone[step].append(number)
    return gone
