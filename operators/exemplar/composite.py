"""One output frame's lower face: the target's own skin follows the wanted jaw, the exemplar's mouth is
blended over it.

Pure functions of pixels and landmarks, in a crop at native resolution, luma and chroma of half the size. Used by `render_stage`. The order
of things follows Bregler et al. 1997 (Video Rewrite) and Burt and Adelson 1983 (blending in a Laplacian
pyramid); see docs/exemplar.md#rendering.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from operators.exemplar.jaw import base_field
from operators.exemplar.masks import Box, MaskOptions, MouthMask, mouth_mask, over_own_lips
from operators.exemplar.occlusion import compared_size, covered, differ
from operators.exemplar.patches import Patch
from operators.exemplar.planes import Planes, colours, gained, parts, warped
from operators.exemplar.warp import (
    Field,
    face_unit,
    grid_nodes,
    order_lips,
    positions,
    solve_field,
    unfold,
)
from operators.faces.geometry import OUTER_LIPS
from operators.media.picture_420 import Picture420
from operators.numeric import pyramid
from operators.numeric.affine import apply, similarity
from operators.numeric.halving import halved
from operators.numeric.masks import smoothstep

#: Landmarks that carry the exemplar's patch over: those around the mouth, which the patch shows.
PATCH_POINTS = np.array([*range(3, 14), *range(31, 36), *range(48, 68)])
#: Displacement in pixels up to which a pixel stays as it is, and from which on it moves as a whole.
MOVED = 0.0625, 0.3125
#: Share of a join's jump that is left from one frame to the next, and the smoothing on lips and teeth (1: as
#: on the skin).
ECHO_DECAY, ECHO_INSIDE = 0.6, 0.3


@dataclasses.dataclass(frozen=True)
class Memory:
    """State carried from one frame to the next, each on `TONE_CELLS` over the mouth's region: float32[gh, gw,
    3].

    Attributes:
        tone: log gains of the exemplar's R'G'B', averaged over its run so far.
        shown: what was shown, minus the target's own face, Y', Cb and Cr.
        echo: how far ``shown`` is held back towards the run before; it dies away.
    """

    tone: np.ndarray
    shown: np.ndarray
    echo: np.ndarray


@dataclasses.dataclass(frozen=True)
class Composite:
    """Result of compositing.

    Attributes:
        picture: the crop.
        alpha: float32[h, w], 0..1, exactly 0 on the crop's border where that is not the picture's own.
        memory: for the next frame; None where the crop shows no mouth.
    """

    picture: Picture420
    alpha: np.ndarray
    memory: Memory | None = None


def fit_tone(base: np.ndarray, patch: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """Gains that give the exemplar the target's light: log ratio on the skin around the mouth, carried
    smoothly across the lips.

    Args:
        base, patch: float32[gh, gw, 3], means over `TONE_CELLS` of RGB 0..255, the same face points at the
            same places.
        skin: float32[gh, gw], weight of each of `TONE_CELLS`.

    Returns:
        float32[gh, gw, 3], natural log of the gain.
    """
    own: np.ndarray = base + 4
    other: np.ndarray = patch + 4
    apart = np.log(own / other).mean(-1)
    seen = apart[skin > 0.5]
    # Cells that the ring as a whole does not bear out show a shadow that moved, a fold, or something before
    # the face: they count little.
    usual = np.float32(np.median(seen) if len(seen) else 0)
    weight: np.ndarray = (skin / (1 + ((apart - usual) / np.float32(0.2)) ** 2) + np.float32(1e-4))[..., None]
    mass, few = cv2.GaussianBlur(weight, (0, 0), 3.0)[..., None], np.float32(0.02)
    sums = [picture * weight for picture in (own, other)]
    # Where no skin is near, the whole ring decides.
    level = [
        (cv2.GaussianBlur(s, (0, 0), 3.0) + few * s.sum((0, 1)) / weight.sum()) / (mass + few) for s in sums
    ]
    return np.clip(np.log(level[0] / level[1]), -0.7, 0.7).astype(np.float32)


def patch_positions(
    shape: np.ndarray, patch: Patch, box: Box, unit: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`cv2.remap` maps that bring an exemplar's patch to the wanted shape, and where that patch has pixels:
    float32[h, w] each.

    Args:
        shape: float32[68, 2], upright pixels of the target frame.
        patch: the exemplar.
        box: x1, y1, x2, y2 of the region to fill, upright pixels.
        unit: the face's size in pixels.
    """
    there = order_lips(patch.landmarks)
    motion = similarity(shape[PATCH_POINTS], there[PATCH_POINTS])
    back = similarity(there[PATCH_POINTS], shape[PATCH_POINTS])
    moves = apply(back, there[PATCH_POINTS]) - shape[PATCH_POINTS]
    crop = (box[2] - box[0], box[3] - box[1])
    nodes = grid_nodes(crop, max(3.0, unit / 32))
    field = unfold(solve_field(shape[PATCH_POINTS] - np.array(box[:2]), moves, nodes, crop, 0.9 * unit))
    # Both the grid's positions and the head's motion are affine between nodes: apply the motion there, then
    # spread.
    there_nodes = apply(motion, field.grid + nodes + np.array(box[:2]))
    there_nodes = (there_nodes - patch.origin) * patch.scale
    last = np.array(patch.size) - 1
    inside = np.clip(
        np.minimum(there_nodes, last - there_nodes).min(-1) / (0.03 * unit * patch.scale) + 1, 0, 1
    )
    shown = cv2.resize(inside.astype(np.float32), crop, interpolation=cv2.INTER_LINEAR)
    return *Field(there_nodes.astype(np.float32), crop).dense(), shown


