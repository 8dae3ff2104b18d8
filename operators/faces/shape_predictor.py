"""The 68-point regression trees (Kazemi & Sullivan 2014) of dlib's model file, compact and for several boxes
at once.

dlib's own evaluation gathers 4 MB of leaves from all over 65 MB for every box: where other processes share
the cache that takes 2 to 4 ms. Here leaves are 16-bit numbers and the boxes of one picture go through the
levels together. Points come back as fractions of a pixel, not rounded. A test holds the two together.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np


@dataclasses.dataclass(frozen=True)
class Trees:
    """A cascade of L levels of R trees with S splits each, over P points and F pixels.

    Attributes:
        start: float32[P, 2], mean shape in boxes of side 1.
        anchors: int16[L, F], the point next to which a pixel is read.
        offsets: float32[L, F, 2], how far from it.
        pairs: int16[L, R, S, 2], the two pixels that a split compares.
        thresholds: float32[L, R, S].
        leaves: int16[L, R, S + 1, 2 P], what a leaf adds to the shape, in units of `scales`.
        scales: float32[L].
    """

    start: np.ndarray
    anchors: np.ndarray
    offsets: np.ndarray
    pairs: np.ndarray
    thresholds: np.ndarray
    leaves: np.ndarray
    scales: np.ndarray

    def __call__(self, picture: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Points float64[B, P, 2] of the faces in uint8[h, w], for boxes float[B, 4] (x1, y1, x2, y2;
        squares).
        """
        from operators.faces.shape_predictor_kernels import cascade

        # dlib's rectangles end at the last pixel inside.
        squares = np.stack([boxes[:, 0], boxes[:, 1], boxes[:, 2] - boxes[:, 0] - 1], 1).astype(np.float32)
        fields = (
            self.start,
            self.anchors,
            self.offsets,
            self.pairs,
            self.thresholds,
            self.leaves,
            self.scales,
        )
        return cascade(np.ascontiguousarray(picture), squares, *fields).astype(np.float64)


def load_trees(path: Path) -> Trees:
    """Read a shape predictor that dlib wrote.

    Raises:
        ValueError: the file is something else.
    """
    from operators.faces.shape_predictor_kernels import read_floats, read_forests, read_integer

    content = np.fromfile(path, np.uint8)
    # The compiled loops do not check bounds: behind a file that ends early they read zeros, which are no
    # tree.
    data = np.concatenate([content, np.zeros(1 << 18, np.uint8)])

    def integers(at: int, count: int) -> tuple[list[int], int]:
        values = []
        for _ in range(count):
            value, at = read_integer(data, at)
            values.append(int(value))
        return values, at

    try:
        (version, rows, columns), at = integers(0, 3)
        shape = np.empty(rows * columns, np.float32)
        at = read_floats(data, at, shape)
        (levels, trees, splits), _ = integers(at, 3)
        if version != 1 or not (0 < levels < 100 and 0 < trees < 10000 and 0 < splits < 1024):
            raise ValueError(f"version {version}, {levels} levels")
        _, at = read_integer(data, at)
        pairs = np.empty((levels, trees, splits, 2), np.int16)
        thresholds = np.empty((levels, trees, splits), np.float32)
        leaves = np.empty((levels, trees, splits + 1, len(shape)), np.int16)
        scales = np.empty(levels, np.float32)
        at = read_forests(data, at, pairs, thresholds, leaves, scales)
        if at < 0:
            raise ValueError("its trees differ in size")
        (_, pixels), _ = integers(at, 2)
        _, at = read_integer(data, at)
        anchors, offsets = np.empty((levels, pixels), np.int16), np.empty((levels, pixels, 2), np.float32)
        for level in range(levels):
            _, at = read_integer(data, at)
            anchors[level], at = integers(at, pixels)
        _, at = read_integer(data, at)
        for level in range(levels):
            _, at = read_integer(data, at)
            at = read_floats(data, at, offsets[level].reshape(-1))
    except (ValueError, IndexError, MemoryError) as error:
        raise ValueError(f"{path} is no shape predictor of dlib: {error}") from error
    if at != len(content):
        raise ValueError(
            f"{path} is no shape predictor of dlib: {len(content)} bytes where {at} were expected"
        )
    return Trees(shape.reshape(-1, 2), anchors, offsets, pairs, thresholds, leaves, scales)
