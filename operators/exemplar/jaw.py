"""Movement of the target's own face with the wanted jaw, and its reach. Used by `composite` and `still`."""

from __future__ import annotations

import numpy as np

from operators.exemplar.masks import Box, fill
from operators.exemplar.warp import Field, face_axes, face_unit, grid_nodes, solve_field, unfold
from operators.faces.geometry import JAW, MOUTH, NOSE
from operators.numeric.masks import smoothstep

#: Farthest that the jaw's outline is moved, face units.
MOST_JAW = 0.2


def face_box(landmarks: np.ndarray, shape: np.ndarray, size: tuple[int, int]) -> Box:
    """The crop of the target frame in which pixels may change: lower face and the neck below it, x1, y1, x2,
    y2 inside the picture, even where they are not the picture's own: whole samples of chroma.
    """
    unit = face_unit(landmarks)
    points = np.concatenate([landmarks[JAW], shape[JAW], landmarks[MOUTH], shape[MOUTH], landmarks[29:36]])
    low = np.floor(points.min(0) - 0.25 * unit)
    high = np.ceil(points.max(0) + 0.25 * unit)
    # Nothing above the tip of the nose changes.
    low[1] = np.floor(
        min(landmarks[28:31, 1].min(), min(landmarks[MOUTH, 1].min(), shape[MOUTH, 1].min()) - 0.25 * unit)
    )
    high[1] = np.ceil(points[:, 1].max() + 0.42 * unit)
    x1, y1 = (int(v) & ~1 for v in np.clip(low, 0, np.array(size) - 1))
    x2, y2 = (int(v) for v in np.clip(high, [x1 + 1, y1 + 1], size))
    return x1, y1, _even(x2, x1, size[0]), _even(y2, y1, size[1])


def _even(end: int, start: int, border: int) -> int:
    """The even number at an end or before it, but for the picture's own border."""
    return end if end == border else max(end & ~1, min(start + 2, border))


def base_points(
    landmarks: np.ndarray, shape: np.ndarray, unit: float, mouth: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Control points of the target's own face in the wanted shape and where each comes from, relative to it:
    float[K, 2] twice.

    The jaw and the landmarks ``mouth`` (indices) move; nose, eyes and a rim around the jaw stay.
    """
    # The jaw's line slides along the cheeks without anything moving there: only what is below the corners of
    # the mouth follows the wish.
    taper = np.clip((np.minimum(np.arange(17), np.arange(17)[::-1]) - 1) / 4, 0, 1)[:, None]
    moves = landmarks - shape
    jaw = moves[JAW] * taper
    # Closing a mouth that yawns would pull up a neck that the frame does not show: beyond a fifth of the face
    # unit the chin lags behind.
    length = np.linalg.norm(jaw, axis=1, keepdims=True) / (MOST_JAW * unit)
    jaw = jaw / (1 + length**4) ** 0.25
    shape = np.concatenate([landmarks[JAW] - jaw, shape[17:]])
    still = np.concatenate([shape[NOSE], shape[[36, 40, 41, 45, 46, 47]], rim(landmarks, shape, unit)])
    return (
        np.concatenate([shape[JAW], shape[mouth], still]),
        np.concatenate([jaw, moves[mouth], np.zeros_like(still)]),
    )


def base_field(landmarks: np.ndarray, shape: np.ndarray, box: Box, size: tuple[int, int]) -> Field:
    """Displacement of the target's own face: its landmarks go to ``shape``, nose, eyes and surroundings stay;
    zero on the crop's border.
    """
    unit = face_unit(landmarks)
    crop = (box[2] - box[0], box[3] - box[1])
    nodes = grid_nodes(crop, max(4.0, unit / 22))
    points, moves = base_points(landmarks, shape, unit, MOUTH)
    field = solve_field(points - np.array(box[:2], np.float32), moves, nodes, crop, 0.9 * unit)
    return unfold(Field(field.grid * moving_region(nodes, landmarks, shape, box, size, unit), crop))


def rim(landmarks: np.ndarray, shape: np.ndarray, unit: float, beyond: float = 0.0) -> np.ndarray:
    """Points around the jaw that must not move with it: float[13, 2], outwards of jaw points 2 to 14.

    They lie beyond the jaw as it was and as it will be, so that no second chin stays behind, and farther out
    where the jaw comes towards them, so that what is between is not crushed; but no farther than need be:
    collars and microphones do not move when a mouth does. ``beyond`` moves them outwards by face units.
    """
    jaw, before = shape[2:15], landmarks[2:15]
    outward = jaw - shape[30]
    outward = outward / np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-6)
    comes = ((jaw - before) * outward).sum(1)
    below = 1 - np.abs(np.arange(13) - 6) / 6
    distance = np.maximum(-comes, 0) + 1.4 * np.maximum(comes, 0) + unit * (0.20 + 0.06 * below + beyond)
    return jaw + outward * distance[:, None]


def moving_region(
    nodes: np.ndarray, landmarks: np.ndarray, shape: np.ndarray, box: Box, size: tuple[int, int], unit: float
) -> np.ndarray:
    """Region in which the target's face may move: float32[gh, gw, 1], smoothly 0 above the nose's base,
    beyond the rim, on the border.

    Those sides of the crop that are the picture's own border count as inside.
    """
    x, y = nodes[..., 0], nodes[..., 1]
    width = np.float32(0.12 * unit)
    distance = np.full(x.shape, width, np.float32)
    for inside, at_border in (
        (x, box[0] == 0),
        (x[0, -1] - x, box[2] == size[0]),
        (y, box[1] == 0),
        (y[-1, 0] - y, box[3] == size[1]),
    ):
        if not at_border:
            distance = np.minimum(distance, inside)
    _, down = face_axes(landmarks)
    heights = (nodes + np.array(box[:2]) - landmarks[30]) @ down / max(
        float((landmarks[33] - landmarks[30]) @ down), 0.1 * unit
    ) - 0.3
    outline = np.concatenate([rim(landmarks, shape, unit, 0.1), shape[[16, 27, 0]]]) - np.array(box[:2])
    step = (nodes[-1, -1] - nodes[0, 0]) / (np.array(x.shape[::-1]) - 1)
    around = fill(outline / step, (x.shape[1], x.shape[0]), float(0.06 * unit / step.mean()))
    return (smoothstep(distance / width) * smoothstep(heights) * smoothstep(around * 1.6 - 0.1))[
        ..., None
    ].astype(np.float32)
