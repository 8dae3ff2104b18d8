"""Loops over the pixels of a warp, compiled: NumPy would write every step of them to memory. Imported where they are needed."""

from __future__ import annotations

from typing import Any

import numpy as np

from operators.numeric.compiled import compiled


@compiled
def between_nodes(grid: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Spread values at nodes linearly over the pixels: float32[height, width] twice.

    Args:
        grid: float32[gh, gw, 2]; the first and the last nodes are on the corner pixels. A node without a neighbour counts for all.
        width, height: pixels.
    """
    rows, columns = grid.shape[:2]
    across = np.empty((2, rows, width), np.float32)
    for i in range(width):
        place = i * (columns - 1) / max(width - 1, 1)
        left = max(0, min(int(place), columns - 2))
        right, part = min(left + 1, columns - 1), np.float32(place - left)
        for j in range(rows):
            for axis in range(2):
                across[axis, j, i] = grid[j, left, axis] + part * (grid[j, right, axis] - grid[j, left, axis])
    result = np.empty((2, height, width), np.float32)
    for axis in range(2):
        for j in range(height):
            place = j * (rows - 1) / max(height - 1, 1)
            top = max(0, min(int(place), rows - 2))
            upper, lower, part = (
                across[axis, top],
                across[axis, min(top + 1, rows - 1)],
                np.float32(place - top),
            )
            line = result[axis, j]
            for i in range(width):
                line[i] = upper[i] + part * (lower[i] - upper[i])
    return result[0], result[1]


@compiled
def _smooth(value: Any) -> Any:
    """`operators.numeric.masks.smoothstep` of one float32."""
    t = min(max(value, np.float32(0)), np.float32(1))
    return t * t * (np.float32(3) - np.float32(2) * t)


@compiled
def share_moved(dx: np.ndarray, dy: np.ndarray, least: float, whole: float) -> np.ndarray:
    """Smooth step of how far pixels move: 0 up to ``least`` pixels in x and y, 1 from ``whole`` on.

    Args:
        dx, dy: float32[h, w], pixels.
        least, whole: pixels.
    """
    share = np.empty(dx.shape, np.float32)
    start, scale = np.float32(least), np.float32(1 / (whole - least))
    for j in range(dx.shape[0]):
        for i in range(dx.shape[1]):
            share[j, i] = _smooth((max(abs(dx[j, i]), abs(dy[j, i])) - start) * scale)
    return share


@compiled
def raise_to(share: np.ndarray, reach: np.ndarray) -> None:
    """Raise a share float32[h, w] to where ``reach`` float32[h, w] is: to a smooth step that is whole from a quarter on."""
    for j in range(share.shape[0]):
        for i in range(share.shape[1]):
            share[j, i] = max(share[j, i], _smooth(reach[j, i] * np.float32(4)))


@compiled
def half_size(map_x: np.ndarray, map_y: np.ndarray) -> np.ndarray:
    """Source positions of the samples of half-size planes, float32[2, ceil(h / 2), ceil(w / 2)], of those of a picture's pixels
    float32[h, w] twice: of four pixels the mean; a last odd row or column counts as twice there.
    """
    height, width = map_x.shape
    result = np.empty((2, (height + 1) // 2, (width + 1) // 2), np.float32)
    for axis in range(2):
        source = map_x if axis == 0 else map_y
        for j in range(result.shape[1]):
            upper, lower = source[2 * j], source[min(2 * j + 1, height - 1)]
            line = result[axis, j]
            for i in range(width // 2):
                total = upper[2 * i] + upper[2 * i + 1] + lower[2 * i] + lower[2 * i + 1]
                line[i] = (total * np.float32(0.25) - np.float32(0.5)) * np.float32(0.5)
            if width % 2:
                line[-1] = ((upper[-1] + lower[-1]) * np.float32(0.5) - np.float32(0.5)) * np.float32(0.5)
    return result


@compiled
def rounded_into(plane: np.ndarray, target: np.ndarray) -> None:
    """Write float32[h, w] into uint8[h, w], rounded half to even and clipped to 0 ... 255."""
    for j in range(plane.shape[0]):
        for i in range(plane.shape[1]):
            target[j, i] = np.uint8(np.rint(min(max(plane[j, i], np.float32(0)), np.float32(255))))


@compiled
def influence(places: np.ndarray, centres: np.ndarray, weights: np.ndarray, radius: float) -> np.ndarray:
    """Sum what K centres contribute to N places by `operators.exemplar.warp.kernel`: float32[N, 2].

    Args:
        places: float32[N, 2], pixels.
        centres: float32[K, 2], pixels.
        weights: float32[K, 2], of the centres.
        radius: pixels.
    """
    across, down = places[:, 0].copy(), places[:, 1].copy()
    sums = np.zeros((2, len(places)), np.float32)
    one, four, scale = np.float32(1), np.float32(4), np.float32(1 / radius)
    for k in range(len(centres)):
        x, y = centres[k, 0], centres[k, 1]
        for n in range(len(places)):
            apart_x, apart_y = across[n] - x, down[n] - y
            r = min(np.sqrt(apart_x * apart_x + apart_y * apart_y) * scale, one)
            s = (one - r) * (one - r)
            value = s * s * (four * r + one)
            sums[0, n] += value * weights[k, 0]
            sums[1, n] += value * weights[k, 1]
    return sums.T.copy()
