"""3DMM coefficients: their layout, and the 26-frame windows that D-Net reads.

See docs/reference.md#4-3dmm-coefficients and docs/reference.md#5-d-net.
"""

from __future__ import annotations

import numpy as np

#: Parts of the network's 257 numbers, in order.
PARTS = {"id": 80, "exp": 64, "tex": 80, "angle": 3, "gamma": 27, "trans": 3}
_ENDS = np.cumsum(list(PARTS.values()))
SLICES = {
    name: slice(int(end) - size, int(end)) for (name, size), end in zip(PARTS.items(), _ENDS, strict=True)
}
#: Columns 257 ... 261 of a row: width, height, scale, tx, ty of the crop (`operators.retalk.align3d.align`).
SCALE, SHIFT = 259, slice(260, 262)
#: Frames of a window before and after the frame itself.
BEFORE, AFTER = 13, 12


def split(coefficients: np.ndarray) -> dict[str, np.ndarray]:
    """The named parts, float[..., size] each, of float[..., 257]."""
    return {name: coefficients[..., part] for name, part in SLICES.items()}


def window_indices(frame: int, frames: int) -> np.ndarray:
    """int64[26]: frame - 13 ... frame + 12, clamped to 0 ... frames - 1."""
    return np.clip(np.arange(frame - BEFORE, frame + AFTER + 1), 0, frames - 1)


def crop_ratio(source: np.ndarray, targets: np.ndarray) -> np.float32:
    """Scale of the source's crop over that of the target row most like it (0.3 of expression, 0.7 of angle,
    mean absolute difference).

    Args:
        source: float32[262], the row of the frame that is re-rendered.
        targets: float32[T, 262].
    """
    expression = np.abs(targets[:, SLICES["exp"]] - source[SLICES["exp"]]).mean(1)
    angle = np.abs(targets[:, SLICES["angle"]] - source[SLICES["angle"]]).mean(1)
    nearest = int(np.argmin(0.3 * expression + 0.7 * angle))
    return source[SCALE] / targets[nearest, SCALE]


def window(rows: np.ndarray, frame: int, ratio: float, expression: np.ndarray | None = None) -> np.ndarray:
    """D-Net's input for one frame.

    Args:
        rows: float32[T, 262] of the whole title (or of a segment with its halo: indices are then the
            segment's and must not clamp early).
        frame: index in ``rows``.
        ratio: `crop_ratio`, multiplied into the scale.
        expression: float32[64] that replaces every frame's own expression, None to keep them.

    Returns:
        float32[73, 26]: expression 64, angle 3, translation 3, scale, tx, ty.
    """
    picked = rows[window_indices(frame, len(rows))]
    parts = [picked[:, SLICES["exp"]], picked[:, SLICES["angle"]], picked[:, SLICES["trans"]]]
    columns = np.concatenate(
        [*parts, picked[:, SCALE : SCALE + 1] * np.float32(ratio), picked[:, SHIFT]], axis=1
    ).T.astype(np.float32)
    if expression is not None:
        columns[:64] = np.asarray(expression, np.float32)[:, None]
    return columns
