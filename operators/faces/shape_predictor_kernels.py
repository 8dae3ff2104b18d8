"""The two loops of `trees` that must be compiled: reading dlib's serialisation, and running the cascade.
Imported where they are needed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from operators.numeric.compiled import compiled


@compiled
def read_integer(data: np.ndarray, at: int) -> tuple[Any, int]:
    """One integer and where the next value begins: a byte with the count of bytes and the sign, then the
    bytes, least first.
    """
    head = data[at]
    size = head & 15
    value = np.int64(0)
    for k in range(size):
        value |= np.int64(data[at + 1 + k]) << np.int64(8 * k)
    return (-value if head & 128 else value), at + 1 + size


@compiled
def read_floats(data: np.ndarray, at: int, out: np.ndarray) -> int:
    """Read mantissas and exponents into float32[n]; returns where the next value begins."""
    for i in range(out.shape[0]):
        mantissa, at = read_integer(data, at)
        exponent, at = read_integer(data, at)
        out[i] = np.float32(mantissa * 2.0**exponent)
    return at


@compiled
def read_forests(
    data: np.ndarray,
    at: int,
    pairs: np.ndarray,
    thresholds: np.ndarray,
    leaves: np.ndarray,
    scales: np.ndarray,
) -> int:
    """Read all trees into arrays shaped as in `shape_predictor.Trees`; returns where the next value begins, or -1 where
    a tree has another size.
    """
    levels, trees, splits = thresholds.shape
    width = leaves.shape[3]
    values = np.empty((trees, splits + 1, width), np.float32)
    for level in range(levels):
        count, at = read_integer(data, at)
        if count != trees:
            return -1
        for tree in range(trees):
            count, at = read_integer(data, at)
            if count != splits:
                return -1
            for split in range(splits):
                for k in range(2):
                    count, at = read_integer(data, at)
                    pairs[level, tree, split, k] = count
                at = read_floats(data, at, thresholds[level, tree, split : split + 1])
            count, at = read_integer(data, at)
            if count != splits + 1:
                return -1
            for leaf in range(splits + 1):
                rows, at = read_integer(data, at)
                columns, at = read_integer(data, at)
                if rows * columns != width:
                    return -1
                at = read_floats(data, at, values[tree, leaf])
        scales[level] = np.abs(values).max() / np.float32(32767)
        for tree in range(trees):
            for leaf in range(splits + 1):
                for k in range(width):
                    leaves[level, tree, leaf, k] = np.int16(np.rint(values[tree, leaf, k] / scales[level]))
    return at


@compiled
def cascade(
    picture: np.ndarray,
    boxes: np.ndarray,
    start: np.ndarray,
    anchors: np.ndarray,
    offsets: np.ndarray,
    pairs: np.ndarray,
    thresholds: np.ndarray,
    leaves: np.ndarray,
    scales: np.ndarray,
) -> np.ndarray:
    """Shapes float32[B, P, 2] in the picture uint8[h, w], for boxes float32[B, 3]: left, top, and side in
    pixels.
    """
    levels, trees, splits = thresholds.shape
    points, pixels, count = start.shape[0], anchors.shape[1], boxes.shape[0]
    height, width = picture.shape
    shapes = np.empty((count, points, 2), np.float32)
    shapes[:] = start
    mean_x, mean_y = start[:, 0].mean(), start[:, 1].mean()
    spread = 0.0
    for p in range(points):
        spread += (start[p, 0] - mean_x) ** 2 + (start[p, 1] - mean_y) ** 2
    read = np.empty(pixels, np.float32)
    total = np.empty(2 * points, np.int32)
    for level in range(levels):
        for b in range(count):
            shape = shapes[b]
            # Rotation and scale of the least squares similarity from the mean shape: pixels turn and grow
            # with the face.
            centre_x, centre_y = shape[:, 0].mean(), shape[:, 1].mean()
            along, across = 0.0, 0.0
            for p in range(points):
                sx, sy = start[p, 0] - mean_x, start[p, 1] - mean_y
                tx, ty = shape[p, 0] - centre_x, shape[p, 1] - centre_y
                along += sx * tx + sy * ty
                across += sx * ty - sy * tx
            cosine, sine = np.float32(along / spread), np.float32(across / spread)
            left, top, side = np.float64(boxes[b, 0]), np.float64(boxes[b, 1]), np.float64(boxes[b, 2])
            for f in range(pixels):
                dx, dy = offsets[level, f, 0], offsets[level, f, 1]
                a = anchors[level, f]
                # Double precision, as dlib: near the border between two pixels the last bits decide which is
                # read.
                x = int(np.floor(left + side * np.float64(shape[a, 0] + (cosine * dx - sine * dy)) + 0.5))
                y = int(np.floor(top + side * np.float64(shape[a, 1] + (sine * dx + cosine * dy)) + 0.5))
                read[f] = picture[y, x] if 0 <= x < width and 0 <= y < height else 0
            total[:] = 0
            for tree in range(trees):
                at = 0
                while at < splits:
                    bright = (
                        read[pairs[level, tree, at, 0]] - read[pairs[level, tree, at, 1]]
                        > thresholds[level, tree, at]
                    )
                    at = 2 * at + (1 if bright else 2)
                leaf = leaves[level, tree, at - splits]
                for k in range(2 * points):
                    total[k] += leaf[k]
            for p in range(points):
                shape[p, 0] += scales[level] * total[2 * p]
                shape[p, 1] += scales[level] * total[2 * p + 1]
    for b in range(count):
        shapes[b, :, 0] = boxes[b, 0] + boxes[b, 2] * shapes[b, :, 0]
        shapes[b, :, 1] = boxes[b, 1] + boxes[b, 2] * shapes[b, :, 1]
    return shapes