def remember(
    base: np.ndarray,
    mouth: np.ndarray,
    skin: np.ndarray,
    tone: np.ndarray,
    memory: Memory | None,
    joined: bool,
) -> Memory:
    """The next frame's `Memory`.

    At a join the skin's light would jump by what the two exemplars differ in. It starts where it was and
    glides to where it belongs (inertial blending): only what is broader than a cell and mostly the skin, so
    that neither teeth nor lips are ever seen twice.

    Args:
        base, mouth: float32[gh, gw, 3], means over `TONE_CELLS` of what is there and of what comes over it, Y', Cb and Cr.
        skin: float32[gh, gw].
        tone: float32[gh, gw, 3], log gains of the exemplar.
        memory: of the frame before.
        joined: the exemplar does not follow the one before in the footage.
    """
    shown = mouth - base
    if memory is None:
        return Memory(tone, shown, np.zeros_like(shown))
    echo = memory.echo * np.float32(ECHO_DECAY)
    if joined:
        weight = ECHO_INSIDE + (1 - ECHO_INSIDE) * skin[..., None]
        echo = echo + (memory.shown - shown - echo) * weight * np.float32(ECHO_DECAY)
    return Memory(tone, shown + echo, echo)


def composite(
    picture: Picture420,
    box: Box,
    size: tuple[int, int],
    landmarks: np.ndarray,
    shape: np.ndarray,
    patch: Patch,
    blend: float = 1.0,
    memory: Memory | None = None,
    joined: bool = False,
    options: MaskOptions | None = None,
    hidden: np.ndarray | None = None,
) -> Composite:
    """Render one frame's lower face.

    Args:
        picture: the target frame's crop `face_box`.
        box: that box, upright pixels.
        size: width and height of the whole picture.
        landmarks: float32[68, 2] of the target frame.
        shape: float32[68, 2], landmarks wanted there.
        patch: the exemplar.
        blend: 0..1, share of the exemplar's pixels; the rest is the target's own mouth, moved to ``shape`` as
            well.
        memory: of the output frame before; None if that one was not drawn.
        joined: this exemplar does not follow the one before in the footage.
        options: the mask.
        hidden: float32[h, w] of the patch, 1 where letters hide the exemplar's face; None: nowhere.
    """
    from operators.exemplar.warp_kernels import raise_to, share_moved

    options = options or MaskOptions()
    unit = face_unit(landmarks)
    shape = order_lips(shape)
    field = base_field(order_lips(landmarks), shape, box, size)
    dx, dy = field.dense()
    alpha = share_moved(dx, dy, *MOVED)
    mask = mouth_mask(shape, box, unit, options)
    result = moved(picture, dx, dy, alpha, mask.box if mask is not None else None)
    if mask is None:
        return Composite(result, alpha)
    mask = over_own_lips(mask, landmarks[OUTER_LIPS] - np.array(box[:2]), dx, dy, unit)
    x1, y1, x2, y2 = mask.box
    base = Planes.of(result, mask.box)
    place = (box[0] + x1, box[1] + y1, box[0] + x2, box[1] + y2)
    map_x, map_y, shown = patch_positions(shape, patch, place, unit)
    mouth = warped(patch.picture, map_x, map_y)
    base_cells, mouth_cells = base.cells(), mouth.cells()
    base_rgb = colours(base_cells, picture.to_rgb)
    tone = fit_tone(base_rgb, colours(mouth_cells, picture.to_rgb), mask.skin)
    if memory is not None and not joined:
        tone = (tone + memory.tone) / 2
    lit, gain = gained(mouth_cells, tone, picture.to_rgb)
    mouth.change(gain, lit - mouth_cells * gain[..., None])
    memory = remember(base_cells, lit, mask.skin, tone, memory, joined)
    # Own and new mouth are seen through one another for as short a time as a smooth start allows; their lips
    # coincide.
    share = shown * float(smoothstep(2.0 * blend - 0.5))
    if hidden is not None:
        share *= 1 - cv2.remap(hidden, map_x, map_y, cv2.INTER_LINEAR)
    if differ(base_rgb, colours(lit, picture.to_rgb), mask.skin):
        own = Planes.of(picture, mask.box)
        cover = in_front(base, own, mouth, mask.skin, picture.to_rgb)
        if cover is not None:
            share *= 1 - cover
            base.mix(own, cover * mask.reach)
    if memory.echo.any():
        mouth.add(memory.echo)
    paste(base, mouth, mask, share, options.levels)
    base.into(result, mask.box)
    region, _ = parts(mask.box)
    raise_to(alpha[region], mask.reach)
    return Composite(result, alpha, memory)


