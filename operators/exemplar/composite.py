"""One output frame's lower face: the target's own skin follows the wanted jaw, the exemplar's mouth is blended over it.

Pure functions of pixels and landmarks, in a crop at native resolution, RGB. Used by `render_stage`. The order of things follows Bregler et
al. 1997 (Video Rewrite) and Burt and Adelson 1983 (blending in a Laplacian pyramid); the reasons are in exemplar-engine.md.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import cv2
import numpy as np

from operators.exemplar.occlusion import covered
from operators.exemplar.patches import Patch
from operators.exemplar.warp import Field, face_axes, face_unit, grid_nodes, order_lips, similarity, solve_field, unfold
from operators.faces.geometry import CHIN, JAW, MOUTH, NOSE, OUTER_LIPS

Box = tuple[int, int, int, int]

#: Landmarks that carry the exemplar's patch over: those around the mouth, which the patch shows.
PATCH_POINTS = np.array([*range(3, 14), *range(31, 36), *range(48, 68)])
#: Cells (width, height) of the grid on which the exemplar's tone is fitted to the target's.
TONE_CELLS = (24, 20)
#: Farthest that the jaw's outline is moved, face units.
MOST_JAW = 0.2
#: What is left of a join's jump from one frame to the next, and how much of it is smoothed on lips and teeth (1: as on the skin).
ECHO_DECAY, ECHO_INSIDE = 0.6, 0.3


@dataclasses.dataclass(frozen=True)
class MaskOptions:
    """Where the exemplar's pixels go, in fractions of the face unit or of the gaps between features.

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
class Memory:
    """What one frame leaves to the next, each on `TONE_CELLS` over the mouth's region: float32[gh, gw, 3].

    Attributes:
        tone: log gains of the exemplar, averaged over its run so far.
        shown: what was shown, minus the target's own face.
        echo: how far ``shown`` is held back towards the run before; it dies away.
    """

    tone: np.ndarray
    shown: np.ndarray
    echo: np.ndarray


@dataclasses.dataclass(frozen=True)
class Composite:
    """What is pasted.

    Attributes:
        rgb: uint8[h, w, 3].
        alpha: float32[h, w], 0..1, exactly 0 on the crop's border where that is not the picture's own.
        memory: for the next frame; None where the crop shows no mouth.
    """

    rgb: np.ndarray
    alpha: np.ndarray
    memory: Memory | None = None


def face_box(landmarks: np.ndarray, shape: np.ndarray, size: tuple[int, int]) -> Box:
    """The crop of the target frame in which pixels may change: lower face and the neck below it, x1, y1, x2, y2 inside the picture."""
    unit = face_unit(landmarks)
    points = np.concatenate([landmarks[JAW], shape[JAW], landmarks[MOUTH], shape[MOUTH], landmarks[29:36]])
    low = np.floor(points.min(0) - 0.25 * unit)
    high = np.ceil(points.max(0) + 0.25 * unit)
    # What is above the tip of the nose never changes.
    low[1] = np.floor(min(landmarks[28:31, 1].min(), min(landmarks[MOUTH, 1].min(), shape[MOUTH, 1].min()) - 0.25 * unit))
    high[1] = np.ceil(points[:, 1].max() + 0.42 * unit)
    x1, y1 = (int(max(0, v)) for v in low)
    x2, y2 = int(min(size[0], high[0])), int(min(size[1], high[1]))
    return x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)


