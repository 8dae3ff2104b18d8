"""Soft masks in a crop: region of the exemplar's pixels, skin that both pictures show. Used by `composite`,
`jaw` and `still`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

from operators.exemplar.warp import face_axes, positions
from operators.faces.geometry import CHIN, OUTER_LIPS
from operators.numeric.halving import halved, halved_to

Box = tuple[int, int, int, int]

#: Lips are covered with a margin: their outline, grown from its middle; and what of the target's own is left beside it, by face units.
LIPS_GROWN, LEFT_GROWN = 1.12, 0.08
#: Cells (width, height) of the grid over the mouth's region on which tones are compared.
TONE_CELLS = (24, 20)
#: Soft edge around what must stay as it is, as a share of the face's unit.
SOFT = 0.08


@dataclasses.dataclass(frozen=True)
class MaskOptions:
    """Region that shows the exemplar's pixels, in fractions of the face unit or of the gaps between features.

    Attributes:
        side: beyond the corners of the mouth, face units.
        up: share of the gap between upper lip and nose.
        down: share of the gap between lower lip and chin.
        feather: softness (Gaussian sigma) of the border, face units.
        levels: levels of the blending pyramid at most.
    """

    side: float = 0.20
    up: float = 0.55
    down: float = 0.60
    feather: float = 0.05
    levels: int = 4


@dataclasses.dataclass(frozen=True)
class MouthMask:
    """Masks of the mouth region inside its own crop.

    Attributes:
        box: x1, y1, x2, y2 relative to the face's crop, even where they are not its own.
        weight: float32[h, w], share of the exemplar, 1 on the lips, 0 outside.
        grain: float32[h, w], its share of the finest detail.
        reach: float32[h, w], where blending may change pixels at all; 1 wherever weight is not 0, smoothly 0
            at the border.
        skin: float32[gh, gw] of `TONE_CELLS`, skin around the mouth that both pictures show.
    """

    box: Box
    weight: np.ndarray
    grain: np.ndarray
    reach: np.ndarray
    skin: np.ndarray


def mouth_mask(shape: np.ndarray, crop: Box, unit: float, options: MaskOptions) -> MouthMask | None:
    """Masks around the wanted mouth; None where the crop does not show it."""
    right, down = face_axes(shape)
    corners = shape[[48, 54]].astype(np.float64)
    centre = corners.mean(0)
    along = shape[OUTER_LIPS] - centre
    top, bottom = float((along @ down).min()), float((along @ down).max())
    nose, chin = float((shape[33] - centre) @ down), float((shape[CHIN] - centre) @ down)
    up = top - options.up * max(top - nose, 0.0)
    low = bottom + options.down * max(chin - bottom, 0.0)
    half = float(np.abs(along @ right).max()) + options.side * unit
    feather = options.feather * unit

    def outline(grow: float) -> np.ndarray:
        """A closed curve of two half ellipses, grown by pixels."""
        angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        height = np.where(np.sin(angle) < 0, -(up - grow), low + grow)
        return (
            centre + np.outer(np.cos(angle) * (half + grow), right) + np.outer(np.sin(angle) * height, down)
        )

    outer = outline(2.4 * feather)
    pad = 3 * feather + 2
    origin = np.array(crop[:2])
    first = np.maximum(np.floor(outer.min(0) - pad).astype(int) - origin, 0)
    last = np.minimum(
        np.ceil(outer.max(0) + pad).astype(int) + 1 - origin, [crop[2] - crop[0], crop[3] - crop[1]]
    )
    if (last - first).min() < 8:
        return None
    first -= first % 2
    last = np.minimum(last + last % 2, [crop[2] - crop[0], crop[3] - crop[1]])
    box = (int(first[0]), int(first[1]), int(last[0]), int(last[1]))
    size, shift = (box[2] - box[0], box[3] - box[1]), origin + first
    lips = shape[OUTER_LIPS] - shift
    weight = fill(outline(0) - shift, size, feather)
    # Lips and what is between them are the exemplar's alone, however narrow the gaps to nose and chin are.
    mid = lips.mean(0)
    core, grown = mid + (lips - mid) * LIPS_GROWN, mid + (lips - mid) * 1.3
    a, b, c, d = _around(np.concatenate([core, grown]), 0.17 * unit, size)
    part, corner, near = np.s_[b:d, a:c], np.array([a, b]), (c - a, d - b)
    weight[part] = np.maximum(weight[part], fill(core - corner, near, 0.02 * unit))
    # The finest detail of the skin is grain: the target's own, or a mouth held for some frames would stand
    # still in moving noise.
    grain = np.zeros_like(weight)
    grain[part] = np.minimum(fill(grown - corner, near, 0.04 * unit), weight[part])
    reach = np.minimum(fill(outer - shift, size, feather), 1)
    ring = cells(inside(outline(1.5 * feather) - shift, size)).astype(np.float32) / 255
    skin = ring * (1 - cells(inside(mid + (lips - mid) * 1.18, size)).astype(np.float32) / 255)
    return MouthMask(box, weight, grain, reach, skin)


def over_own_lips(
    mask: MouthMask, lips: np.ndarray, dx: np.ndarray, dy: np.ndarray, unit: float
) -> MouthMask:
    """The same masks, over the target's own lips as well, where its displacement leaves them beside the wanted ones: a mouth that
    was wide open cannot be squeezed shut without folds.

    Args:
        mask: around the wanted mouth.
        lips: float[12, 2], outer lips of the target frame, in its crop.
        dx, dy: float32[h, w], from each pixel of the crop to where it comes from.
        unit: the face's size in pixels.
    """
    x1, y1, x2, y2 = mask.box
    region, middle = np.s_[y1:y2, x1:x2], lips.mean(0)
    outline = middle + (lips - middle) * LIPS_GROWN
    first = np.floor(outline.min(0)).astype(int) - 1
    width, height = np.ceil(outline.max(0)).astype(int) + 2 - first
    own = fill(outline - first, (int(width), int(height)), 0)
    # No pixel shows what is farther from it than the largest displacement.
    farthest = max(cv2.norm(one[region], cv2.NORM_INF) for one in (dx, dy))
    a, b, c, d = _around(outline - [x1, y1], farthest + 2, (x2 - x1, y2 - y1))
    part = np.s_[b:d, a:c]
    maps = positions(dx[region][part], dy[region][part], (x1 + a - int(first[0]), y1 + b - int(first[1])))
    seen = cv2.remap(own, *maps, cv2.INTER_LINEAR) > mask.grain[part] + 0.5
    if not seen.any():
        return mask
    left = np.zeros(mask.grain.shape, np.uint8)
    left[part] = seen
    reach = max(1, round(LEFT_GROWN * unit))
    grown = cv2.dilate(left, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)).astype(
        np.float32
    )
    own = np.minimum(cv2.GaussianBlur(grown, (0, 0), max(0.5 * reach, 0.3)), mask.reach)
    return dataclasses.replace(
        mask,
        weight=np.maximum(mask.weight, own),
        grain=np.maximum(mask.grain, own),
        skin=mask.skin * (1 - cells(own)),
    )


def _around(points: np.ndarray, margin: float, size: tuple[int, int]) -> Box:
    """Box around points float[K, 2] and ``margin`` pixels more, as far as a picture of that size goes; of one pixel at least."""
    low = np.clip(np.floor(points.min(0) - margin).astype(int), 0, np.array(size) - 1)
    high = np.clip(np.ceil(points.max(0) + margin).astype(int) + 1, low + 1, size)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def inside(outline: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8[h, w]: 255 inside of a closed curve float[K, 2] (sub-pixel), 0 outside."""
    mask = np.zeros(size[::-1], np.uint8)
    cv2.fillPoly(mask, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return mask


def fill(outline: np.ndarray, size: tuple[int, int], sigma: float) -> np.ndarray:
    """float32[h, w] 0..1: inside of a closed curve float[K, 2] (sub-pixel), softened by a Gaussian of
    ``sigma`` pixels.
    """
    # A wide blur has no detail: it is computed small and spread, so that its cost does not grow with its
    # width.
    shrink = 1 << max(0, int(np.log2(max(sigma, 1.0) / 2.5)))
    small = (-(-size[0] // shrink), -(-size[1] // shrink))
    whole = (small[0] * shrink, small[1] * shrink)
    soft: np.ndarray = halved_to(inside(outline, whole), small).astype(np.float32) * np.float32(1 / 255)
    if sigma > 0.3:
        soft = cv2.GaussianBlur(soft, (0, 0), sigma / shrink)
    if shrink > 1:
        soft = cv2.resize(soft, whole, interpolation=cv2.INTER_LINEAR)[: size[1], : size[0]]
    return soft


def cells(picture: np.ndarray) -> np.ndarray:
    """A picture (float32 or uint8 [h, w] or [h, w, c]) averaged into `TONE_CELLS`, same dtype."""
    # By halves first: OpenCV takes many times as long for sizes that are no multiples.
    while min(picture.shape[0] / TONE_CELLS[1], picture.shape[1] / TONE_CELLS[0]) >= 8:
        picture = halved(picture)
    return cv2.resize(picture, TONE_CELLS, interpolation=cv2.INTER_AREA)


def kept_in_place(lines: Sequence[Box], box: Box, unit: float) -> np.ndarray:
    """Share of each pixel that must stay as it is.

    Args:
        lines: boxes in the picture.
        box: the crop, in the picture.
        unit: the face's size in pixels.

    Returns:
        float32[h, w] of the crop: 1 on the lines, softly 0 around them.
    """
    height, width = box[3] - box[1], box[2] - box[0]
    keep = np.zeros((height, width), np.float32)
    for x1, y1, x2, y2 in lines:
        keep[max(0, y1 - box[1]) : max(0, y2 - box[1]), max(0, x1 - box[0]) : max(0, x2 - box[0])] = 1
    reach = max(1, round(SOFT * unit))
    grown = cv2.dilate(keep, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    return np.maximum(keep, cv2.GaussianBlur(grown, (0, 0), 0.5 * reach))


def lip_mask(faces: Sequence[np.ndarray], box: Box) -> np.ndarray:
    """bool[h, w] of a crop: the mouths of faces float32[68, 2], landmarks in the picture, lips and what is between them."""
    mask = np.zeros((box[3] - box[1], box[2] - box[0]), np.uint8)
    for landmarks in faces:
        cv2.fillPoly(mask, [np.round(landmarks[OUTER_LIPS] - box[:2]).astype(np.int32)], 1)
    return mask.astype(bool)
