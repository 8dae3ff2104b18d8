"""Oriented squares around a face: the clip's upright crop, the aligned 256 crops.

After FFHQ's alignment; see docs/reference.md#2-one-crop-for-the-clip and
docs/reference.md#8-inputs-of-l-net-and-e-net.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter1d

SIZE = 256


def _axes(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre and half x axis, both float[..., 2], of 68 points float[..., 68, 2]."""
    left, right = landmarks[..., 36:42, :].mean(-2), landmarks[..., 42:48, :].mean(-2)
    eyes = (left + right) / 2
    between = right - left
    to_mouth = (landmarks[..., 48, :] + landmarks[..., 54, :]) / 2 - eyes
    x = between - np.flip(to_mouth, -1) * [-1, 1]
    x = x / np.linalg.norm(x, axis=-1, keepdims=True)
    reach = np.maximum(np.linalg.norm(between, axis=-1) * 2.0, np.linalg.norm(to_mouth, axis=-1) * 1.8)
    return eyes + to_mouth * 0.1, x * reach[..., None]


def _corners(centre: np.ndarray, x: np.ndarray) -> np.ndarray:
    """float[..., 4, 2]: the corners c - x - y, c - x + y, c + x + y, c + x - y."""
    y = np.flip(x, -1) * [-1, 1]
    return np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y], -2)


def oriented_crops(
    landmarks: np.ndarray, *, centre_sigma: float = 0, axes_sigma: float = 0, scale: float = 1.0
) -> np.ndarray:
    """Oriented square of each frame.

    Args:
        landmarks: float[T, 68, 2] pixels.
        centre_sigma: Gaussian smoothing of the centre over time, frames (0 as in the original: none).
        axes_sigma: the same for the axes.
        scale: of the square's sides.

    Returns:
        float64[T, 4, 2]: upper left, lower left, lower right, upper right.
    """
    centre, x = _axes(landmarks)
    x = x * scale
    y = np.flip(x, -1) * [-1, 1]
    if centre_sigma:
        centre = gaussian_filter1d(centre, centre_sigma, axis=0)
    if axes_sigma:
        x, y = gaussian_filter1d(x, axes_sigma, axis=0), gaussian_filter1d(y, axes_sigma, axis=0)
    return np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y], -2).astype(np.float64)


@dataclass(frozen=True)
class ClipCrop:
    """The upright crop of a clip: ``crop`` clx, cly, crx, cry; ``quad`` lx, ly, rx, ry in it; ``box`` oy1,
    oy2, ox1, ox2 in the frame.
    """

    crop: tuple[int, int, int, int]
    quad: tuple[float, float, float, float]
    box: tuple[int, int, int, int]


def clip_crop(landmarks: np.ndarray, width: int, height: int) -> ClipCrop:
    """The crop that the original cuts from every frame of a clip, from the landmarks of one frame.

    Quirks kept: faces wider than about 2048 px give coordinates of the shrunken picture, and ry is limited by
        the width.

    Args:
        landmarks: int64[68, 2] of dlib.
        width: of the frame.
        height: of the frame.
    """
    frame_width, frame_height = width, height
    centre, x = _axes(landmarks.astype(np.float64))
    quad, size = _corners(centre, x), 2 * float(np.linalg.norm(x))
    shrink = int(np.floor(size / 512 * 0.5))
    if shrink > 1:
        width, height = int(np.rint(width / shrink)), int(np.rint(height / shrink))
        quad, size = quad / shrink, size / shrink
    border = max(int(np.rint(size * 0.1)), 3)
    low, high = np.floor(quad.min(0)).astype(int), np.ceil(quad.max(0)).astype(int)
    clx, cly = max(int(low[0]) - border, 0), max(int(low[1]) - border, 0)
    crx, cry = min(int(high[0]) + border, width), min(int(high[1]) + border, height)
    if crx - clx < width or cry - cly < height:
        quad = quad - [clx, cly]
    q = (quad + 0.5).reshape(8)
    lx, ly = max(min(q[0], q[2]), 0), max(min(q[1], q[7]), 0)
    rx, ry = min(max(q[4], q[6]), width), min(max(q[3], q[5]), width)
    box = (cly + int(ly), min(cly + int(ry), frame_height), clx + int(lx), min(clx + int(rx), frame_width))
    return ClipCrop((clx, cly, crx, cry), (float(lx), float(ly), float(rx), float(ry)), box)


def aligned_crop(picture: np.ndarray, quad: np.ndarray) -> np.ndarray:
    """The oriented square as a 256 x 256 picture.

    Args:
        picture: uint8[h, w, 3].
        quad: float64[4, 2] in its pixels.

    Returns:
        uint8[256, 256, 3], bilinear, black outside the picture.
    """
    image, quad = Image.fromarray(picture), quad.astype(np.float64)
    size = float(np.hypot(*(quad[3] - quad[0])))
    shrink = int(np.floor(size / SIZE * 0.5))
    if shrink > 1:
        image = image.resize(
            (int(np.rint(image.width / shrink)), int(np.rint(image.height / shrink))),
            Image.Resampling.LANCZOS,
        )
        quad, size = quad / shrink, size / shrink
    border = max(int(np.rint(size * 0.1)), 3)
    low, high = np.floor(quad.min(0)).astype(int) - border, np.ceil(quad.max(0)).astype(int) + border
    low, high = np.maximum(low, 0), np.minimum(high, [image.width, image.height])
    if (high - low < [image.width, image.height]).any():
        image, quad = image.crop((*low, *high)), quad - low
    data = tuple(float(v) for v in (quad + 0.5).reshape(8))
    return np.asarray(image.transform((SIZE, SIZE), Image.Transform.QUAD, data, Image.Resampling.BILINEAR))


def inverse_perspective(quad: np.ndarray) -> np.ndarray:
    """Perspective that finds, for a pixel of the picture, its place in the aligned crop.

    Args:
        quad: float64[4, 2].

    Returns:
        float64[8]: coefficients as Pillow's PERSPECTIVE transform takes them.
    """
    points, corners = quad + 0.5, [(0, 0), (0, SIZE), (SIZE, SIZE), (SIZE, 0)]
    rows = []
    for (x, y), (u, v) in zip(points, corners, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    matrix, target = np.array(rows, np.float64), np.array(corners, np.float64).reshape(8)
    return np.linalg.solve(matrix.T @ matrix, matrix.T @ target)


def paste_aligned(picture: np.ndarray, crop: np.ndarray, perspective: np.ndarray) -> np.ndarray:
    """Lay an aligned crop back over the picture it came from.

    Args:
        picture: uint8[h, w, 3].
        crop: uint8[256, 256, 3].
        perspective: `inverse_perspective` of its quad.

    Returns:
        uint8[h, w, 3].
    """
    base = Image.fromarray(picture).convert("RGBA")
    data = tuple(float(v) for v in perspective)
    projected = (
        Image.fromarray(crop)
        .convert("RGBA")
        .transform(base.size, Image.Transform.PERSPECTIVE, data, Image.Resampling.BILINEAR)
    )
    base.paste(projected, (0, 0), mask=projected)
    return np.asarray(base.convert("RGB"))