def base_points(landmarks: np.ndarray, shape: np.ndarray, unit: float, mouth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Control points of the target's own face in the wanted shape and where each comes from, relative to it: float[K, 2] twice.

    The jaw and the landmarks ``mouth`` (indices) move; nose, eyes and a rim around the jaw stay.
    """
    # The jaw's line slides along the cheeks without anything moving there: only what is below the corners of the mouth follows the wish.
    taper = np.clip((np.minimum(np.arange(17), np.arange(17)[::-1]) - 1) / 4, 0, 1)[:, None]
    moves = landmarks - shape
    jaw = moves[JAW] * taper
    # Closing a mouth that yawns would pull up a neck that the frame does not show: beyond a fifth of the face unit the chin lags behind.
    length = np.linalg.norm(jaw, axis=1, keepdims=True) / (MOST_JAW * unit)
    jaw = jaw / (1 + length**4) ** 0.25
    shape = np.concatenate([landmarks[JAW] - jaw, shape[17:]])
    still = np.concatenate([shape[NOSE], shape[[36, 40, 41, 45, 46, 47]], rim(landmarks, shape, unit)])
    return (
        np.concatenate([shape[JAW], shape[mouth], still]),
        np.concatenate([jaw, moves[mouth], np.zeros_like(still)]),
    )


def base_field(landmarks: np.ndarray, shape: np.ndarray, box: Box, size: tuple[int, int]) -> Field:
    """How the target's own face moves: its landmarks go to ``shape``, nose, eyes and surroundings stay; zero on the crop's border."""
    unit = face_unit(landmarks)
    crop = (box[2] - box[0], box[3] - box[1])
    nodes = grid_nodes(crop, max(4.0, unit / 22))
    points, moves = base_points(landmarks, shape, unit, MOUTH)
    field = solve_field(points - np.array(box[:2], np.float32), moves, nodes, crop, 0.9 * unit)
    return unfold(Field(field.grid * moving_region(nodes, landmarks, shape, box, size, unit), crop))


def rim(landmarks: np.ndarray, shape: np.ndarray, unit: float, beyond: float = 0.0) -> np.ndarray:
    """Points around the jaw that must not move with it: float[13, 2], outwards of jaw points 2 to 14.

    They lie beyond the jaw as it was and as it will be, so that no second chin stays behind, and farther out where the jaw comes towards
    them, so that what is between is not crushed; but no farther than need be: collars and microphones do not move when a mouth does.
    ``beyond`` moves them outwards by face units.
    """
    jaw, before = shape[2:15], landmarks[2:15]
    outward = jaw - shape[30]
    outward = outward / np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-6)
    comes = ((jaw - before) * outward).sum(1)
    below = 1 - np.abs(np.arange(13) - 6) / 6
    distance = np.maximum(-comes, 0) + 1.4 * np.maximum(comes, 0) + unit * (0.20 + 0.06 * below + beyond)
    return jaw + outward * distance[:, None]


def moving_region(nodes: np.ndarray, landmarks: np.ndarray, shape: np.ndarray, box: Box, size: tuple[int, int], unit: float) -> np.ndarray:
    """Where the target's own face may move: float32[gh, gw, 1], smoothly 0 above the nose's base, beyond the rim, on the crop's border.

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
    heights = (nodes + np.array(box[:2]) - landmarks[30]) @ down / max(float((landmarks[33] - landmarks[30]) @ down), 0.1 * unit) - 0.3
    outline = np.concatenate([rim(landmarks, shape, unit, 0.1), shape[[16, 27, 0]]]) - np.array(box[:2])
    step = (nodes[-1, -1] - nodes[0, 0]) / (np.array(x.shape[::-1]) - 1)
    around = fill(outline / step, (x.shape[1], x.shape[0]), float(0.06 * unit / step.mean()))
    return (smoothstep(distance / width) * smoothstep(heights) * smoothstep(around * 1.6 - 0.1))[..., None].astype(np.float32)


def smoothstep(value: Any) -> Any:
    """3t^2 - 2t^3 of the value clipped to 0..1."""
    t = np.clip(value, 0, 1)
    return t * t * (3 - 2 * t)


@dataclasses.dataclass(frozen=True)
class MouthMask:
    """Masks of the mouth region inside its own crop.

    Attributes:
        box: x1, y1, x2, y2 relative to the face's crop.
        weight: float32[h, w], share of the exemplar, 1 on the lips, 0 outside.
        grain: float32[h, w], its share of the finest detail.
        reach: float32[h, w], where blending may change pixels at all; 1 wherever weight is not 0, smoothly 0 at the border.
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
        return centre + np.outer(np.cos(angle) * (half + grow), right) + np.outer(np.sin(angle) * height, down)

    outer = outline(2.4 * feather)
    pad = 3 * feather + 2
    origin = np.array(crop[:2])
    first = np.maximum(np.floor(outer.min(0) - pad).astype(int) - origin, 0)
    last = np.minimum(np.ceil(outer.max(0) + pad).astype(int) + 1 - origin, [crop[2] - crop[0], crop[3] - crop[1]])
    if (last - first).min() < 8:
        return None
    box = (int(first[0]), int(first[1]), int(last[0]), int(last[1]))
    size, shift = (box[2] - box[0], box[3] - box[1]), origin + first
    lips = shape[OUTER_LIPS] - shift
    weight = fill(outline(0) - shift, size, feather)
    # Lips and what is between them are the exemplar's alone, however narrow the gaps to nose and chin are.
    mid = lips.mean(0)
    core = fill(mid + (lips - mid) * 1.12, size, 0.02 * unit)
    weight = np.maximum(weight, core)
    # The finest detail of the skin is grain: the target's own, or a mouth held for some frames would stand still in moving noise.
    grain = np.minimum(fill(mid + (lips - mid) * 1.3, size, 0.04 * unit), weight)
    reach = np.minimum(fill(outer - shift, size, feather), 1)
    skin = cells(fill(outline(1.5 * feather) - shift, size, 0)) * (1 - cells(fill(mid + (lips - mid) * 1.18, size, 0)))
    return MouthMask(box, weight, grain, reach, skin)


def fill(outline: np.ndarray, size: tuple[int, int], sigma: float) -> np.ndarray:
    """float32[h, w] 0..1: inside of a closed curve float[K, 2] (sub-pixel), softened by a Gaussian of ``sigma`` pixels."""
    # A wide blur has no detail: it is drawn small and spread, so that its cost does not grow with its width.
    shrink = 1 << max(0, int(np.log2(max(sigma, 1.0) / 3.0)))
    small = (-(-size[0] // shrink), -(-size[1] // shrink))
    mask = np.zeros(small[::-1], np.uint8)
    points = (outline + 0.5) / shrink - 0.5
    cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    soft: np.ndarray = mask.astype(np.float32) * np.float32(1 / 255)
    if sigma > 0.3:
        soft = cv2.GaussianBlur(soft, (0, 0), sigma / shrink)
    if shrink > 1:
        soft = cv2.resize(soft, (small[0] * shrink, small[1] * shrink), interpolation=cv2.INTER_LINEAR)[: size[1], : size[0]]
    return soft


def cells(picture: np.ndarray) -> np.ndarray:
    """A picture (float32[h, w] or [h, w, 3]) averaged into `TONE_CELLS`."""
    return cv2.resize(picture, TONE_CELLS, interpolation=cv2.INTER_AREA)


def fit_tone(base: np.ndarray, patch: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """Gains that give the exemplar the target's light: log ratio on the skin around the mouth, carried smoothly across the lips.

    Args:
        base, patch: float32[h, w, 3], RGB 0..255, the same face points at the same places.
        skin: float32[gh, gw], weight of each of `TONE_CELLS`.

    Returns:
        float32[gh, gw, 3], natural log of the gain.
    """
    own: np.ndarray = cells(base) + 4
    other: np.ndarray = cells(patch) + 4
    apart = np.log(own / other).mean(-1)
    seen = apart[skin > 0.5]
    # Cells that the ring as a whole does not bear out show a shadow that moved, a fold, or something before the face: they count little.
    usual = np.float32(np.median(seen) if len(seen) else 0)
    weight: np.ndarray = (skin / (1 + ((apart - usual) / np.float32(0.2)) ** 2) + np.float32(1e-4))[..., None]
    mass, few = cv2.GaussianBlur(weight, (0, 0), 3.0)[..., None], np.float32(0.02)
    sums = [picture * weight for picture in (own, other)]
    # Where no skin is near, the whole ring decides.
    level = [(cv2.GaussianBlur(s, (0, 0), 3.0) + few * s.sum((0, 1)) / weight.sum()) / (mass + few) for s in sums]
    return np.clip(np.log(level[0] / level[1]), -0.7, 0.7).astype(np.float32)


def patch_positions(shape: np.ndarray, patch: Patch, box: Box, unit: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`cv2.remap` maps that bring an exemplar's patch to the wanted shape, and where that patch has pixels: float32[h, w] each.

    Args:
        shape: float32[68, 2], upright pixels of the target frame.
        patch: the exemplar.
        box: x1, y1, x2, y2 of the region to fill, upright pixels.
        unit: the face's size in pixels.
    """
    there = order_lips(patch.landmarks)
    motion = similarity(shape[PATCH_POINTS], there[PATCH_POINTS])
    back = similarity(there[PATCH_POINTS], shape[PATCH_POINTS])
    moves = there[PATCH_POINTS] @ back[:, :2].T + back[:, 2] - shape[PATCH_POINTS]
    crop = (box[2] - box[0], box[3] - box[1])
    nodes = grid_nodes(crop, max(3.0, unit / 32))
    field = unfold(solve_field(shape[PATCH_POINTS] - np.array(box[:2]), moves, nodes, crop, 0.9 * unit))
    # Both the grid's positions and the head's motion are affine between nodes: apply the motion there, then spread.
    there_nodes = (field.grid + nodes + np.array(box[:2])) @ motion[:, :2].T + motion[:, 2]
    there_nodes = (there_nodes - patch.origin) * patch.scale
    last = np.array(patch.rgb.shape[1::-1]) - 1
    inside = np.clip(np.minimum(there_nodes, last - there_nodes).min(-1) / (0.03 * unit * patch.scale) + 1, 0, 1)
    shown = cv2.resize(inside.astype(np.float32), crop, interpolation=cv2.INTER_LINEAR)
    return *Field(there_nodes.astype(np.float32), crop).dense(), shown


def pyramid_blend(difference: np.ndarray, weight: np.ndarray, grain: np.ndarray, levels: int) -> np.ndarray:
    """What of a difference picture is added to the base: each band of its Laplacian pyramid by the mask at that band's resolution.

    Args:
        difference: float32[h, w, 3].
        weight: float32[h, w].
        grain: float32[h, w], the mask of the finest band.
        levels: bands; the coarsest holds the rest.
    """
    steps = []
    for level in range(levels):
        size = (difference.shape[1], difference.shape[0])
        coarse = cv2.pyrDown(difference)
        steps.append((difference - cv2.pyrUp(coarse, dstsize=size)) * (weight if level else grain)[..., None])
        difference, weight = coarse, cv2.pyrDown(weight)
    result = difference * weight[..., None]
    for band in reversed(steps):
        result = cv2.pyrUp(result, dstsize=(band.shape[1], band.shape[0])) + band
    return result


def remember(base: np.ndarray, mouth: np.ndarray, skin: np.ndarray, tone: np.ndarray, memory: Memory | None, joined: bool) -> Memory:
    """The next frame's `Memory`.

    At a join the skin's light would jump by what the two exemplars differ in. It starts where it was and glides to where it belongs
    (inertial blending): only what is broader than a cell and mostly the skin, so that neither teeth nor lips are ever seen twice.
    """
    shown = cells(mouth) - cells(base)
    if memory is None:
        return Memory(tone, shown, np.zeros_like(shown))
    echo = memory.echo * np.float32(ECHO_DECAY)
    if joined:
        weight = ECHO_INSIDE + (1 - ECHO_INSIDE) * skin[..., None]
        echo = echo + (memory.shown - shown - echo) * weight * np.float32(ECHO_DECAY)
    return Memory(tone, shown + echo, echo)


def composite(
    rgb: np.ndarray,
    box: Box,
    size: tuple[int, int],
    landmarks: np.ndarray,
    shape: np.ndarray,
    patch: Patch,
    blend: float = 1.0,
    memory: Memory | None = None,
    joined: bool = False,
    options: MaskOptions | None = None,
) -> Composite:
    """Render one frame's lower face.

    Args:
        rgb: uint8[h, w, 3], the target frame's crop `face_box`.
        box: that box, upright pixels.
        size: width and height of the whole picture.
        landmarks: float32[68, 2] of the target frame.
        shape: float32[68, 2], landmarks wanted there.
        patch: the exemplar.
        blend: 0..1, share of the exemplar's pixels; the rest is the target's own mouth, moved to ``shape`` as well.
        memory: of the output frame before; None if that one was not drawn.
        joined: this exemplar does not follow the one before in the footage.
        options: the mask.
    """
    options = options or MaskOptions()
    unit = face_unit(landmarks)
    shape = order_lips(shape)
    field = base_field(order_lips(landmarks), shape, box, size)
    dx, dy = field.dense()
    alpha = smoothstep((np.maximum(abs(dx), abs(dy)) - 0.05) * 4)
    result = cv2.remap(rgb, *field.positions(), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    mask = mouth_mask(shape, box, unit, options)
    if mask is None:
        return Composite(result, alpha)
    x1, y1, x2, y2 = mask.box
    region = np.s_[y1:y2, x1:x2]
    base = result[region].astype(np.float32)
    place = (box[0] + x1, box[1] + y1, box[0] + x2, box[1] + y2)
    map_x, map_y, shown = patch_positions(shape, patch, place, unit)
    mouth = cv2.remap(patch.rgb, map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    tone = fit_tone(base, mouth, mask.skin)
    if memory is not None and not joined:
        tone = (tone + memory.tone) / 2
    mouth *= spread(np.exp(tone), mouth)
    memory = remember(base, mouth, mask.skin, tone, memory, joined)
    # Own and new mouth are seen through one another for as short a time as a smooth start allows; their lips coincide.
    share = shown * float(smoothstep(2.0 * blend - 0.5))
    cover = covered(base, mouth, mask.skin)
    if cover is not None:
        # What hides the face does not move with it: both where the warp took it and where it was, the frame stays as it is.
        own = rgb[region].astype(np.float32)
        still = covered(own, mouth, mask.skin)
        cover = cover if still is None else np.maximum(cover, still)
        share *= 1 - cover
        base += (own - base) * (cover * mask.reach)[..., None]
    mouth += spread(memory.echo, mouth)
    levels = max(0, min(options.levels, int(np.log2(min(x2 - x1, y2 - y1) / 10))))
    added = pyramid_blend(mouth - base, mask.weight * share, mask.grain * share, levels)
    base += added * mask.reach[..., None]
    result[region] = np.clip(base + 0.5, 0, 255).astype(np.uint8)
    alpha[region] = np.maximum(alpha[region], smoothstep(mask.reach * 4))
    return Composite(result, alpha, memory)


def spread(values: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """Values on `TONE_CELLS` over every pixel of a picture: float32[h, w, 3]."""
    return cv2.resize(values, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
