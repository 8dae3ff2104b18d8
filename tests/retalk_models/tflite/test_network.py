"""TensorFlow Lite networks in torch: a small one that is written here against its plain definition, and damaged files."""

import numpy as np
import pytest
import torch

from retalk_models.tflite.flatbuffer import read_graph
from retalk_models.tflite.network import TFLiteNetwork
from tests.retalk_models.tflite.writer import network

RNG = np.random.default_rng(2)
KERNEL = RNG.normal(size=(5, 3, 3, 2)).astype(np.float16)
BIAS = RNG.normal(size=5).astype(np.float32)
DEEP = RNG.normal(size=(1, 3, 3, 5)).astype(np.float32)
SLOPE = RNG.uniform(0.1, 0.4, (1, 1, 5)).astype(np.float32)


def small() -> bytes:
    """Convolution with stride 2 and float16 weights, PReLU, depthwise convolution, pooling, padding of channels, sum."""
    tensors: list[tuple[tuple[int, ...], np.ndarray | None]] = [
        ((1, 8, 9, 2), None),
        (KERNEL.shape, KERNEL),
        (KERNEL.shape, None),
        (BIAS.shape, BIAS),
        ((1, 4, 5, 5), None),
        (SLOPE.shape, SLOPE),
        ((1, 4, 5, 5), None),
        (DEEP.shape, DEEP),
        ((1, 4, 5, 5), None),
        ((1, 2, 3, 5), None),
        ((4, 2), np.array([[0, 0], [0, 0], [0, 0], [0, 2]], np.int32)),
        ((1, 2, 3, 7), None),
        ((1, 42), None),
        ((2,), np.array([1, 42], np.int32)),
    ]
    return network(
        tensors,
        [
            ("DEQUANTIZE", [1], [2], {}),
            ("CONV_2D", [0, 2, 3], [4], {1: 2, 2: 2}),
            ("PRELU", [4, 5], [6], {}),
            ("DEPTHWISE_CONV_2D", [6, 7, -1], [8], {1: 1, 2: 1, 3: 1, 4: 1}),
            ("MAX_POOL_2D", [8], [9], {1: 2, 2: 2, 3: 2, 4: 2}),
            ("PAD", [9, 10], [11], {}),
            ("RESHAPE", [11, 13], [12], {}),
        ],
        [0],
        [12],
    )


def plain(x: np.ndarray) -> np.ndarray:
    """The same, pixel by pixel: "same" padding of 8 x 9 by 3 with stride 2 is nothing before and one row behind, one column each."""
    x = np.pad(x, ((0, 1), (1, 1), (0, 0)))
    rows = [
        [
            np.einsum("hwi,ohwi->o", x[2 * i : 2 * i + 3, 2 * j : 2 * j + 3], KERNEL.astype(float))
            for j in range(5)
        ]
        for i in range(4)
    ]
    y = np.array(rows) + BIAS
    y = np.where(y > 0, y, y * SLOPE[0])
    y = np.pad(y, ((1, 1), (1, 1), (0, 0)))
    y = np.array([[(y[i : i + 3, j : j + 3] * DEEP[0]).sum((0, 1)) for j in range(5)] for i in range(4)])
    y = np.maximum(y, 0)
    pooled = [[y[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].max((0, 1)) for j in range(3)] for i in range(2)]
    return np.pad(np.array(pooled), ((0, 0), (0, 0), (0, 2))).reshape(-1)


def test_a_network_computes_what_its_operators_say_for_any_number_of_pictures() -> None:
    net = TFLiteNetwork(small())
    assert net.input_shape == (1, 8, 9, 2)
    pictures = RNG.normal(size=(3, 8, 9, 2)).astype(np.float32)
    with torch.inference_mode():
        (found,) = net(torch.from_numpy(pictures))
    expected = np.stack([plain(picture) for picture in pictures])
    assert found.shape == (3, 42)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


def test_a_file_that_is_none_or_is_damaged_or_needs_more_is_refused() -> None:
    data = small()
    with pytest.raises(ValueError, match="not a TensorFlow Lite file"):
        read_graph(b"<html>no such page</html>")
    for length in (12, 100, len(data) // 2):
        with pytest.raises(ValueError, match=r"damaged|not supported"):
            read_graph(data[:length])
    with pytest.raises(ValueError, match="2 inputs"):
        TFLiteNetwork(network([((1, 4), None)] * 3, [("ADD", [0, 1], [2], {})], [0, 1], [2]))