def in_front(
    base: Planes, own: Planes, mouth: Planes, skin: np.ndarray, to_rgb: np.ndarray
) -> np.ndarray | None:
    """Find what is in front of the face.

    An object in front of the face does not move with it: both where the warp took it and where it was, the frame stays as it is.

    Args:
        base, own: the target with and without the warp.
        mouth: the exemplar, in the target's light.
        skin: float32[gh, gw], see `MouthMask`.
        to_rgb: see `Picture420`.

    Returns:
        float32[h, w], 1 where something is; None: nothing is.
    """
    size = mouth.luma.shape[1::-1]
    base_rgb, own_rgb, mouth_rgb = (one.rgb(compared_size(size), to_rgb) for one in (base, own, mouth))
    cover = covered(base_rgb, mouth_rgb, skin)
    if cover is None:
        return None
    still = covered(own_rgb, mouth_rgb, skin)
    cover = cover if still is None else np.maximum(cover, still)
    return np.asarray(cv2.resize(cover, size, interpolation=cv2.INTER_LINEAR))


def paste(base: Planes, mouth: Planes, mask: MouthMask, share: np.ndarray, levels: int) -> None:
    """Blend a mouth into what is there (`operators.numeric.pyramid`), in place.

    Args:
        base: what is there; it is written to.
        mouth: what comes over it; it is used up.
        mask: of both.
        share: float32[h, w], how much of the mask counts.
        levels: of the pyramid, at most.
    """
    levels = max(0, min(levels, int(np.log2(min(share.shape) / 10))))
    weights = pyramid.gaussian(mask.weight * share, levels + 1)
    # A band of chroma is as wide as the next one of luma.
    coarse = weights[1:] or [halved(weights[0])]
    if levels:
        weights[0] = mask.grain * share
    mouth.luma -= base.luma
    mouth.chroma -= base.chroma
    base.luma += pyramid.masked(mouth.luma, weights) * mask.reach
    added = pyramid.masked(mouth.chroma, coarse)
    base.chroma += added * pyramid.of_channels(halved(mask.reach), added)


def moved(
    picture: Picture420, dx: np.ndarray, dy: np.ndarray, alpha: np.ndarray, mouth: Box | None
) -> Picture420:
    """A crop under a displacement, where it is shown: inside the box around ``alpha > 0`` and the mouth's
    region. Outside it is the crop itself.

    Args:
        picture: the crop.
        dx, dy: float32[h, w], from each pixel to where it comes from.
        alpha: float32[h, w].
        mouth: x1, y1, x2, y2 in the crop.
    """
    x, y, width, height = cv2.boundingRect((alpha > 0).view(np.uint8))
    x2, y2 = x + width, y + height
    if mouth is not None:
        x, y = (min(x, mouth[0]), min(y, mouth[1])) if width else mouth[:2]
        x2, y2 = max(x2, mouth[2]), max(y2, mouth[3])
    result = Picture420(picture.luma.copy(), picture.chroma.copy(), picture.to_rgb)
    if x2 > x and y2 > y:
        # Whole samples of chroma.
        x, y, x2, y2 = x & ~1, y & ~1, min(x2 + x2 % 2, dx.shape[1]), min(y2 + y2 % 2, dx.shape[0])
        shown, _ = parts((x, y, x2, y2))
        warped(picture, *positions(dx[shown], dy[shown], (x, y))).into(result, (x, y, x2, y2))
    return result
